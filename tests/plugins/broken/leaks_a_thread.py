"""Starts a thread and forgets it."""

import threading

from mcpserve import hookimpl


@hookimpl
def mcpserve_tools():
    threading.Thread(target=threading.Event().wait, name="poller").start()

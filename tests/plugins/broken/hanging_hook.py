"""Waits in a plain hook for what never comes."""

import threading

from mcpserve import hookimpl


@hookimpl
def mcpserve_tools():
    threading.Event().wait()

"""Waits when it is imported, for what never comes."""

import threading


def connect():
    threading.Event().wait()


connect()

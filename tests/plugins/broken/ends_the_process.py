"""Ends the process where nothing can hold it up, as a fault in a C library would."""

import os

from mcpserve import hookimpl


@hookimpl
def mcpserve_tools():
    os._exit(3)

"""Prints instead of logging, and a lot."""

import sys

from mcpserve import hookimpl


@hookimpl
def mcpserve_tools():
    for _ in range(100):
        sys.stdout.write("loading…" * 1000)

"""Ends the process while it hands over its tools."""

import sys

from mcpserve import hookimpl


@hookimpl
def mcpserve_tools():
    sys.exit("no key")

"""Ends the process while it is waited for."""

import sys

from mcpserve import hookimpl


@hookimpl
async def mcpserve_tools():
    sys.exit("no key")

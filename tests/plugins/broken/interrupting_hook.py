"""Raises what means that somebody pressed Ctrl-C."""

from mcpserve import hookimpl


@hookimpl
async def mcpserve_tools():
    raise KeyboardInterrupt("enough")

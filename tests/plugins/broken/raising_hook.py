"""Fails while it hands over its tools."""

from mcpserve import hookimpl


@hookimpl
async def mcpserve_tools():
    raise KeyError("city")

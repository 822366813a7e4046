"""Misspells a hook."""

from mcpserve import hookimpl


@hookimpl
def mcpserve_tool():
    return []

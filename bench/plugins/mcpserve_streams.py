"""A tool that says that it began, and nothing more for an hour."""

import asyncio
from collections.abc import Iterable

from mcpserve import Tool, ToolContext, hookimpl, tool


@tool
async def wait(ctx: ToolContext):  # noqa: ANN201
    """Report progress, then wait."""
    await ctx.progress(0, 1, "waiting")
    await asyncio.sleep(3600)
    return "done"


@hookimpl
def mcpserve_tools() -> Iterable[Tool]:
    """Return the tool."""
    return [wait]

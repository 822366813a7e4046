"""A tool that tells what only the server itself can see."""

import asyncio
import gc
import json
from collections.abc import Iterable

from mcpserve import Tool, hookimpl, tool


@tool
async def inside():  # noqa: ANN201
    """Count the tasks of the event loop, and what the garbage collector knows."""
    return json.dumps({"tasks": len(asyncio.all_tasks()), "objects": len(gc.get_objects())})


@hookimpl
def mcpserve_tools() -> Iterable[Tool]:
    """Return the tool."""
    return [inside]

"""Waits for what never comes, before it hands over its tools."""

import asyncio

from mcpserve import hookimpl


@hookimpl
async def mcpserve_tools():
    await asyncio.Event().wait()

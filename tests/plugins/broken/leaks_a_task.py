"""Starts a task that does not end when it is told to."""

import asyncio

from mcpserve import hookimpl

tasks = []


async def poll():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue


@hookimpl
async def mcpserve_tools():
    tasks.append(asyncio.create_task(poll()))
    await asyncio.sleep(0)

"""Reloading whenever somebody wants it: never twice at once, and no more often than it helps."""

import asyncio

from mcpserve.reloading import at_each, background


async def test_a_flood_of_wishes_while_it_reloads_is_one_more_reload():
    wanted, first, reloads = asyncio.Event(), asyncio.Event(), []

    async def reload():
        reloads.append(len(reloads))
        await first.wait()
        await asyncio.sleep(0)

    async with background(at_each(wanted, reload)):
        for _ in range(100):
            wanted.set()
            await asyncio.sleep(0)
        assert reloads == [0]
        first.set()
        for _ in range(100):
            await asyncio.sleep(0)
        assert reloads == [0, 1]

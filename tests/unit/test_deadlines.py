"""Time limits of many, with one timer."""

import asyncio
from contextvars import ContextVar

from mcpserve.deadlines import Deadlines

whose: ContextVar[str] = ContextVar("whose", default="nobody's")


async def wait_for(expired, *items):
    async with asyncio.timeout(5):
        while set(expired) != set(items):
            await asyncio.sleep(0.005)


async def test_what_does_not_end_in_time_expires_and_nothing_else_does():
    expired = []
    deadlines = Deadlines(0.05, expired.append)
    deadlines.begin("ended")
    deadlines.begin("left")
    deadlines.end("ended")
    await wait_for(expired, "left")
    await asyncio.sleep(0.1)
    assert expired == ["left"]


async def test_each_expires_after_its_own_time():
    loop = asyncio.get_running_loop()
    ends = {}
    deadlines = Deadlines(0.2, lambda item: ends.setdefault(item, loop.time()))
    begun = {}
    for item in ("first", "second"):
        begun[item] = loop.time()
        deadlines.begin(item)
        await asyncio.sleep(0.1)
    await wait_for(ends, "first", "second")
    assert all(ends[item] >= begun[item] + 0.2 for item in begun)
    assert ends["first"] < ends["second"]


async def test_a_limit_counts_again_after_all_have_ended():
    expired = []
    deadlines = Deadlines(0.05, expired.append)
    deadlines.begin("early")
    deadlines.end("early")
    await asyncio.sleep(0.1)
    deadlines.begin("late")
    await wait_for(expired, "late")


async def test_whoever_is_told_is_told_in_nobody_s_context():
    found = []
    deadlines = Deadlines(0.01, lambda item: found.append(whose.get()))
    whose.set("the first one's")
    deadlines.begin("first")
    await wait_for(found, "nobody's")


async def test_the_end_of_what_never_began_is_nothing():
    Deadlines(1, list).end("unknown")

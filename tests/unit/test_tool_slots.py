"""Where the functions of a plugin run: in slots, and the plain ones in threads."""

import asyncio
import contextlib
import contextvars
import threading

import pytest
from exchanges import CALLER, bound

from mcpserve import ToolContext, tool
from mcpserve.registry import ToolRegistry


def add(a: int) -> int:
    """Add one."""
    return a + 1


async def text_of(function):
    """Call a tool and return the text of its result."""
    registry = ToolRegistry([bound(function)])
    result = await registry.call(function.__name__, {}, ToolContext(CALLER))
    return result.content[0].text


request_id = contextvars.ContextVar("request_id", default="")


async def test_a_plain_function_runs_in_a_thread_with_the_context_of_its_call():
    def where() -> str:
        """Tell."""
        return f"{threading.current_thread() is threading.main_thread()} {request_id.get()}"

    request_id.set("seven")
    assert await text_of(where) == "False seven"


async def test_a_plain_function_does_not_hold_up_the_loop():
    released = threading.Event()

    def wait() -> str:
        """Wait for the loop."""
        return str(released.wait(5))

    call = asyncio.create_task(text_of(wait))
    asyncio.get_running_loop().call_later(0.01, released.set)
    assert await call == "True"


async def test_an_abandoned_thread_keeps_its_slot_until_it_ends():
    release = threading.Event()
    started = []

    @tool(timeout=0.02)
    def stuck() -> str:
        """Hang."""
        started.append(1)
        release.wait(5)
        return ""

    made = bound(stuck, slots=1)
    registry = ToolRegistry([made])
    for _ in range(3):
        result = await registry.call("stuck", {}, ToolContext(CALLER))
        assert "did not answer" in result.content[0].text
    # The second and third call waited for the one slot; none of them starts later.
    assert started == [1]
    release.set()
    await asyncio.wait_for(made.containment.slots.acquire(), 5)
    assert started == [1]


async def test_concurrency_is_limited_and_waiting_counts():
    running, most = 0, 0
    release = asyncio.Event()

    @tool(timeout=0.1)
    async def slow() -> str:
        """Wait."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await release.wait()
        finally:
            running -= 1
        return "done"

    made = bound(slow, slots=2)
    registry = ToolRegistry([made])
    calls = [registry.call("slow", {}, ToolContext(CALLER)) for _ in range(5)]
    results = await asyncio.gather(*calls)
    assert [result.is_error for result in results] == [True] * 5
    assert most == 2
    release.set()
    assert not (await registry.call("slow", {}, ToolContext(CALLER))).is_error


@pytest.mark.parametrize("is_async", [True, False])
async def test_cancelling_at_any_moment_loses_no_slot(is_async):
    async def quick() -> str:
        """Yield once."""
        await asyncio.sleep(0)
        return ""

    def plain() -> str:
        """Yield never."""
        return ""

    made = bound(quick if is_async else plain, slots=1)
    registry = ToolRegistry([made])
    for turns in range(12):
        calls = [
            asyncio.create_task(registry.call(made.offer.name, {}, ToolContext(CALLER)))
            for _ in range(4)
        ]
        for _ in range(turns):
            await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        await asyncio.wait(calls)
    async with asyncio.timeout(5):
        for _ in range(3):
            await registry.call(made.offer.name, {}, ToolContext(CALLER))


async def test_a_thread_that_cannot_be_started_gives_its_slot_back(monkeypatch):
    made = bound(add, slots=1)
    registry = ToolRegistry([made])
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError))
        failed = await registry.call("add", {"a": 1}, ToolContext(CALLER))
    assert failed.content[0].text == "Error executing tool add"
    async with asyncio.timeout(5):
        assert not (await registry.call("add", {"a": 1}, ToolContext(CALLER))).is_error


def test_a_thread_may_outlive_the_loop():
    release, ended = threading.Event(), threading.Event()

    def stuck() -> str:
        """Hang."""
        release.wait(5)
        ended.set()
        return ""

    async def abandon():
        registry = ToolRegistry([bound(stuck)])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await registry.call("stuck", {}, ToolContext(CALLER))

    asyncio.run(abandon())
    assert not ended.is_set()
    release.set()
    assert ended.wait(5)

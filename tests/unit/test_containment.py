"""Tasks of plugins: whose they are, what becomes of them, and that none holds anything up."""

import asyncio
from contextlib import AsyncExitStack
from types import ModuleType

from exchanges import CALLER, bound

from mcpserve import ToolContext, containment, hookimpl, plugins, tool
from mcpserve.containment import know_tasks
from mcpserve.registry import ToolRegistry
from mcpserve.settings import PluginSettings


async def forever():
    """Run on."""
    await asyncio.Event().wait()


async def call(made, name):
    """Call a tool and return the text of its result."""
    result = await ToolRegistry([made]).call(name, {}, ToolContext(CALLER))
    return result.content[0].text


async def test_a_task_that_a_call_leaves_running_is_told_once_and_ends_with_the_plugin(caplog):
    know_tasks()
    left = []

    async def leave() -> str:
        """Leave a task behind."""
        left.append(asyncio.create_task(forever()))
        return "left"

    made = bound(leave)
    assert [await call(made, "leave") for _ in range(2)] == ["left", "left"]
    (record,) = caplog.records
    assert record.getMessage() == "plugin plugin: tool leave ended and left 1 tasks running"
    assert not any(task.done() for task in left)
    await made.containment.tasks.close()
    assert all(task.cancelled() for task in left)


async def test_a_task_that_a_left_task_makes_ends_with_the_plugin_too():
    know_tasks()
    made_late = asyncio.get_running_loop().create_future()

    async def make_late():
        await asyncio.sleep(0.01)
        made_late.set_result(asyncio.create_task(forever()))

    async def leave() -> str:
        """Leave a task behind."""
        asyncio.create_task(make_late())  # noqa: RUF006
        return "left"

    made = bound(leave)
    await call(made, "leave")
    late = await made_late
    await made.containment.tasks.close()
    assert late.cancelled()


async def test_tasks_that_a_call_waits_for_are_nothing_to_tell(caplog):
    know_tasks()

    async def tidy() -> str:
        """Wait for many tasks."""
        async with asyncio.TaskGroup() as group:
            for _ in range(200):
                group.create_task(asyncio.sleep(0))
        return "done"

    assert await call(bound(tidy), "tidy") == "done"
    # asyncio tells of a slow machine.
    assert [each for each in caplog.records if each.name != "asyncio"] == []


async def test_a_plugin_that_leaves_ever_more_tasks_keeps_a_bounded_number(monkeypatch):
    know_tasks()
    monkeypatch.setattr(containment, "MOST_LEFT", 3)
    left = []

    async def leave() -> str:
        """Leave tasks behind."""
        left.append(asyncio.create_task(forever()))
        return ""

    made = bound(leave)
    for _ in range(10):
        await call(made, "leave")
    await asyncio.sleep(0)
    assert sum(not task.done() for task in left) == 3
    await made.containment.tasks.close()


async def test_the_background_task_of_a_plugin_is_not_told_and_ends_after_its_clean_up(caplog):
    seen = []

    @hookimpl
    async def mcpserve_tools(exit_stack):
        background = asyncio.create_task(forever())
        exit_stack.callback(lambda: seen.append(background.done()))
        seen.append(background)
        return []

    made = ModuleType("made")
    made.mcpserve_tools = mcpserve_tools
    async with AsyncExitStack() as exit_stack:
        await plugins.load({"made": PluginSettings()}, exit_stack, lambda _: made)
        assert not seen[0].done()
    assert seen[1] is False
    assert seen[0].cancelled()
    assert caplog.records == []


async def test_a_tool_that_swallows_its_cancellation_is_abandoned_and_keeps_its_slot():
    release = asyncio.Event()

    @tool(timeout=0.05)
    async def stubborn() -> str:
        """Do not stop."""
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return ""

    made = bound(stubborn, slots=1)
    async with asyncio.timeout(5):
        assert await call(made, "stubborn") == "stubborn did not answer within 0.05 s"
    assert made.containment.slots.locked()
    release.set()
    async with asyncio.timeout(5):
        await made.containment.slots.acquire()


async def test_a_task_that_does_not_stop_does_not_hold_up_the_close_of_its_plugin(
    caplog, monkeypatch
):
    know_tasks()
    monkeypatch.setattr(containment, "CLOSE_TIMEOUT", 0.05)
    release = asyncio.Event()

    async def leave() -> str:
        """Leave a task behind that swallows its cancellation."""
        asyncio.create_task(stay())  # noqa: RUF006
        await asyncio.sleep(0)
        return ""

    async def stay():
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    made = bound(leave)
    await call(made, "leave")
    async with asyncio.timeout(5):
        await made.containment.tasks.close()
    assert "plugin plugin: 1 tasks do not stop" in caplog.text
    release.set()

"""What blocks the event loop is told, with the plugin and the line."""

import asyncio
import time

from exchanges import CALLER, bound

from mcpserve import ToolContext, lag
from mcpserve.containment import know_tasks
from mcpserve.registry import ToolRegistry


async def blocked(made, name, caplog):
    """Call a tool below a watcher, and return what it warned of."""
    know_tasks()
    with lag.watching(lambda: [made.containment.tasks], interval=0.01, limit=0.05):
        await ToolRegistry([made]).call(name, {}, ToolContext(CALLER))
    return [record.getMessage() for record in caplog.records]


async def test_a_tool_that_blocks_the_loop_is_named_with_its_line(caplog):
    async def block() -> str:
        """Block."""
        time.sleep(0.3)
        return ""

    (warning,) = await blocked(bound(block), "block", caplog)
    line = block.__code__.co_firstlineno + 2
    assert warning.startswith("plugin plugin blocks the event loop")
    assert f"{__file__}:{line} (block)" in warning


async def test_a_task_of_a_tool_that_blocks_the_loop_is_named(caplog):
    async def child():
        time.sleep(0.3)

    async def block() -> str:
        """Block in a task."""
        await asyncio.create_task(child())
        return ""

    (warning,) = await blocked(bound(block), "block", caplog)
    assert warning.startswith("plugin plugin blocks the event loop")
    assert "(child)" in warning


async def test_a_thread_that_works_blocks_nothing(caplog):
    def work() -> str:
        """Wait in a thread."""
        time.sleep(0.2)
        return ""

    assert await blocked(bound(work), "work", caplog) == []

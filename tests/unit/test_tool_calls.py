"""One call of a tool: arguments in, a result out, and every way in which that can go wrong."""

import asyncio
from typing import Annotated

import pytest
from exchanges import CALLER, bound
from mcp_types import CallToolResult, TextContent
from pydantic import BaseModel, BeforeValidator

from mcpserve import ToolContext, ToolError, tool
from mcpserve.bound import Outcome
from mcpserve.errors import InsufficientScope
from mcpserve.registry import ToolRegistry, UnknownTool

ERROR, CRASH, TIMEOUT, OK = Outcome.ERROR, Outcome.CRASH, Outcome.TIMEOUT, Outcome.OK


class Sum(BaseModel):
    """An output with a rule."""

    total: int


class Watched:
    """A registry, and what an observer of its calls has seen."""

    def __init__(self, *tools, **settings):
        self.calls = []
        made = [bound(made, **settings) for made in tools]
        self.registry = ToolRegistry(made, [self.calls.append])

    async def call(self, name, **arguments):
        """Call a tool."""
        return await self.registry.call(name, arguments, ToolContext(CALLER))

    @property
    def outcomes(self):
        """How the calls ended."""
        return [call.outcome for call in self.calls]


async def outcome(function, **arguments):
    """Return the text of the result of one call, and how it ended."""
    watched = Watched(function)
    result = await watched.call(function.__name__, **arguments)
    assert result.is_error == (watched.outcomes != [OK])
    return result.content[0].text, watched.outcomes[0]


def add(a: int, b: int = 1) -> int:
    """Add."""
    return a + b


async def test_a_call_is_observed_once_with_who_what_and_how_long():
    watched = Watched(add)
    assert (await watched.call("add", a=1)).structured_content == {"result": 2}
    (call,) = watched.calls
    assert (call.plugin, call.tool, call.principal, call.outcome) == ("plugin", "add", CALLER, OK)
    assert 0 < call.seconds < 5


async def test_an_unknown_argument_is_named_with_those_that_are_known():
    text, how = await outcome(add, a=1, c=2)
    assert text == "add: c: no such argument (arguments: a, b)"
    assert how is ERROR


async def test_every_wrong_argument_is_named_without_its_value():
    text, how = await outcome(add, b="hunter2")
    assert text.startswith("add: a: Field required; b: Input should be a valid integer")
    assert "hunter2" not in text
    assert how is ERROR


async def test_a_tool_without_arguments_says_so():
    def now() -> str:
        """Tell the time."""
        return ""

    assert (await outcome(now, zone="UTC"))[0] == "now: zone: no such argument (arguments: none)"


async def test_a_tool_error_is_for_the_model():
    def find() -> str:
        """Find."""
        raise ToolError("no such city, try another")

    assert await outcome(find) == ("no such city, try another", ERROR)


async def test_a_result_that_says_error_is_one():
    def find() -> CallToolResult:
        """Find."""
        return CallToolResult(content=[TextContent(type="text", text="no")], is_error=True)

    assert await outcome(find) == ("no", ERROR)


def key_error() -> str:
    raise KeyError("secret detail")


def validation_error() -> str:
    Sum(total="secret detail")
    return ""


async def own_timeout() -> str:
    async with asyncio.timeout(0):
        await asyncio.Event().wait()
    return ""


async def own_cancellation() -> str:
    child = asyncio.create_task(asyncio.Event().wait())
    child.cancel()
    await child
    return ""


async def failing_group() -> str:
    async with asyncio.TaskGroup() as group:
        group.create_task(own_timeout())
        group.create_task(asyncio.Event().wait())
    return ""


def stop_iteration() -> str:
    return next(iter([]))


def system_exit() -> str:
    raise SystemExit(3)


async def system_exit_in_the_loop() -> str:
    raise SystemExit(3)


def keyboard_interrupt() -> str:
    raise KeyboardInterrupt


async def keyboard_interrupt_in_the_loop() -> str:
    raise KeyboardInterrupt


async def generator_exit_in_the_loop() -> str:
    raise GeneratorExit


async def base_exception_in_the_loop() -> str:
    raise BaseExceptionGroup("secret detail", [KeyboardInterrupt()])


def unfitting_output() -> Sum:
    return {"total": "secret detail"}


def unfitting_structure() -> Annotated[CallToolResult, Sum]:
    return CallToolResult(content=[], structured_content={"total": "secret detail"})


def coroutine() -> str:
    return own_timeout()


def refuse(value):
    raise KeyError("secret detail")


def broken_argument(a: Annotated[int, BeforeValidator(refuse)] = 1) -> str:
    return ""


@pytest.mark.parametrize(
    "function",
    [
        key_error,
        validation_error,
        own_timeout,
        own_cancellation,
        failing_group,
        stop_iteration,
        system_exit,
        system_exit_in_the_loop,
        keyboard_interrupt,
        keyboard_interrupt_in_the_loop,
        generator_exit_in_the_loop,
        base_exception_in_the_loop,
        unfitting_output,
        unfitting_structure,
        coroutine,
        broken_argument,
    ],
)
async def test_anything_else_is_a_crash_whose_details_are_in_the_log_only(function, caplog):
    arguments = {"a": 1} if function is broken_argument else {}
    text, how = await outcome(function, **arguments)
    assert text == f"Error executing tool {function.__name__}"
    assert how is CRASH
    (record,) = caplog.records
    assert record.getMessage() == f"tool {function.__name__} of plugin plugin failed"
    assert record.exc_info


async def test_a_tool_that_takes_too_long_is_stopped():
    stopped = asyncio.Event()

    @tool(timeout=0.02)
    async def slow() -> str:
        """Take long."""
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    watched = Watched(slow)
    result = await watched.call("slow")
    assert result.is_error
    assert result.content[0].text == "slow did not answer within 0.02 s"
    assert watched.outcomes == [TIMEOUT]
    assert stopped.is_set()


async def test_a_tool_that_fails_while_it_is_stopped_has_timed_out():
    @tool(timeout=0.02)
    async def slow() -> str:
        """Take long."""
        try:
            await asyncio.Event().wait()
        finally:
            raise KeyError

    watched = Watched(slow)
    await watched.call("slow")
    assert watched.outcomes == [TIMEOUT]


async def test_a_cancelled_call_reaches_the_tool_and_the_observer():
    started, stopped = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        """Take long."""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    watched = Watched(slow)
    call = asyncio.create_task(watched.call("slow"))
    await started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert stopped.is_set()
    assert watched.outcomes == [Outcome.CANCELLED]


async def test_unknown_tools_and_missing_scopes_are_raised_and_not_observed():
    @tool(scopes=["more"])
    def more() -> str:
        """Need more."""
        return ""

    watched = Watched(more)
    with pytest.raises(UnknownTool):
        await watched.call("less")
    with pytest.raises(InsufficientScope):
        await watched.call("more")
    assert watched.calls == []


@pytest.mark.parametrize("error", [KeyError, SystemExit, KeyboardInterrupt])
async def test_a_failing_observer_harms_neither_the_call_nor_the_others(caplog, error):
    seen = []

    def fail(call):
        raise error

    registry = ToolRegistry([bound(add)], [fail, seen.append])
    result = await registry.call("add", {"a": 1}, ToolContext(CALLER))
    assert result.structured_content == {"result": 2}
    assert [call.outcome for call in seen] == [OK]
    assert "an observer of tool calls failed" in caplog.text

"""A plugin that keeps failing is left alone, and tried again."""

import asyncio

import pytest
from exchanges import CALLER, bound

from mcpserve import ToolContext, ToolError, tool
from mcpserve.bound import Outcome
from mcpserve.registry import ToolRegistry

REFUSED = "failed several times in a row"


class Upstream:
    """A tool that does what a test says, and what came of it."""

    def __init__(self, **breaker):
        self.error = KeyError()
        self.ran = 0
        self.outcomes = []

        @tool(timeout=0.05)
        async def ask(number: int = 1) -> str:
            """Ask."""
            self.ran += 1
            if self.error is TimeoutError:
                await asyncio.Event().wait()
            if self.error:
                raise self.error
            return "fine"

        made = bound(ask, breaker=breaker)
        self.registry = ToolRegistry([made], [lambda call: self.outcomes.append(call.outcome)])

    async def ask(self, **arguments):
        """Return the text of one call."""
        result = await self.registry.call("ask", arguments, ToolContext(CALLER))
        return result.content[0].text


@pytest.mark.parametrize("error", [KeyError(), SystemExit(), TimeoutError])
async def test_after_some_failures_in_a_row_calls_are_refused_at_once(error, caplog):
    upstream = Upstream(failures=3)
    upstream.error = error
    texts = [await upstream.ask() for _ in range(5)]
    assert [REFUSED in text for text in texts] == [False] * 3 + [True] * 2
    assert upstream.ran == 3
    assert upstream.outcomes[3:] == [Outcome.ERROR] * 2
    told = [record.getMessage() for record in caplog.records]
    assert told.count("plugin plugin failed 3 times in a row; its calls are refused for 30 s") == 1


async def test_after_the_pause_one_call_is_tried_and_decides(caplog):
    upstream = Upstream(failures=2, pause="0.1s")
    for _ in range(2):
        await upstream.ask()
    await asyncio.sleep(0.11)
    texts = await asyncio.gather(*(upstream.ask() for _ in range(4)))
    assert [REFUSED in text for text in texts] == [False] + [True] * 3
    assert REFUSED in await upstream.ask()
    await asyncio.sleep(0.11)
    upstream.error = None
    assert [await upstream.ask() for _ in range(3)] == ["fine"] * 3
    assert "plugin plugin works again" in caplog.text


async def test_a_trial_that_is_cancelled_or_has_wrong_arguments_is_none():
    upstream = Upstream(failures=1, pause="0.05s")
    await upstream.ask()
    await asyncio.sleep(0.06)
    assert "number" in await upstream.ask(number="x")
    upstream.error = TimeoutError
    call = asyncio.create_task(upstream.ask())
    await asyncio.sleep(0.01)
    call.cancel()
    await asyncio.wait([call])
    upstream.error = None
    assert await upstream.ask() == "fine"


async def test_wrong_arguments_do_not_end_the_pause_for_good():
    upstream = Upstream(failures=2, pause="0.05s")
    for _ in range(2):
        await upstream.ask()
    await asyncio.sleep(0.06)
    assert "number" in await upstream.ask(number="x")
    assert REFUSED not in await upstream.ask()
    assert REFUSED in await upstream.ask()


async def test_errors_that_the_model_is_told_count_as_work():
    upstream = Upstream(failures=2)
    for error in [KeyError(), ToolError("no such city"), KeyError(), None] * 3:
        upstream.error = error
        assert REFUSED not in await upstream.ask()


async def test_it_can_be_switched_off():
    upstream = Upstream(failures=0)
    assert not [text for _ in range(30) if REFUSED in (text := await upstream.ask())]

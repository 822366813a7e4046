"""Log messages of a tool: on the stream of the call that they belong to, and only if wanted."""

import asyncio

import pytest
from exchanges import HANDSHAKE, META, exchange, handshake, modern

from mcpserve import ToolContext
from mcpserve.tools import LEVELS

RFC_5424 = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]


async def log(ctx: ToolContext) -> str:
    """Log at every level."""
    for level in LEVELS:
        await ctx.log(level, f"at {level}")
    return "logged"


async def logged(server, call, **meta):
    """Call the server's tool and return what it logged."""
    answer = await call(server, "tools/call", {"name": "log", "_meta": meta})
    assert answer.result["content"][0]["text"] == "logged"
    assert {message["method"] for message in answer.sent} <= {"notifications/message"}
    return [message["params"] for message in answer.sent]


async def test_a_modern_call_that_does_not_ask_for_messages_gets_none():
    assert await logged(exchange(log), modern) == []


@pytest.mark.parametrize("level", RFC_5424)
async def test_a_modern_call_gets_the_messages_of_its_level_and_above(level):
    messages = await logged(exchange(log), modern, **{f"{META}logLevel": level})
    wanted = RFC_5424[RFC_5424.index(level) :]
    assert messages == [{"level": each, "data": f"at {each}"} for each in wanted]


async def test_a_level_that_does_not_exist_is_refused():
    params = {"name": "log", "_meta": {f"{META}logLevel": "loud"}}
    answer = await modern(exchange(log), "tools/call", params)
    assert (answer.code, answer.sent) == ((400, -32602), [])


@pytest.mark.parametrize("meta", [{}, {f"{META}logLevel": "error"}])
async def test_a_handshake_call_gets_what_is_more_than_debugging(meta):
    messages = await logged(exchange(log), handshake, **meta)
    assert [message["level"] for message in messages] == RFC_5424[1:]


async def test_the_level_of_a_handshake_client_is_accepted_and_forgotten():
    server = exchange(log)
    answer = await handshake(server, "logging/setLevel", {"level": "emergency"})
    assert (answer.status, answer.result) == (200, {})
    assert len(await logged(server, handshake)) == len(RFC_5424) - 1
    answer = await handshake(server, "logging/setLevel", {"level": "loud"})
    assert answer.code == (200, -32602)
    assert (await modern(server, "logging/setLevel", {"level": "info"})).code == (404, -32601)


async def test_messages_are_declared_in_both_eras():
    params = {
        "protocolVersion": HANDSHAKE,
        "capabilities": {},
        "clientInfo": {"name": "tests", "version": "1"},
    }
    for answer in (
        await handshake(exchange(log), "initialize", params),
        await modern(exchange(log), "server/discover"),
    ):
        assert answer.result["capabilities"]["logging"] == {}


async def test_a_message_may_carry_data():
    async def log(ctx: ToolContext) -> str:
        """Log something."""
        await ctx.log("info", "found", count=3, level="high", at=float("nan"))
        return "logged"

    (message,) = await logged(exchange(log), handshake)
    assert message == {
        "level": "info",
        "data": {"message": "found", "count": 3, "level": "high", "at": None},
    }


@pytest.mark.parametrize("call", [modern, handshake])
async def test_what_cannot_be_told_fails_whether_it_is_wanted_or_not(call):
    failures = []

    async def log(ctx: ToolContext) -> str:
        """Log nonsense."""
        for level, data in (("loud", {}), ("info", {"what": object()})):
            try:
                await ctx.log(level, "text", **data)
            except ValueError as error:
                failures.append(str(error))
        return "logged"

    assert await logged(exchange(log), call) == []
    assert len(failures) == 2
    assert failures[0].startswith("the level must be one of debug, info,")


async def test_nothing_is_sent_after_the_answer():
    left = []
    answered = asyncio.Event()

    async def log(ctx: ToolContext) -> str:
        """Leave somebody behind."""

        async def later():
            await answered.wait()
            await ctx.log("error", "late")
            await ctx.progress(1)

        left.append(asyncio.create_task(later()))
        return "logged"

    params = {"name": "log", "_meta": {"progressToken": 1}}
    answer = await handshake(exchange(log), "tools/call", params)
    answered.set()
    await left[0]
    assert answer.sent == []

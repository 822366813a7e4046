"""Progress and log messages without end, or without measure."""

import asyncio

from exchanges import exchange, handshake

from mcpserve import ToolContext, floods

PROGRESS = {"name": "flood", "arguments": {}, "_meta": {"progressToken": "t"}}


async def flooded(function, caplog):
    """Call a tool, and return what the client was sent and the warnings."""
    answer = await handshake(exchange(function), "tools/call", PROGRESS)
    assert not answer.result.get("isError")
    return answer.sent, [record.getMessage() for record in caplog.records]


async def test_progress_without_end_is_cut_off_with_one_warning(caplog):
    async def flood(ctx: ToolContext) -> str:
        """Report far too often."""
        for step in range(5000):
            await ctx.progress(step)
        return "done"

    sent, warnings = await flooded(flood, caplog)
    assert floods.BURST <= len(sent) < 2 * floods.BURST
    assert warnings == ["plugin plugin floods its client: messages are dropped"]


async def test_after_a_while_messages_are_sent_again(monkeypatch, caplog):
    monkeypatch.setattr(floods, "BURST", 2)

    async def flood(ctx: ToolContext) -> str:
        """Report, rest, report."""
        for step in range(5):
            await ctx.log("info", str(step))
        await asyncio.sleep(2 / floods.PER_SECOND)
        await ctx.log("info", "later")
        return "done"

    sent, _ = await flooded(flood, caplog)
    told = [message["params"]["data"] for message in sent]
    assert (told[:2], told[-1]) == (["0", "1"], "later")
    assert len(told) < 6


async def test_a_huge_message_is_dropped_and_the_others_are_sent(caplog):
    async def flood(ctx: ToolContext) -> str:
        """Log far too much at once."""
        await ctx.log("info", "before")
        await ctx.log("info", "huge", data=["x" * 1000] * 1000)
        await ctx.progress(1, message="x" * 1_000_000)
        await ctx.log("info", "after")
        return "done"

    sent, warnings = await flooded(flood, caplog)
    assert [message["params"]["data"] for message in sent] == ["before", "after"]
    assert len(warnings) == 1


async def test_a_flood_lets_others_have_their_turn(monkeypatch, caplog):
    monkeypatch.setattr(floods, "BURST", 1)
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def flood(ctx: ToolContext) -> str:
        """Report far too often."""
        before = turns
        for step in range(100):
            await ctx.progress(step)
        assert turns - before > 50
        return "done"

    counting = asyncio.create_task(count())
    await flooded(flood, caplog)
    counting.cancel()

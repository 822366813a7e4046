"""A call that goes on while its token is revoked: the connection ends, and so does the tool."""

import asyncio

import httpx
import pytest
from mcp_client import McpClient
from postgres_proxy import proxy
from serving import Flow, serving

from mcpserve import ToolContext, hookimpl
from mcpserve.bound import Outcome

KEEP_ALIVE = "mcpserve.web.mcp.KEEP_ALIVE"
ERAS = pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
EXPIRED = """UPDATE oauth_access_tokens
             SET created_at = created_at - interval '1 hour', expires_at = clock_timestamp()"""


class Endless:
    """A plugin whose tools never end by themselves."""

    def __init__(self):
        self.started = asyncio.Semaphore(0)
        self.release = asyncio.Event()
        self.outcomes = asyncio.Queue()

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""

        async def silent() -> str:
            """Wait."""
            self.started.release()
            await self.release.wait()
            return "done"

        async def chatty(ctx: ToolContext) -> str:
            """Report without a pause as long as KEEP_ALIVE."""
            self.started.release()
            for step in range(1, 10_000):
                await ctx.progress(step)
                await asyncio.sleep(0.01)
            return "done"

        return [silent, chatty]

    @hookimpl
    def mcpserve_tool_called(self, call):
        """See the hook."""
        self.outcomes.put_nowait(call.outcome)


async def under_way(plugin, calls=1):
    """Return once so many calls have begun."""
    async with asyncio.timeout(10):
        for _ in range(calls):
            await plugin.started.acquire()


async def outcome(plugin):
    """Return how the call ended, once it has."""
    async with asyncio.timeout(10):
        return await plugin.outcomes.get()


@pytest.mark.proves("RV-10")
@ERAS
@pytest.mark.parametrize("name", ["silent", "chatty"])
@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_a_stream_ends_when_its_token_is_revoked(dsn, monkeypatch, modern, name, kind):
    monkeypatch.setattr(KEEP_ALIVE, 0.1)
    plugin = Endless()
    async with serving(dsn, made={"endless": plugin}) as server:
        flow = Flow(server)
        tokens, others = await flow.tokens(), await flow.tokens()
        client = McpClient(server, tokens["access_token"], modern)
        call = asyncio.create_task(client.call(name, "token"))
        other = asyncio.create_task(
            McpClient(server, others["access_token"], modern).call("silent", "token")
        )
        await under_way(plugin, calls=2)
        assert (await flow.post("/revoke", token=tokens[kind])).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            await asyncio.wait_for(call, 10)
        assert await outcome(plugin) == Outcome.CANCELLED
        # Whose token still counts goes on.
        plugin.release.set()
        assert "done" in (await other).text
        assert await outcome(plugin) == Outcome.OK


@pytest.mark.proves("RV-10")
async def test_a_client_without_streams_is_hung_up_on_too(dsn, monkeypatch):
    monkeypatch.setattr(KEEP_ALIVE, 0.05)
    plugin = Endless()
    async with serving(dsn, made={"endless": plugin}) as server:
        tokens = await Flow(server).tokens()
        client = McpClient(server, tokens["access_token"])
        message = client.message("tools/call", {"name": "silent"})
        call = asyncio.create_task(client.post(message, Accept="application/json"))
        await under_way(plugin)
        await Flow(server).post("/revoke", token=tokens["refresh_token"])
        with pytest.raises(httpx.RemoteProtocolError):
            await asyncio.wait_for(call, 10)
        assert await outcome(plugin) == Outcome.CANCELLED


async def test_what_began_in_time_may_end_after_its_token_expired(dsn, monkeypatch):
    monkeypatch.setattr(KEEP_ALIVE, 0.02)
    plugin = Endless()
    async with serving(dsn, made={"endless": plugin}) as server:
        client = await McpClient.authorized(server)
        async with client.calling("silent", "token") as answer:
            lines = answer.aiter_lines()
            await server.db.execute(EXPIRED)
            for _ in range(6):
                await anext(lines)
            plugin.release.set()
            assert "done" in "".join([line async for line in lines])
        assert (await client.call("silent")).status_code == 401


async def test_a_stream_goes_on_while_the_database_is_away(dsn, monkeypatch):
    monkeypatch.setattr(KEEP_ALIVE, 0.02)
    plugin = Endless()
    async with proxy(dsn) as network, serving(network.dsn, made={"endless": plugin}) as server:
        client = await McpClient.authorized(server)
        async with client.calling("silent", "token") as answer:
            lines = answer.aiter_lines()
            await network.stop()
            for _ in range(6):
                await anext(lines)
            plugin.release.set()
            assert "done" in "".join([line async for line in lines])
        await network.start()

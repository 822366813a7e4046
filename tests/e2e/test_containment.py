"""One plugin misbehaves; calls of another one and the token endpoint are answered meanwhile."""

import asyncio
import threading
import time
from contextlib import asynccontextmanager

import pytest
from isolated import install
from mcp_client import McpClient
from serving import Flow, serving

from mcpserve import ToolContext, hookimpl, loop, tool


class Bad:
    """A plugin that does everything that it should not."""

    def __init__(self):
        self.started = asyncio.Event()
        self.over = asyncio.Event()
        self.thread = threading.Event()

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""
        running = asyncio.get_running_loop()

        async def hang() -> str:
            """Swallow every cancellation."""
            self.started.set()
            while not self.over.is_set():
                try:
                    await self.over.wait()
                except asyncio.CancelledError:
                    continue
            return ""

        def stuck() -> str:
            """Block a thread."""
            running.call_soon_threadsafe(self.started.set)
            self.thread.wait(20)
            return ""

        async def flood(ctx: ToolContext) -> str:
            """Tell without end."""
            self.started.set()
            step = 0
            while not self.over.is_set():
                step += 1
                await ctx.progress(step, message="x" * 1000)
                await ctx.log("error", "x" * 10_000_000)
            return ""

        async def leave() -> str:
            """Leave tasks that exit."""

            async def fail():
                raise SystemExit(3)

            tasks = [asyncio.create_task(fail()) for _ in range(3)]
            running.call_later(0.01, tasks.clear)
            running.call_later(0.01, exit, 3)
            self.started.set()
            return ""

        async def spawn() -> str:
            """Leave tasks that run on."""
            self.started.set()
            for _ in range(100):
                asyncio.create_task(self.over.wait())  # noqa: RUF006
            return ""

        async def raising() -> str:
            """Raise what is no Exception."""
            self.started.set()
            raise KeyboardInterrupt

        async def huge() -> list[str]:
            """Return far too much."""
            self.started.set()
            return ["x" * 1_000_000] * 500

        return [hang, stuck, flood, leave, spawn, raising, huge]


class Good:
    """Another plugin."""

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""

        @tool
        async def quick() -> str:
            """Answer at once."""
            return "here"

        return [quick]


class Others:
    """Everybody but those who use the bad plugin."""

    def __init__(self, server, client, tokens):
        self.flow = Flow(server)
        self.client = client
        self.tokens = tokens

    async def are_served(self):
        """Call another plugin and refresh a token, within a generous time."""
        async with asyncio.timeout(10):
            answer = await self.client.call("quick")
            assert answer.json()["result"]["content"][0]["text"] == "here"
            refreshed = await self.flow.refresh(self.tokens["refresh_token"])
            assert refreshed.status_code == 200
            self.tokens = refreshed.json()
            assert (await self.flow.token(grant_type="nonsense")).status_code == 400


@asynccontextmanager
async def serve(dsn, plugins, settings):
    """Serve these plugins; yields a client and the others."""
    async with serving(dsn, {"plugins": settings}, made=plugins) as server:
        client = await McpClient.authorized(server)
        tokens = await Flow(server).tokens(scope="mcp.tools.call offline_access")
        yield client, Others(server, client, tokens)


async def misbehave(dsn, name):
    """Let the bad plugin do its worst, more often than it has slots."""
    bad = Bad()
    settings = {"bad": {"timeout": "0.5s", "concurrency": 2}, "good": {}}
    async with serve(dsn, {"bad": bad, "good": Good()}, settings) as (client, others):
        calls = [asyncio.create_task(client.call(name, "token")) for _ in range(4)]
        async with asyncio.timeout(10):
            await bad.started.wait()
        await others.are_served()
        _, late = await asyncio.wait(calls, timeout=20)
        assert not late
        await others.are_served()
        bad.over.set()
        bad.thread.set()
    return [call.result() for call in calls]


@pytest.mark.parametrize("name", ["hang", "stuck", "flood", "spawn", "raising", "huge"])
async def test_a_plugin_that_misbehaves_harms_nobody_else(dsn, name):
    answers = await misbehave(dsn, name)
    assert {answer.status_code for answer in answers} == {200}


def test_a_plugin_whose_tasks_exit_does_not_end_the_server(dsn, caplog):
    (answer, *_) = loop.run(misbehave(dsn, "leave"))
    assert answer.status_code == 200
    assert "the server goes on after SystemExit(3)" in caplog.text


@pytest.mark.parametrize("name", ["block", "leave", "hog"])
async def test_a_plugin_in_its_own_process_cannot_even_block_or_kill(
    dsn, name, tmp_path, monkeypatch
):
    install(tmp_path, monkeypatch)
    apart = {"isolation": "process", "timeout": "1s", "memory": "1GiB"}
    async with serve(dsn, {"good": Good()}, {"good": {}, "apart": apart}) as (client, others):
        call = asyncio.create_task(client.call(name))
        while not call.done():
            await others.are_served()
        assert call.result().json()["result"]["isError"]


async def test_a_tool_that_never_stops_does_not_hold_up_the_end_of_the_server(dsn):
    bad = Bad()
    async with serve(dsn, {"bad": bad, "good": Good()}, {"bad": {}, "good": {}}) as (client, _):
        call = asyncio.create_task(client.call("hang"))
        async with asyncio.timeout(10):
            await bad.started.wait()
        started = time.monotonic()
        await client.server.services.drain.give_up()
        assert time.monotonic() - started < 5
        await asyncio.wait([call], timeout=5)
        assert client.server.services.drain.active == 0
        bad.over.set()

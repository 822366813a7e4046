"""One plugin misbehaves; calls of another one and the token endpoint are answered meanwhile."""

import asyncio
import threading
import time
from contextlib import asynccontextmanager

import misbehaving
import pytest
from isolated import install
from mcp_client import McpClient
from reloads import PLUGIN, changing
from serving import Flow, serving

from mcpserve import ToolContext, hookimpl, loading, loop, tool


class Bad:
    """A plugin that does everything that it should not."""

    def __init__(self):
        self.started = asyncio.Event()
        self.over = asyncio.Event()
        self.thread = threading.Event()

    @hookimpl
    async def mcpserve_tools(self):
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
        self.tool = "quick"
        self.tokens = tokens

    async def are_served(self):
        """Call another plugin and refresh a token, within a generous time."""
        async with asyncio.timeout(10):
            answer = await self.client.call(self.tool)
            assert not answer.json()["result"].get("isError")
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


MISBEHAVIOUR = sorted(misbehaving.BEHAVIOURS)
LONGEST = 3.0
"""Seconds that nobody else may have to wait, on a busy machine."""


def calls(client, name):
    """Return a request of each kind that comes to what this plugin offers."""
    of = {"name": name, "arguments": {"what": "x"}}
    completed = {
        "ref": {"type": "ref/prompt", "name": name},
        "argument": {"name": "what", "value": "x"},
    }
    return [
        client.message("tools/call", {"name": name, "arguments": {}}, "token"),
        client.message("resources/read", {"uri": f"bad://{name}"}, "token"),
        client.message("prompts/get", of, "token"),
        client.message("completion/complete", completed),
    ]


async def longest_wait(server, *names):
    """Let plugins misbehave in each kind of call at once; return how long others ever waited."""
    client = await McpClient.authorized(server)
    tokens = await Flow(server).tokens(scope="mcp.tools.call offline_access")
    others = Others(server, client, tokens)
    await others.are_served()
    messages = [message for name in names for message in calls(client, name)]
    running = [asyncio.create_task(client.post(message)) for message in messages]
    waited = []
    while not waited or not all(call.done() for call in running):
        began = time.monotonic()
        await others.are_served()
        waited.append(time.monotonic() - began)
        assert sum(waited) < 30
    answers = [call.result() for call in running]
    assert {answer.status_code for answer in answers} == {200}
    return max(waited)


@pytest.fixture
def released():
    """Let plugins in this process end what they do when the test ends."""
    misbehaving.over = asyncio.Event()
    misbehaving.ended.clear()
    yield
    misbehaving.ended.set()


@pytest.mark.parametrize("name", MISBEHAVIOUR)
async def test_each_misbehaviour_in_each_kind_of_call_leaves_others_alone(dsn, name, released):
    bad = misbehaving.Misbehaving(name)
    settings = {"good": {}, "bad": {"timeout": "0.5s", "concurrency": 4}}
    plugins = {"good": Good(), "bad": bad}
    async with serving(dsn, {"plugins": settings}, made=plugins) as server:
        assert await longest_wait(server, name) < LONGEST
        misbehaving.over.set()
    assert bad.begun == {"tool", "resource", "prompt", "completion"}


async def test_all_misbehaviour_in_a_process_of_its_own_leaves_others_alone(
    dsn, tmp_path, monkeypatch
):
    about = tmp_path / "misbehaving-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: misbehaving\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[mcpserve]\nbad = misbehaving:everything\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    apart = {"isolation": "process", "timeout": "0.5s", "concurrency": 20}
    settings = {"good": {}, "bad": apart}
    async with serving(dsn, {"plugins": settings}, made={"good": Good()}) as server:
        assert await longest_wait(server, *MISBEHAVIOUR) < LONGEST


class Slow:
    """A plugin whose hook takes long; finding it takes as long."""

    is_beside_a_server = False

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""
        self.is_beside_a_server = loading.serves.get()
        time.sleep(1.2)
        return []


async def test_a_reload_that_loads_a_slow_plugin_holds_up_nobody(dsn):
    slow = Slow()
    async with changing(dsn) as changed:

        def find(name):
            if name == PLUGIN:
                return changed.plugin
            time.sleep(1.2)
            return slow

        changed.find = find
        client = await McpClient.authorized(changed.server)
        tokens = await Flow(changed.server).tokens(scope="mcp.tools.call offline_access")
        others = Others(changed.server, client, tokens)
        others.tool = "first"
        plugins = {PLUGIN: {"config": {"number": 2}}, "slow": {}}
        reloading = asyncio.create_task(changed.reload(2, plugins=plugins))
        waited, asked = [], time.monotonic()
        while not reloading.done():
            began = time.monotonic()
            await others.are_served()
            waited.append(time.monotonic() - began)
            await asyncio.sleep(0.2)  # Failures are counted.
        assert reloading.result().problems == ()
        assert time.monotonic() - asked > 2
        assert len(waited) > 3
        assert max(waited) < 1
    assert slow.is_beside_a_server


async def test_a_reload_that_loads_a_plugin_that_hangs_keeps_the_old_set_and_says_why(dsn):
    release = threading.Event()
    async with changing(dsn) as changed:

        def find(name):
            if name == PLUGIN:
                return changed.plugin
            release.wait(20)
            return Slow()

        changed.find = find
        client = await McpClient.authorized(changed.server)
        plugins = {PLUGIN: {"config": {"number": 2}}, "slow": {"load_timeout": "0.2s"}}
        async with asyncio.timeout(5):
            outcome = await changed.reload(2, plugins=plugins)
        assert outcome.generation == 1
        (problem,) = outcome.problems
        assert problem.startswith("plugins.slow: import took longer than 0.2 s, it is at ")
        assert "(find)" in problem
        answer = await client.call("first")
        assert answer.json()["result"]["structuredContent"] == {"result": 1}
        release.set()

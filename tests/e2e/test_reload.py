"""Reading the configuration again while requests come in: one set or the other, never half."""

import asyncio
import contextlib
import gc
import importlib
import itertools
import logging
import os
import shutil
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from mcp_client import McpClient, events
from reloads import PLUGIN, Connection, changing
from serving import CALLBACK, CLIENTS, Flow

from mcpserve import discovery, pinning
from mcpserve.generations import Generation
from mcpserve.reloading import MOVED

CALLS = int(os.environ.get("RELOAD_CALLS", "1500"))
RELOADS = 20
CONNECTIONS = 8

INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


async def token_of(changed):
    return (await Flow(changed.server).tokens())["access_token"]


async def numbers(connection, turn):
    """Ask one thing and return every number of a set that the answer has."""
    match turn % 5:
        case 0 | 1:
            name = ("first", "second")[turn % 5]
            result = await connection.ask("tools/call", {"name": name, "arguments": {}})
            return [result["structuredContent"]["result"]]
        case 2:
            [content] = (await connection.ask("resources/read", {"uri": "sets://number"}))[
                "contents"
            ]
            return [int(content["text"])]
        case 3:
            listed = (await connection.ask("tools/list"))["tools"]
            texts = [each["description"] for each in listed if each["name"] != "long"]
            return [int(text.removeprefix("set ")) for text in texts]
        case _:
            told = await connection.ask("initialize", INITIALIZE)
            texts = [told["serverInfo"]["name"], told["instructions"]]
            return [int(text.removeprefix("set ")) for text in texts]


async def test_under_load_every_call_is_answered_by_one_whole_set(dsn):
    async with changing(dsn) as changed:
        token = await token_of(changed)
        answered, stop = 0, asyncio.Event()

        async def call(first_turn):
            nonlocal answered
            latest = turn = first_turn
            latest = 0
            async with Connection(changed.server.url, token) as connection:
                while not stop.is_set():
                    turn += 1
                    current = changed.generations.number
                    found = await numbers(connection, turn)
                    assert len(set(found)) == 1, found
                    # Nor does anybody go back, or get what was left before the request came.
                    assert found[0] >= max(latest, current)
                    latest = found[0]
                    answered += 1

        async def reload():
            for number in range(2, RELOADS + 2):
                while answered < (number - 1) * CALLS // (RELOADS + 1):
                    await asyncio.sleep(0.001)
                assert (await changed.reload(number)).problems == ()
            while answered < CALLS:
                await asyncio.sleep(0.001)
            stop.set()

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for turn in range(CONNECTIONS):
                group.create_task(call(turn))
            group.create_task(reload())
        assert answered >= CALLS
        assert [held.number for held in changed.plugin.opened] == list(range(1, RELOADS + 2))
        async with asyncio.timeout(5):
            while len(changed.generations.all) > 1:
                await asyncio.sleep(0.01)
        assert [held.closed for held in changed.plugin.opened] == [1] * RELOADS + [0]


WRONG = {
    "a setting": ({"login": {"bcrypt_rounds": 99}}, "login.bcrypt_rounds: "),
    "an unknown key": ({"sever": {}}, "sever: unknown key"),
    "the plugin's own settings": ({"config": {"nomber": 1}}, f"plugins.{PLUGIN}: config.nomber: "),
    "the plugin itself": ({"config": {"broken": True}}, f"plugins.{PLUGIN}: mcpserve_tools: "),
    "a plugin that is not there": ({"plugins": {"gone": {}}}, "plugins.gone: "),
    "a tool that is not there": (
        {"plugins": {PLUGIN: {"config": {"number": 2}, "tools": {"gone": {}}}}},
        f"plugins.{PLUGIN}: tools.gone: ",
    ),
    "a client": (
        {"oauth": {"clients": {"configured": [{"id": "a", "redirect_uris": ["nowhere"]}]}}},
        "oauth.clients.configured",
    ),
    "a scope": ({"oauth": {"scope_implies": {"a": ["b"]}}}, "oauth.scope_implies.a: "),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_is_wrong_is_told_and_the_old_set_goes_on(dsn, what, caplog):
    changes, problem = WRONG[what]
    async with changing(dsn) as changed:
        async with Connection(changed.server.url, await token_of(changed)) as connection:
            outcome = await changed.reload(2, **changes)
            assert outcome.generation == 1
            assert [told for told in outcome.problems if told.startswith(problem)]
            logged = [record for record in caplog.records if record.levelno == logging.ERROR]
            assert [record.getMessage().partition(problem)[1] for record in logged] == [problem]
            assert [await numbers(connection, turn) for turn in range(3)] == [[1]] * 3
        # What was begun of it is cleaned up; the old one is not.
        opened = {held.number: held.closed for held in changed.plugin.opened}
        assert opened in ({1: 0}, {1: 0, 2: 1})


async def test_a_key_that_is_missing_then_keeps_the_old_set(dsn):
    keys = {"keys": ["k" * 32], "clients": {"configured": []}}
    async with changing(dsn) as changed:
        oauth = changed.settings["oauth"]
        with_key = {**oauth, "keys": keys["keys"]}
        assert (await changed.reload(2, oauth=with_key)).problems == ()
        outcome = await changed.reload(3, oauth={**oauth, "keys": ["l" * 32]})
        assert outcome.problems[0].startswith("oauth.keys: the key ")
        assert changed.generations.number == 2
        assert [held.closed for held in changed.plugin.opened] == [1, 0, 1]


@pytest.mark.parametrize("progress", ["token", None], ids=["event stream", "plain answer"])
async def test_a_long_call_ends_in_the_set_where_it_began(dsn, progress):
    async with changing(dsn) as changed:
        client = await McpClient.authorized(changed.server)
        running = asyncio.create_task(client.call("long", progress))
        held = changed.plugin.opened[0]
        await held.begun.wait()
        await changed.reload(2)
        async with Connection(changed.server.url, await token_of(changed)) as connection:
            assert await numbers(connection, 0) == [2]
        assert (held.closed, len(changed.generations.all)) == (0, 2)
        held.release.set()
        answer = await running
        told = events(answer)[-1] if progress else answer.json()
        assert told["result"]["structuredContent"] == {"result": 1}
        async with asyncio.timeout(5):
            while len(changed.generations.all) > 1:
                await asyncio.sleep(0.01)
        assert held.closed == 1


async def test_a_request_whose_body_comes_late_is_answered_by_the_set_that_took_it(dsn):
    async with changing(dsn) as changed:
        connection = Connection(changed.server.url, await token_of(changed))
        async with connection:
            body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"first"}}'
            connection._writer.write(f"{connection._head}{len(body)}\r\n\r\n".encode())
            while not changed.generations.current.services.drain.active:
                await asyncio.sleep(0.01)
            await changed.reload(2)
            connection._writer.write(body)
            answer = await connection._reader.readuntil(b'"structuredContent":{"result":1}')
            assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_call_without_end_does_not_keep_its_set_for_ever(dsn, monkeypatch, caplog):
    monkeypatch.setattr(Generation, "patience", 0.05)
    async with changing(dsn) as changed:
        client = await McpClient.authorized(changed.server)
        running = asyncio.create_task(client.call("long"))
        await changed.plugin.opened[0].begun.wait()
        await changed.reload(2)
        async with asyncio.timeout(2):
            while len(changed.generations.all) > 1:
                await asyncio.sleep(0.01)
        assert changed.plugin.opened[0].closed == 1
        assert "gave up 1 requests of an earlier configuration" in caplog.text
        await asyncio.wait([running])
        running.exception()


async def test_two_reloads_at_once_come_one_after_the_other(dsn):
    async with changing(dsn) as changed:
        changed.configure(2)
        outcomes = await asyncio.gather(*(changed.reloader.reload() for _ in range(3)))
        assert [outcome.generation for outcome in outcomes] == [2, 3, 4]
        assert [held.number for held in changed.plugin.opened] == [1, 2, 2, 2]
        assert changed.plugin.most_opening == 1


async def test_a_reload_that_is_given_up_leaves_nothing(dsn):
    async with changing(dsn) as changed:
        changed.configure(2)
        reloading = asyncio.create_task(changed.reloader.reload())
        while len(changed.plugin.opened) == 1:
            await asyncio.sleep(0)
        reloading.cancel()
        await asyncio.wait([reloading])
        assert [held.closed for held in changed.plugin.opened] == [0, 1]
        assert changed.generations.number == 1


async def test_what_changes_is_told_and_what_needs_a_start_stays(dsn, caplog):
    caplog.set_level(logging.INFO)
    async with changing(dsn) as changed:
        port = changed.settings["server"]["port"]
        outcome = await changed.reload(
            2, config={"extra": True}, server={"port": 1, "shutdown_grace": "1s"}
        )
        assert outcome.at_start == ("server.port",)
        assert outcome.changes == (
            "+ tool more",
            "~ tool first: description",
            "~ tool second: description",
        )
        assert "takes effect at the next start: server.port" in caplog.text
        assert "clients that keep their list of tools have to look again" in caplog.text
        server = changed.generations.current.services.settings.server
        assert (server.port, server.shutdown_grace.total_seconds()) == (port, 1)
        outcome = await changed.reload(2, config={"extra": True})
        assert (outcome.changes, outcome.hints) == ((), ())


async def test_the_limit_of_a_body_follows_on_a_connection_that_stays(dsn):
    async with changing(dsn) as changed, changed.server.http() as http:
        large = b"x" * 3000
        headers = {
            "Authorization": f"Bearer {await token_of(changed)}",
            "Content-Type": "application/json",
        }

        async def chunks():
            yield large

        assert (await http.post("/mcp", content=large, headers=headers)).status_code == 400
        unannounced = await http.post("/mcp", content=chunks(), headers=headers)
        assert unannounced.json()["error"]["code"] == -32700
        changed.configure(2)
        changed.settings["mcp"]["max_body"] = 1024
        await changed.reloader.reload()
        assert (await http.post("/mcp", content=large, headers=headers)).status_code == 413
        # Of what was not announced, no more than twice the limit is let in at all.
        with contextlib.suppress(httpx.TransportError):  # The server does not read to the end.
            unannounced = await http.post("/mcp", content=chunks(), headers=headers)
            assert unannounced.status_code == 400


async def test_a_client_that_is_configured_meanwhile_is_there(dsn):
    async with changing(dsn) as changed:
        new = {"id": "new", "redirect_uris": [CALLBACK]}
        await changed.reload(2, oauth={"clients": {"configured": [*CLIENTS, new]}})
        assert (await Flow(changed.server, client_id="new").tokens())["access_token"]


async def test_another_address_is_told_to_cut_off_everybody(dsn):
    async with changing(dsn) as changed:
        port = changed.settings["server"]["port"]
        moved = {"port": port, "public_url": "https://mcp.example.org"}
        outcome = await changed.reload(1, server=moved)
        assert outcome.hints == (MOVED,)
        # An address of which the port is a part stays with it.
        other_port = {"port": 1, "public_url": "https://mcp.example.org"}
        assert (await changed.reload(1, server=other_port)).hints == ()


async def test_what_is_done_once_is_done_by_the_set_that_serves(dsn):
    done = []

    @contextlib.contextmanager
    def duties(services):
        name = services.settings.mcp.name
        done.append(f"{name} begins")
        yield
        done.append(f"{name} ends")

    async with changing(dsn, duties=duties) as changed:
        await changed.reload(2)
        await changed.reload(3, config={"broken": True})
        assert done == ["set 1 begins", "set 1 ends", "set 2 begins"]
    assert done[3:] == ["set 2 ends"]


async def test_what_ends_all_plugins_is_noticed_of_the_set_that_serves(dsn):
    async with changing(dsn) as changed:
        client = await McpClient.authorized(changed.server)
        running = asyncio.create_task(client.call("long"))
        first, old = changed.plugin.opened[0], changed.generations.current
        await first.begun.wait()
        await changed.reload(2)
        old.life.task.cancel()
        first.release.set()
        async with asyncio.timeout(5):
            while len(changed.generations.all) > 1:
                await asyncio.sleep(0.01)
        await asyncio.wait([running])
        assert not changed.generations.lost.is_set()
        changed.generations.current.life.task.cancel()
        async with asyncio.timeout(5):
            await changed.generations.lost.wait()


async def test_a_plugin_that_ended_by_itself_is_out_of_order_until_the_next_reload(dsn):
    async with changing(dsn, config={"crash": True}) as changed:
        client = await McpClient.authorized(changed.server)
        changed.plugin.opened[0].release.set()
        async with asyncio.timeout(5):
            while not (await client.call("first")).json()["result"].get("isError"):
                await asyncio.sleep(0.01)
        assert not changed.generations.lost.is_set()
        await changed.reload(2)
        assert not (await client.call("first")).json()["result"].get("isError")


MIX = """
from mcpserve import hookimpl
from {name}.impl import mix
{then}

@hookimpl
def mcpserve_tools():
    {hook}
    return [mix]
"""
IMPL = """
def mix() -> str:
    \"\"\"Mix.\"\"\"
    return {version!r}
"""
FAILS = "raise RuntimeError('it needs a fix')"
COUNT = itertools.count()


@dataclass
class Mix:
    """A plugin of two modules, under a name that no other test has imported."""

    folder: Path
    name: str

    def install(self, version, then="", hook="", has_record=True):
        """Put this version in place of what is there."""
        for old in self.folder.glob("*.dist-info"):
            shutil.rmtree(old)
        info = self.folder / f"{self.name}-{version}.dist-info"
        info.mkdir()
        package = self.folder / self.name
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text(MIX.format(name=self.name, then=then, hook=hook))
        (package / "impl.py").write_text(IMPL.format(version=version))
        (info / "METADATA").write_text(f"Name: {self.name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[mcpserve]\nmix = {self.name}\n")
        if has_record:
            (info / "RECORD").write_text(
                "".join(f"{self.name}/{file}.py,,\n" for file in ("__init__", "impl"))
            )

    async def answer(self, changed):
        """Call its tool."""
        async with Connection(changed.server.url, await token_of(changed)) as connection:
            result = await connection.ask("tools/call", {"name": "mix", "arguments": {}})
        return result["structuredContent"]["result"]


@pytest.fixture
def mix(tmp_path, monkeypatch):
    """A folder in front of all others."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return Mix(tmp_path, f"reloaded_mix_{next(COUNT)}")


@contextlib.asynccontextmanager
async def mixing(dsn):
    """A server whose configuration will name a plugin that is installed."""
    async with changing(dsn) as changed:
        changed.find = None
        yield changed


async def test_a_package_that_was_exchanged_is_named_until_the_next_start(dsn, mix):
    mix.install("1.0")
    async with mixing(dsn) as changed:
        assert mix.name not in str((await changed.reload(1, plugins={"mix": {}})).hints)
        mix.install("1.1")
        told = f"plugins.mix: {mix.name} 1.1 is installed, {mix.name} 1.0 runs until the next start"
        for _ in range(2):
            assert (await changed.reload(1, plugins={"mix": {}})).hints == (told,)
        assert await mix.answer(changed) == "1.0"
        # In a process of its own it is the new one.
        isolated = {"mix": {"isolation": "process"}}
        assert (await changed.reload(1, plugins=isolated)).hints == ()
        assert await mix.answer(changed) == "1.1"


@pytest.mark.parametrize("has_record", [True, False], ids=["installed", "working copy"])
async def test_nothing_of_an_import_that_failed_runs_after_it_was_mended(dsn, mix, has_record):
    mix.install("1.0", then=FAILS, has_record=has_record)
    async with mixing(dsn) as changed:
        refused = await changed.reload(1, plugins={"mix": {}})
        assert "it needs a fix" in refused.problems[0]
        mix.install("1.1", has_record=has_record)
        outcome = await changed.reload(1, plugins={"mix": {}})
        assert outcome.problems == ()
        assert mix.name not in str(outcome.hints)
        assert await mix.answer(changed) == "1.1"


async def test_a_refusal_says_that_a_mended_package_needs_a_start(dsn, mix):
    mix.install("1.0", hook=FAILS)
    async with mixing(dsn) as changed:
        assert len((await changed.reload(1, plugins={"mix": {}})).problems) == 1
        mix.install("1.1")
        problems = (await changed.reload(1, plugins={"mix": {}})).problems
        assert "it needs a fix" in problems[0]
        assert problems[1:] == (
            f"plugins.mix: {mix.name} 1.1 is installed, {mix.name} 1.0 runs until the next start",
        )


async def test_code_that_was_approved_meanwhile_does_not_vouch_for_what_runs(dsn, mix, tmp_path):
    lock = tmp_path / "tools.lock"
    mix.install("1.0")
    async with mixing(dsn) as changed:
        await changed.reload(1, plugins={"mix": {}})
        pins = pinning.pins(changed.generations.current.services.plugins)
        pinning.write(lock, pins)
        assert (await changed.reload(1, plugins={"mix": {}}, tools_lock=str(lock))).changes == ()
        mix.install("1.1")
        # The process that approves it has imported nothing yet.
        now = discovery.present(next(each for each in discovery.installed() if each.name == "mix"))
        approved = {"distribution": now.version, "files": now.files}
        pinning.write(lock, {"mix": pins["mix"].model_copy(update=approved)})
        outcome = await changed.reload(1, plugins={"mix": {}})
        assert outcome.changes == ("- tool mix",)
        assert any("1.0 runs until the next start" in hint for hint in outcome.hints)


async def test_an_import_that_fails_leaves_the_modules_of_others(mix):
    mix.install("1.0", then=f"import {mix.name}_friend\n{FAILS}")
    (mix.folder / f"{mix.name}_friend.py").write_text("")
    [plugin] = [each for each in discovery.installed() if each.name == "mix"]
    before = frozenset(sys.modules)
    with pytest.raises(RuntimeError):
        discovery.load(plugin)
    assert frozenset(sys.modules) - before == {f"{mix.name}_friend"}


async def test_a_package_around_a_plugin_that_failed_does_not_keep_its_modules(mix):
    mix.install("1.0")
    package = mix.folder / mix.name
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(f"from {mix.name} import impl\n{FAILS}")
    [info] = mix.folder.glob("*.dist-info")
    (info / "entry_points.txt").write_text(f"[mcpserve]\nmix = {mix.name}.plugin\n")
    [plugin] = [each for each in discovery.installed() if each.name == "mix"]
    importlib.import_module(mix.name)
    with pytest.raises(RuntimeError):
        discovery.load(plugin)
    (package / "plugin.py").write_text(f"from {mix.name} import impl\n")
    (package / "impl.py").write_text("VALUE = 'mended'\n")
    with (info / "RECORD").open("a") as record:
        record.write(f"{mix.name}/plugin.py,,\n")
    assert discovery.load(plugin).impl.VALUE == "mended"


async def test_fifty_reloads_leave_no_more_behind_than_one(dsn):
    async with changing(dsn) as changed:
        token = await token_of(changed)

        async def left(number):
            await changed.reload(number)
            async with Connection(changed.server.url, token) as connection:
                assert await numbers(connection, 0) == [number]
            async with asyncio.timeout(5):
                while len(changed.generations.all) > 1:
                    await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            gc.collect()
            made = sum(isinstance(each, Generation) for each in gc.get_objects())
            descriptors = len(list(Path("/proc/self/fd").iterdir()))
            return made, threading.active_count(), len(asyncio.all_tasks()), descriptors

        for number in range(2, 5):
            first = await left(number)
        for number in range(5, 50):
            await changed.reload(number)
        assert await left(50) == first

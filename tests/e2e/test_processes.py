"""Several processes at one port: nobody outside sees more than one server."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import postgres
import psycopg2
import pytest
import yaml
from e2e.load import load
from e2e.process import (
    PATIENCE,
    add_user,
    configure,
    environment,
    invoke,
    open_folder,
    started,
    until,
)
from e2e.upstream import Upstream
from serving import CLIENTS, PUBLIC_CLIENT, Flow

TWO = {"processes": 2}
BUSY = "another process is at it"
BOTH = {"calculator": {}, "get_weather": {}}


@pytest.fixture(scope="module")
def dsn(cluster, template, tmp_path_factory):
    """The database of all, with a person."""
    with postgres.new_database(cluster, template=template) as dsn:
        add_user(configure(tmp_path_factory.mktemp("person"), dsn=dsn))
        yield dsn


@pytest.fixture(scope="module")
def path(dsn, tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    cleanup = {"enabled": True, "interval": "1s"}
    path = configure(folder, dsn=dsn, cleanup=cleanup, log={"level": "debug"})
    set_up(path, server=TWO)
    return path


@pytest.fixture(scope="module")
def server(path):
    """Two processes, for all tests that leave two behind."""
    with started(path) as server:
        until(lambda: "tools" in server.output)
        yield server


def set_up(path, **sections):
    """Change a configuration: what is given on top of what there is."""
    settings = yaml.safe_load(path.read_text("utf-8"))
    for name, values in sections.items():
        settings[name] = {**settings[name], **values}
    path.write_text(yaml.safe_dump(settings), "utf-8")


def members(server):
    """Return the ids of the processes that serve."""
    pid = server.popen.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = {}
    for child in children:
        with contextlib.suppress(FileNotFoundError):
            found[int(child)] = Path("/proc", child, "cmdline").read_bytes()
    return {pid for pid, command in found.items() if b"\0serve\0" in command}


def number_of(pid):
    """Return which of all processes this one is."""
    told = Path("/proc", str(pid), "environ").read_bytes().split(b"\0")
    [place] = [each for each in told if each.startswith(b"_MCPSERVE_PROCESS=")]
    return json.loads(place.partition(b"=")[2])["number"]


def lines(server, since=0):
    whole = server.log[since:].rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def is_alive(pid):
    status = Path("/proc", str(pid), "status")
    return status.exists() and "\nState:\tZ" not in status.read_text()


async def eventually(condition):
    return await asyncio.to_thread(until, condition)


async def token_of(server):
    return (await Flow(server).tokens())["access_token"]


@contextlib.asynccontextmanager
async def connections(server):
    """Yield a client for each process, on a connection to it that is kept."""
    async with contextlib.AsyncExitStack() as stack:
        found = {}
        async with asyncio.timeout(PATIENCE):
            while set(found) != members(server):
                http = await stack.enter_async_context(server.http())
                asked = (await http.get("/healthz")).headers["X-Request-Id"]
                logged = await eventually(
                    lambda asked=asked: [
                        line for line in lines(server) if line.get("request_id") == asked
                    ]
                )
                found[logged[0]["pid"]] = http
        yield [found[pid] for pid in sorted(found)]


async def asked(http, token, method, params):
    """Return the answer to a request."""
    return await http.post(
        "/mcp",
        json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params},
        headers={"Authorization": f"Bearer {token}", "MCP-Protocol-Version": "2025-11-25"},
    )


async def listed(http, token):
    """Return the names of all tools, and the status."""
    answer = await asked(http, token, "tools/list", {})
    tools = answer.json().get("result", {}).get("tools", ())
    return answer.status_code, [tool["name"] for tool in tools]


async def test_two_processes_answer_on_one_port_and_say_once_that_they_do(server):
    assert len(members(server)) == 2
    assert server.popen.pid not in members(server)
    async with connections(server) as both:
        assert len(both) == 2
    assert server.output.count("MCP endpoint") == 1
    assert server.output.count("/setup?") == 0
    assert {line["pid"] for line in lines(server)} >= members(server)


async def test_a_token_that_is_revoked_at_one_is_refused_by_the_other_at_once(server):
    tokens = await Flow(server).tokens()
    async with connections(server) as (one, other):
        for http in (one, other):
            assert (await listed(http, tokens["access_token"]))[0] == 200
        revoked = {"token": tokens["refresh_token"], "client_id": PUBLIC_CLIENT}
        assert (await one.post("/revoke", data=revoked)).status_code == 200
        assert (await listed(other, tokens["access_token"]))[0] == 401


async def test_one_of_them_cleans_up(server, dsn):
    # Whoever would clean up now says that somebody else is at it.
    with contextlib.closing(psycopg2.connect(dsn)) as somebody, somebody.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtextextended('mcpserve.cleanup', 0))")
        before = len(server.log)

        def tried():
            return [line["pid"] for line in lines(server, before) if BUSY in line["message"]]

        await eventually(lambda: len(tried()) >= 3)
    assert len(set(tried())) == 1


async def test_a_process_that_is_killed_is_replaced_and_takes_only_its_requests_along(server):
    token = await token_of(server)
    victim = min(members(server))
    async with load(server, token) as asking:
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        await eventually(lambda: len(members(server) - {victim}) == 2)
        async with connections(server):
            await asking.more(200)
    assert set(asking.statuses) == {200}
    assert len(asking.lost) <= 24
    assert all(sent < killed + 0.1 for sent in asking.lost)
    assert f"(pid {victim}) ended with signal 9, and is replaced at once" in server.log
    assert server.output.count("MCP endpoint") == 1


async def test_a_hang_up_signal_reloads_both_and_no_request_fails(server, path):
    token = await token_of(server)
    before = len(server.log)
    async with load(server, token) as asking:
        set_up(path, plugins=BOTH)
        server.signal(signal.SIGHUP)
        await eventually(lambda: server.log[before:].count("reloaded, generation") == 2)
        await asking.more()
    assert (set(asking.statuses), asking.lost) == ({200}, [])
    async with connections(server) as both:
        for http in both:
            assert await listed(http, token) == (200, ["calculator", "get_weather"])


async def test_what_the_first_refuses_no_other_is_asked_to_take(server, path):
    token = await token_of(server)
    async with connections(server) as both:
        known = [await listed(http, token) for http in both]
        before, good = len(server.log), path.read_text("utf-8")
        set_up(path, plugins={"nothing": {}})
        server.signal(signal.SIGHUP)
        await eventually(lambda: "not reloaded" in server.log[before:])
        path.write_text(good, "utf-8")
        assert [await listed(http, token) for http in both] == known
        server.signal(signal.SIGHUP)
        await eventually(lambda: server.log[before:].count("reloaded, generation") == 2)
        assert server.log[before:].count("not reloaded") == 1


async def test_what_another_refuses_the_first_does_not_take_either(server, path, dsn):
    token = await token_of(server)
    new = {**CLIENTS[0], "id": "another", "redirect_uris": ["https://another.example/"]}
    with contextlib.closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        def is_prepared():
            cursor.execute("SELECT FROM oauth_clients WHERE client_id = 'another'")
            return cursor.rowcount

        async with connections(server) as both:
            known = [await listed(http, token) for http in both]
            before, good = len(server.log), path.read_text("utf-8")
            [second] = [pid for pid in members(server) if number_of(pid) == 2]
            os.kill(second, signal.SIGSTOP)
            changed = {"clients": {"configured": [*CLIENTS, new]}}
            search = {"config": {"wikipedia": {"contact": "a@example.org"}}}
            set_up(path, plugins={"search_web": search}, oauth=changed)
            # Whichever of them hears it: all are asked.
            os.kill((members(server) - {second}).pop(), signal.SIGHUP)
            await eventually(is_prepared)
            path.write_text("plugins: [", "utf-8")
            os.kill(second, signal.SIGCONT)
            await eventually(lambda: server.log[before:].count("not reloaded") == 2)
            path.write_text(good, "utf-8")
            assert [await listed(http, token) for http in both] == known
    assert "another process cannot" in server.log[before:]
    assert "reloaded, generation" not in server.log[before:]


async def test_the_command_reloads_all_and_tells_of_one_server(server, path):
    before = len(server.log)
    done = await asyncio.to_thread(invoke, path, "reload")
    assert done.exit_code == 0, done.stderr
    [told] = done.stdout.splitlines()
    assert "reloaded, generation" in told
    assert server.log[before:].count("reloaded, generation") == 2
    set_up(path, plugins={"nothing": {}})
    refused = await asyncio.to_thread(invoke, path, "reload")
    settings = yaml.safe_load(path.read_text("utf-8"))
    del settings["plugins"]["nothing"]
    path.write_text(yaml.safe_dump(settings), "utf-8")
    assert refused.exit_code == 1
    assert "refused: plugins.nothing: " in refused.stdout
    assert len((await asyncio.to_thread(invoke, path, "plan")).stdout.splitlines()) == 2


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_stop_under_load_loses_no_request(dsn, tmp_path, processes):
    path = configure(tmp_path, dsn=dsn)
    set_up(path, server={"processes": processes})
    with started(path) as server:
        await eventually(lambda: "tools" in server.output)
        token = await token_of(server)
        async with load(server, token) as asking:
            # As systemd does, unless it is told otherwise.
            for pid in (server.popen.pid, *members(server)):
                os.kill(pid, signal.SIGTERM)
            assert await asyncio.to_thread(server.wait) == 0
    assert (set(asking.statuses), asking.lost) == ({200}, [])
    assert server.log.count("stopping, ") == processes
    assert "gave up" not in server.log


async def test_a_supervisor_that_is_killed_leaves_nothing_behind():
    with open_folder() as folder:
        path = configure(folder)
        set_up(path, server=TWO)
        with started(path) as server:
            await eventually(lambda: "tools" in server.output)
            pid_file = folder / ".mcpserve" / "postgres" / "postmaster.pid"
            everybody = {*members(server), int(pid_file.read_text().split()[0])}
            assert len(everybody) == 3
            server.popen.kill()
            killed = time.monotonic()
            await eventually(lambda: not any(map(is_alive, everybody)))
            assert time.monotonic() - killed < 5
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])))


@pytest.mark.parametrize("wrong", ["plugin", "port"])
def test_what_is_wrong_at_a_start_is_told_once(dsn, tmp_path, wrong):
    path = configure(tmp_path, dsn=dsn)
    set_up(path, server=TWO)
    with contextlib.ExitStack() as stack:
        if wrong == "port":
            other = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            set_up(path, server={"port": other.getsockname()[1]})
        else:
            set_up(path, plugins={"nothing": {}})
        ended = subprocess.run(
            [sys.executable, "-m", "mcpserve", "serve", "-c", str(path)],
            env=environment(),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    [told] = ended.stderr.splitlines()
    assert told.startswith(
        {"plugin": "error: plugins.nothing: ", "port": "error: server.port: "}[wrong]
    )
    assert (ended.returncode, ended.stdout) == (2, "")


async def test_a_second_ctrl_c_does_not_wait(dsn, tmp_path):
    with Upstream() as upstream:
        path = configure(tmp_path, dsn=dsn, plugins=upstream.plugins)
        set_up(path, server=TWO)
        async with contextlib.AsyncExitStack() as stack:
            server = stack.enter_context(started(path))
            token = await token_of(server)
            upstream.released.clear()
            arguments = {"name": "get_weather", "arguments": {"place": "Paris"}}
            http = await stack.enter_async_context(server.http(timeout=PATIENCE))
            in_flight = asyncio.create_task(asked(http, token, "tools/call", arguments))
            await asyncio.to_thread(upstream.asked.wait, PATIENCE)
            server.signal(signal.SIGINT)
            await eventually(lambda: "stopping, 1 requests" in server.log)
            server.signal(signal.SIGINT)
            assert await asyncio.to_thread(server.wait) == 0
            assert server.log.count("gave up 1 requests") == 1
            assert not upstream.released.is_set()
            with pytest.raises(httpx.HTTPError):
                (await in_flight).raise_for_status()

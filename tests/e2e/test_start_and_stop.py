"""The life of a server process: first start, start again, every way to end it."""

import asyncio
import json
import os
import re
import signal
import socket
from pathlib import Path
from urllib.parse import quote

import click
import httpx
import postgres
import pytest
from e2e.process import (
    PATIENCE,
    Process,
    add_user,
    at_terminal,
    configure,
    end,
    invoke,
    open_folder,
    started,
    until,
)
from e2e.upstream import Upstream
from psycopg2.extensions import parse_dsn
from serving import CALLBACK, PASSWORD, SECRET, USER, Flow, basic, serving

from mcpserve import config
from mcpserve.db import Database
from mcpserve.oauth import users
from mcpserve.version import __version__

LINK = re.compile(r"https?://\S+/setup\?token=[\w-]{43}")


@pytest.fixture
def folder():
    with open_folder() as path:
        yield path


def link_in(text):
    """Wait until the text has the link that creates the first user."""
    return until(lambda: LINK.search(text()))[0]


async def create_first_user(server, link):
    """Open the link in a new browser and send its form; return the last page."""
    async with server.browser() as browser:
        page = await browser.open(link)
        if page.status_code == 200:
            page = await browser.submit(username=USER, password=PASSWORD, password_again=PASSWORD)
        return page


def call(server, token):
    """Ask for the weather, as a coroutine."""

    async def ask():
        async with server.http(timeout=PATIENCE) as http:
            return await http.post(
                "/mcp",
                json={
                    "jsonrpc": "2.0",
                    "id": 1,
                    "method": "tools/call",
                    "params": {"name": "get_weather", "arguments": {"place": "Paris"}},
                },
                headers={
                    "Authorization": f"Bearer {token}",
                    "MCP-Protocol-Version": "2025-11-25",
                    "Accept": "application/json, text/event-stream",
                },
            )

    return ask()


def postmaster(folder):
    """Return the process id of the embedded database, if it runs."""
    pid_file = folder / ".mcpserve" / "postgres" / "postmaster.pid"
    return int(pid_file.read_text().split()[0]) if pid_file.exists() else None


def is_ready(server):
    return httpx.get(f"{server.url}/readyz").status_code == 200


def is_alive(pid):
    """Tell whether a process runs; one that is only waiting to be buried does not."""
    status = Path("/proc", str(pid), "status")
    return status.exists() and "\nState:\tZ" not in status.read_text()


async def test_a_first_start_says_how_to_go_on_and_the_next_keeps_everything(folder):
    path = configure(folder)
    with started(path) as server:
        link = link_in(lambda: server.output)
        first, *others = server.output.splitlines()
        assert first == f"mcpserve {__version__} · {server.url}"
        facts = dict(line.strip().split("   ", 1) for line in others)
        version = re.search(r"PostgreSQL [\d.]+", facts["database"])[0]
        assert {name: fact.strip() for name, fact in facts.items()} == {
            "MCP endpoint": f"{server.resource}   (paste this into your client)",
            "database": f"embedded {version} in ./.mcpserve",
            "tools": "calculator",
            "first user": f"{link}   (works once, for 24 hours)",
        }
        page = await create_first_user(server, link)
        assert (page.status_code, server.resource in page.text) == (200, True)
        assert (await create_first_user(server, link)).status_code == 404
        # A second process shares the database of the running one.
        await asyncio.to_thread(add_user, path, "bob")
        tokens = await Flow(server).tokens()
    with started(path) as server:
        assert (await Flow(server).call_mcp(tokens["access_token"])).status_code == 200
        assert (await Flow(server).refresh(tokens["refresh_token"])).status_code == 200
        assert (await Flow(server).tokens())["access_token"]
        listed = await asyncio.to_thread(invoke, path, "user", "list")
        assert [line.split()[0] for line in listed.stdout.splitlines()] == ["NAME", USER, "bob"]
        until(lambda: "tools" in server.output)
        assert "first user" not in server.output


async def test_the_link_of_an_earlier_start_is_dead(dsn, tmp_path):
    async with Database.connect(dsn, pool_size=1) as db:
        earlier = await users.new_setup_link(db)
    with started(configure(tmp_path, dsn=dsn)) as server:
        link = link_in(lambda: server.output)
        assert (await create_first_user(server, f"/setup?token={earlier}")).status_code == 404
        assert (await create_first_user(server, link)).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
async def test_a_call_in_flight_ends_before_server_and_database_do(folder, number):
    with Upstream() as upstream:
        path = configure(folder, plugins=upstream.plugins)
        with started(path) as server:
            database = postmaster(folder)
            await asyncio.to_thread(add_user, path)
            token = (await Flow(server).tokens())["access_token"]
            upstream.released.clear()
            in_flight = asyncio.create_task(call(server, token))
            await asyncio.to_thread(upstream.asked.wait, PATIENCE)

            server.signal(number)
            await asyncio.to_thread(until, lambda: "stopping, 1 requests" in server.log)
            with pytest.raises(httpx.ConnectError):
                await call(server, token)
            # The call may need the database until its end.
            assert (await asyncio.to_thread(invoke, path, "user", "list")).exit_code == 0
            upstream.released.set()
            answer = await in_flight
            assert (answer.status_code, "France" in answer.text) == (200, True)
            assert await asyncio.to_thread(server.wait) == 0
    assert not is_alive(database)
    assert postmaster(folder) is None
    log = (folder / ".mcpserve" / "postgres.log").read_text()
    assert "database system is shut down" in log
    assert "gave up" not in server.log


async def test_after_kill_9_the_next_start_recovers_by_itself(folder):
    path = configure(folder)
    with started(path) as server:
        await asyncio.to_thread(add_user, path)
        tokens = await Flow(server).tokens()
        orphan = postmaster(folder)
        server.popen.kill()
        server.popen.wait(PATIENCE)
    with started(path) as server:
        assert (await Flow(server).call_mcp(tokens["access_token"])).status_code == 200
        assert postmaster(folder) != orphan
        assert not is_alive(orphan)


async def test_a_database_that_dies_under_the_server_is_started_again(folder):
    path = configure(folder)
    with started(path) as server:
        await asyncio.to_thread(add_user, path)
        tokens = await Flow(server).tokens()
        first = postmaster(folder)
        os.kill(first, signal.SIGKILL)
        await asyncio.to_thread(until, lambda: postmaster(folder) not in (None, first))
        await asyncio.to_thread(until, lambda: is_ready(server))
        assert (await Flow(server).call_mcp(tokens["access_token"])).status_code == 200
        assert "the embedded PostgreSQL is gone and is started again" in server.log


async def test_a_second_server_takes_over_the_database_of_the_first(folder):
    (folder / "guest").mkdir()
    data_dir = str(folder / ".mcpserve")
    with started(configure(folder)) as first:
        owner = postmaster(folder)
        with started(configure(folder / "guest"), MCPSERVE_DATA_DIR=data_dir) as guest:
            end(first.popen)
            assert not is_alive(owner)
            await asyncio.to_thread(until, lambda: postmaster(folder) not in (None, owner))
            await asyncio.to_thread(until, lambda: is_ready(guest))


async def test_an_external_database_is_migrated_by_command_only(empty_dsn, tmp_path):
    path = configure(tmp_path)
    parts = parse_dsn(empty_dsn)
    url = f"postgresql://{parts['user']}@/{parts['dbname']}?host={quote(parts['host'], safe='')}"
    refused = await asyncio.to_thread(invoke, path, "serve", DATABASE_URL=url)
    assert (refused.exit_code, "run `mcpserve db init`" in refused.stderr) == (1, True)
    done = await asyncio.to_thread(invoke, path, "db", "init", DATABASE_URL=url)
    assert done.exit_code == 0
    with started(path, DATABASE_URL=url) as server:
        await create_first_user(server, link_in(lambda: server.output))
        assert (await Flow(server).tokens())["access_token"]
        assert re.search(rf"database +PostgreSQL, .*{parts['dbname']}", server.output)
    assert not (tmp_path / ".mcpserve").exists()


@pytest.mark.proves("LG-01")
async def test_a_public_server_keeps_its_link_in_the_log_and_its_cookie_to_itself(dsn, tmp_path):
    path = configure(tmp_path, dsn=dsn)
    with started(path, BASE_URL="https://mcp.example.org") as server:
        assert link_in(lambda: server.log).startswith("https://mcp.example.org/setup?")
        assert "/setup?" not in server.output
        assert "first user" not in server.output

        parameters = Flow(server).parameters()
        async with server.http(headers={"Host": "mcp.example.org"}) as http:
            page = await http.get("/authorize", params=parameters)
        cookie = page.headers["set-cookie"]
        assert cookie.startswith("__Host-mcpserve=")
        assert "; Secure" in cookie
        # Nobody watches: one JSON object a line.
        assert all(json.loads(line)["message"] for line in server.log.splitlines())


@pytest.mark.proves("AD-01", "CA-07")
async def test_a_client_from_the_environment_is_there_once_and_as_it_says(dsn, tmp_path):
    path = configure(tmp_path, dsn=dsn, oauth={"clients": {"configured": []}})
    seed = {"AUTO_SEED_CLIENT_ID": "seeded", "AUTO_SEED_REDIRECT_URIS": CALLBACK}
    clients = config.load(path, seed).settings.oauth.clients.configured
    async with serving(dsn, {"oauth": {"clients": {"configured": clients}}}) as server:
        assert (await Flow(server, client_id="seeded").tokens())["access_token"]

    with started(path, **seed, AUTO_SEED_CLIENT_SECRET=SECRET) as server:
        flow = Flow(server, client_id="seeded", secret=SECRET)
        assert (await flow.tokens())["access_token"]
        in_header = {"client_id": None, "client_secret": None, "headers": basic("seeded", SECRET)}
        assert (await flow.exchange(await flow.code(), **in_header)).status_code == 200
        public = await flow.exchange(await flow.code(), client_secret=None)
        assert public.json()["error"] == "invalid_client"
    assert postgres.query(dsn, "SELECT client_id FROM oauth_clients") == [("seeded",)]


def test_a_port_in_use_is_told_in_one_line(dsn, tmp_path):
    path = configure(tmp_path, dsn=dsn, oauth={"clients": {"configured": []}})
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with at_terminal(path, "serve", PORT=str(port)) as terminal:
            [line] = click.unstyle(terminal.read_to_the_end()).splitlines()
            assert terminal.popen.wait(PATIENCE) == 2
    assert line.startswith(f"error: server.port: cannot listen on 127.0.0.1:{port}: ")


async def test_at_a_terminal_the_log_is_text_and_a_second_ctrl_c_does_not_wait(dsn, tmp_path):
    with Upstream() as upstream:
        path = configure(tmp_path, dsn=dsn, plugins=upstream.plugins)
        await asyncio.to_thread(add_user, path)
        with at_terminal(path, "serve") as terminal:
            banner = terminal.read_until("tools ")
            assert "\x1b[1mmcpserve" in banner

            server = Process.of(path, terminal.popen)
            token = (await Flow(server).tokens())["access_token"]
            upstream.released.clear()
            in_flight = asyncio.create_task(call(server, token))
            await asyncio.to_thread(upstream.asked.wait, PATIENCE)
            terminal.type("\x03")
            stopping = terminal.read_until("stopping, 1 requests in flight")
            assert re.search(r"\d\d:\d\d:\d\d info +stopping", stopping)
            terminal.type("\x03")
            terminal.read_until("gave up 1 requests")
            assert await asyncio.to_thread(server.wait) == 0
            assert not upstream.released.is_set()
            with pytest.raises(httpx.HTTPError):
                (await in_flight).raise_for_status()

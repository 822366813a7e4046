"""Long calls: progress, silence, hanging up, and stopping the server meanwhile."""

import asyncio
import contextlib
import json
import os
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest
from e2e.workshop import Workshop, client_of, draining, happens, serve, text_of
from mcp_client import McpClient, events
from serving import serving

from mcpserve.bound import Outcome
from mcpserve.processes.sockets import Shared
from mcpserve.serving import SETTLE, drain, listen

ERAS = pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
KEEP_ALIVE = "mcpserve.web.mcp.KEEP_ALIVE"


@ERAS
async def test_progress_arrives_while_the_tool_works_and_the_answer_last(dsn, modern):
    workshop = Workshop()
    async with serve(dsn, workshop) as server:
        client = await client_of(server, modern)
        async with client.calling("build", "token") as answer:
            assert answer.status_code == 200
            assert answer.headers["Content-Type"] == "text/event-stream"
            assert answer.headers["Cache-Control"] == "no-cache, no-transform"
            assert answer.headers["X-Accel-Buffering"] == "no"
            lines = answer.aiter_lines()
            assert [await anext(lines) for _ in range(3)][::2] == ["event: message", ""]
            workshop.release.set()
            rest = [json.loads(line[6:]) async for line in lines if line.startswith("data: ")]
        assert [message.get("method") for message in rest] == ["notifications/progress", None]
        assert rest[0]["params"]["progressToken"] == "token"
        assert (rest[1]["id"], text_of(rest[1])) == (1, "built")


@ERAS
async def test_without_a_token_there_is_no_stream(dsn, modern):
    workshop = Workshop()
    workshop.release.set()
    async with serve(dsn, workshop) as server:
        answer = await (await client_of(server, modern)).call("build")
        assert answer.headers["Content-Type"] == "application/json"
        assert text_of(answer.json()) == "built"


async def test_a_client_that_takes_json_only_gets_no_stream(dsn, monkeypatch):
    monkeypatch.setattr(KEEP_ALIVE, 0.02)
    workshop = Workshop()
    async with serve(dsn, workshop) as server:
        client = await McpClient.authorized(server)
        for accept in ("application/json", "*/*"):
            workshop.release.clear()
            asyncio.get_running_loop().call_later(0.1, workshop.release.set)
            async with client.calling("build", "token", Accept=accept) as answer:
                assert answer.headers["Content-Type"] == "application/json"
                await answer.aread()
            assert text_of(answer.json()) == "built"


@ERAS
async def test_a_long_silence_is_broken_by_comments(dsn, modern, monkeypatch):
    monkeypatch.setattr(KEEP_ALIVE, 0.02)
    workshop = Workshop()
    async with serve(dsn, workshop) as server:
        client = await client_of(server, modern)
        async with client.calling("wait") as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"
            lines = answer.aiter_lines()
            for _ in range(2):
                assert (await anext(lines)).startswith(":")
                assert await anext(lines) == ""
            workshop.release.set()
            data = [line[6:] async for line in lines if line.startswith("data: ")]
        (message,) = map(json.loads, data)
        assert text_of(message) == "waited"


@ERAS
async def test_a_call_that_outlives_its_timeout_is_a_tool_error_on_its_stream(
    dsn, modern, monkeypatch
):
    monkeypatch.setattr(KEEP_ALIVE, 0.02)
    workshop = Workshop()
    settings = {"plugins": {"workshop": {"timeout": "1s"}, "other": {}}}
    async with serve(dsn, workshop, settings) as server:
        answer = await (await client_of(server, modern)).call("wait")
        assert answer.text.startswith(":")
        (message,) = events(answer)
    assert message["result"]["isError"]
    assert text_of(message) == "wait did not answer within 1 s"
    assert workshop.outcomes == [("wait", Outcome.TIMEOUT)]


async def test_a_short_call_is_plain_json(dsn):
    async with serve(dsn, Workshop()) as server:
        answer = await (await McpClient.authorized(server)).call("quick", "token")
        assert answer.headers["Content-Type"] == "application/json"
        assert "Content-Length" in answer.headers


@ERAS
@pytest.mark.parametrize("name", ["build", "wait"])
async def test_hanging_up_cancels_in_the_modern_era_only(dsn, modern, name, caplog):
    workshop = Workshop()
    async with serve(dsn, workshop) as server:
        client = await client_of(server, modern)
        call = asyncio.create_task(client.call(name, "token"))
        await happens(workshop.started)
        call.cancel()
        await asyncio.wait([call])
        # What happened on one connection is seen before a later request on another.
        assert (await client.call("quick")).status_code == 200
        if modern:
            await happens(workshop.ended)
        workshop.release.set()
        await happens(workshop.ended)
        assert workshop.outcomes == [(name, Outcome.CANCELLED if modern else Outcome.OK)]
        async with asyncio.timeout(10):
            await server.services.drain.stop()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_tool_does_not_get_ahead_of_a_client_that_reads_slowly(dsn):
    workshop = Workshop()
    async with serve(dsn, workshop) as server:
        client = await McpClient.authorized(server)
        async with client.calling("count", "token") as answer:
            await happens(workshop.started)
            assert (await client.call("quick")).status_code == 200
            assert workshop.outcomes == []
            await answer.aread()
        *progress, last = events(answer)
        assert [message["params"]["progress"] for message in progress] == [*range(1, 201)]
        assert text_of(last) == "200"


@pytest.mark.parametrize("forms", ["application/json", "text/event-stream"])
async def test_a_client_that_never_reads_is_hung_up_on(dsn, monkeypatch, forms, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr("mcpserve.web.message.READ_TIMEOUT", 0.2)
    async with serve(dsn, Workshop()) as server:
        client = await McpClient.authorized(server)
        message = client.message("tools/call", {"name": "much"})
        body = json.dumps(message).encode()
        parts = urlsplit(server.url)
        lines = client.headers(message, Accept=forms) | {"Host": parts.netloc}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        _, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1)
        writer.write(f"POST /mcp HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode())
        writer.write(body)
        async with asyncio.timeout(10):
            while not server.services.drain.active:
                await asyncio.sleep(0.01)
            while server.services.drain.active:
                await asyncio.sleep(0.01)
        writer.close()
    assert "hung up on a client that does not read" in caplog.text


async def test_a_slow_tool_does_not_hold_up_that_of_another_plugin(dsn):
    workshop = Workshop()
    settings = {"plugins": {"workshop": {"concurrency": 1, "timeout": "0.1s"}}}
    async with serve(dsn, workshop, settings) as server:
        client = await McpClient.authorized(server)
        calls = [asyncio.create_task(client.call("stuck")) for _ in range(5)]
        await happens(workshop.started)
        assert text_of((await client.call("quick")).json()) == "here"
        answers = await asyncio.gather(*calls)
        assert {text_of(answer.json()) for answer in answers} == {
            "stuck did not answer within 0.1 s"
        }
        assert text_of((await client.call("quick")).json()) == "here"
        workshop.thread.set()


async def raw(client, *messages):
    """Send requests all at once on one connection, and return the reader and the writer."""
    parts = urlsplit(client.server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    for message in messages:
        body = json.dumps(message).encode()
        lines = {**client.headers(message), "Host": parts.netloc, "Content-Length": len(body)}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + body)
    return reader, writer


async def test_requests_in_a_row_on_one_connection_are_answered_in_order(dsn):
    workshop = Workshop()
    workshop.release.set()
    async with serve(dsn, workshop) as server:
        client = await McpClient.authorized(server)
        messages = [
            client.message("tools/list") | {"id": "first"},
            client.message("tools/call", {"name": "build"}, "token") | {"id": "second"},
            client.message("tools/call", {"name": "quick"}) | {"id": "third"},
        ]
        reader, writer = await raw(client, *messages)
        async with asyncio.timeout(10):
            received = await reader.readuntil(b'"here"')
        writer.close()
        places = [
            received.index(f'"id":"{name}"'.encode()) for name in ("first", "second", "third")
        ]
        assert places == sorted(places)
        assert received.count(b"HTTP/1.1 200 OK") == 3


@ERAS
async def test_a_server_that_stops_lets_a_call_in_flight_finish(dsn, modern):
    workshop = Workshop()
    async with serve(dsn, workshop) as server:
        client = await client_of(server, modern)
        call = asyncio.create_task(client.call("build", "token"))
        await happens(workshop.started)
        stopping = draining(server)
        await asyncio.sleep(0)
        with pytest.raises(OSError):  # noqa: PT011
            await raw(client)
        assert not stopping.done()
        workshop.release.set()
        assert text_of(events(await call)[-1]) == "built"
        async with asyncio.timeout(10):
            await stopping


async def test_a_server_that_stops_answers_each_kept_connection_once_more(dsn):
    workshop = Workshop()
    async with serve(dsn, workshop) as server, server.http() as kept:
        assert (await kept.get("/healthz")).status_code == 200
        client = await McpClient.authorized(server)
        call = asyncio.create_task(client.call("build", "token"))
        await happens(workshop.started)
        stopping = draining(server)
        await asyncio.sleep(0)
        last = await kept.get("/healthz")
        assert (last.status_code, last.headers["Connection"]) == (200, "close")
        with pytest.raises(httpx.ConnectError):
            await kept.get("/healthz")
        workshop.release.set()
        assert text_of(events(await call)[-1]) == "built"
        async with asyncio.timeout(10):
            await stopping


async def test_a_server_that_stops_waits_a_moment_for_what_is_on_its_way(dsn):
    async with serving(dsn) as server, server.http() as kept, server.http() as idle:
        for http in (kept, idle):
            assert (await http.get("/healthz")).status_code == 200
        stopping = draining(server)
        await asyncio.wait([stopping], timeout=0.3)
        assert not stopping.done()
        last = await kept.get("/healthz")
        assert (last.status_code, last.headers["Connection"]) == (200, "close")
        # But not for ever for who says nothing.
        async with asyncio.timeout(3):
            await stopping


async def test_a_server_that_stops_takes_all_who_had_connected_however_busy_it_is(dsn):
    async with serving(dsn) as server:
        [(descriptor, _)] = server.http_server._sockets.items()
        shared = Shared(fileno=os.dup(descriptor))
        busy = listen(server.http_server.request_callback, [shared])
        server.http_server.stop()
        place = urlsplit(server.url)
        with contextlib.ExitStack() as stack:
            stopping = asyncio.create_task(
                drain([server.services.drain], busy, asyncio.Event(), grace=5)
            )
            waiting = [
                stack.enter_context(socket.create_connection((place.hostname, place.port)))
                for _ in range(20)
            ]
            for each in waiting:
                each.sendall(f"GET /healthz HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, time.sleep, 2 * SETTLE)
            await stopping
            assert [each.recv(12) for each in waiting] == [b"HTTP/1.1 200"] * 20


async def test_a_server_that_stops_sends_the_whole_of_a_large_answer(dsn):
    workshop = Workshop()
    async with serve(dsn, workshop) as server:
        client = await McpClient.authorized(server)
        async with client.calling("much") as answer:
            stopping = draining(server)
            await asyncio.wait([stopping], timeout=0.05)
            assert not stopping.done()
            assert text_of(json.loads(await answer.aread())) == "x" * 20_000_000
        async with asyncio.timeout(10):
            await stopping


@ERAS
@pytest.mark.parametrize("told", [True, False], ids=["told to hurry", "grace is over"])
async def test_a_call_that_is_given_up_is_cancelled_before_its_plugin_is_closed(dsn, modern, told):
    workshop = Workshop()
    grace = "30s" if told else "0.05s"
    async with serve(dsn, workshop, {"server": {"shutdown_grace": grace}}) as server:
        client = await client_of(server, modern)
        call = asyncio.create_task(client.call("build", "token"))
        await happens(workshop.started)
        hurry = asyncio.Event()
        stopping = draining(server, hurry)
        if told:
            hurry.set()
        async with asyncio.timeout(10):
            await stopping
        assert workshop.outcomes == [("build", Outcome.CANCELLED)]
        await asyncio.wait([call])
    assert workshop.closed


async def test_a_request_that_broke_off_does_not_hold_up_the_end(dsn):
    async with serve(dsn, Workshop()) as server:
        client = await McpClient.authorized(server)
        message = client.message("tools/list")
        parts = urlsplit(server.url)
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        lines = {**client.headers(message), "Host": parts.netloc, "Content-Length": 1000}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"POST /mcp HTTP/1.1\r\n{head}\r\nhalf".encode())
        async with asyncio.timeout(10):
            while not server.services.drain.active:
                await asyncio.sleep(0.01)
            writer.close()
            await draining(server)

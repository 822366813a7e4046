"""Requests to /mcp that come in parts, announce odd lengths, or whose clients go."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest
from e2e.workshop import Workshop, client_of, draining, happens, serve, text_of
from mcp_client import McpClient
from postgres import backends
from serving import serving

from mcpserve import hookimpl
from mcpserve.web.heads import FORM_LIMIT


class Echo:
    """A plugin that answers with the length of what it is given."""

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""

        def measure(text: str) -> int:
            """Measure a text."""
            return len(text)

        return [measure]


def request(client, message, *, length=None, version="1.1", **changes):
    """Return the head and the body of a request; ``length`` replaces the true one."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    lines = client.headers(json.loads(body.partition(b"\0")[0]), **changes)
    lines |= {"Host": urlsplit(client.server.url).netloc}
    lines |= {"Content-Length": str(len(body)) if length is None else length.format(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST /mcp HTTP/{version}\r\n{head}\r\n".encode(), body


async def connect(server):
    """Open a connection."""
    parts = urlsplit(server.url)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def read(reader):
    """Read one answer with a length: its status, head and body."""
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        return int(head.split()[1]), head, await reader.readexactly(length)


@pytest.mark.parametrize("length", ["{0}", "{0}, {0}"], ids=["once", "twice"])
async def test_a_large_body_is_taken_whole_whichever_way_its_length_is_said(dsn, length):
    async with serving(dsn, {"plugins": {"echo": {}}}, made={"echo": Echo()}) as server:
        client = await McpClient.authorized(server)
        text = "x" * (2 * FORM_LIMIT)
        message = client.message("tools/call", {"name": "measure", "arguments": {"text": text}})
        reader, writer = await connect(server)
        writer.write(b"".join(request(client, message, length=length)))
        status, _, body = await read(reader)
        assert (status, text_of(json.loads(body))) == (200, str(len(text)))
        cut = json.dumps(client.message("ping")).encode() + b" " * 2 * FORM_LIMIT
        writer.write(b"".join(request(client, cut + b"\0no JSON", length=length)))
        status, _, body = await read(reader)
        assert (status, json.loads(body)["error"]["code"]) == (400, -32700)
        writer.close()


async def test_a_request_that_came_in_part_before_the_stop_is_served(dsn):
    async with serve(dsn, Workshop()) as server:
        client = await McpClient.authorized(server)
        head, body = request(client, client.message("tools/call", {"name": "quick"}))
        reader, writer = await connect(server)
        writer.write(head + body[:-5])
        async with asyncio.timeout(10):
            while not server.services.drain.active:
                await asyncio.sleep(0.01)
        stopping = draining(server)
        async with asyncio.timeout(10):
            while not server.services.drain.stopping:
                await asyncio.sleep(0.01)
        writer.write(body[-5:])
        status, _, answer = await read(reader)
        assert (status, text_of(json.loads(answer))) == (200, "here")
        await stopping
        writer.close()


async def test_after_the_stop_a_kept_connection_is_answered_once_more_and_closed(dsn):
    workshop = Workshop()
    async with serve(dsn, workshop) as server:
        client = await McpClient.authorized(server)
        reader, writer = await connect(server)
        writer.write(b"".join(request(client, client.message("tools/list"))))
        assert (await read(reader))[0] == 200
        call = asyncio.create_task(client.call("wait"))
        await happens(workshop.started)
        stopping = draining(server)
        async with asyncio.timeout(10):
            while not server.services.drain.stopping:
                await asyncio.sleep(0.01)
        writer.write(b"".join(request(client, client.message("tools/list"))))
        status, head, _ = await read(reader)
        assert (status, "connection: close" in head) == (200, True)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        workshop.release.set()
        assert text_of((await call).json()) == "waited"
        await stopping
        writer.close()


async def test_a_call_given_up_by_the_stop_is_no_failure_of_the_server(dsn):
    workshop = Workshop()
    async with serve(dsn, workshop) as server:
        client = await McpClient.authorized(server)
        call = asyncio.create_task(client.call("wait"))
        await happens(workshop.started)
        hurry = asyncio.Event()
        stopping = draining(server, hurry)
        hurry.set()
        answer = await call
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        await stopping


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
async def test_a_call_whose_client_went_is_in_the_log(dsn, modern, caplog):
    caplog.set_level("INFO")
    workshop = Workshop()
    async with serve(dsn, workshop) as server:
        client = await client_of(server, modern)
        _, writer = await connect(server)
        writer.write(b"".join(request(client, client.message("tools/call", {"name": "wait"}))))
        await happens(workshop.started)
        writer.close()
        await asyncio.sleep(0.1)  # Until the server has seen it.
        async with asyncio.timeout(10):
            while modern and server.services.drain.active:
                await asyncio.sleep(0.01)
            workshop.release.set()
            while "POST /mcp 499" not in caplog.text:
                await asyncio.sleep(0.01)
    assert caplog.text.count("POST /mcp 499") == 1


async def test_clients_that_go_while_they_are_looked_up_cost_no_connection(dsn):
    async with serve(dsn, Workshop()) as server:
        client = await McpClient.authorized(server)
        assert (await client.call("quick")).status_code == 200
        async with server.db.transaction() as lock:
            await lock.execute("LOCK oauth_access_tokens IN ACCESS EXCLUSIVE MODE")
            parts = request(client, client.message("tools/list"))
            writers = [(await connect(server))[1] for _ in range(5)]
            for writer in writers:
                writer.write(b"".join(parts))
            async with asyncio.timeout(5):
                while server.services.drain.active < len(writers):
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)  # Until they ask the database.
            before = backends(dsn)
            for writer in writers:
                writer.close()
            await asyncio.sleep(0.1)  # Until the server has seen it.
        assert (await client.call("quick")).status_code == 200
        assert before <= backends(dsn)


async def test_a_stream_to_a_client_that_knows_no_chunks_ends_with_the_connection(dsn):
    async with serve(dsn, Workshop()) as server:
        client = (await McpClient.authorized(server)).in_era(modern=False)
        reader, writer = await connect(server)
        stream = {"Accept": "text/event-stream", "Connection": "keep-alive"}
        parts = request(client, client.message("ping"), version="1.0", **stream)
        writer.write(b"".join(parts))
        async with asyncio.timeout(5):
            answer = await reader.read()
        assert b"event: message" in answer
        writer.close()

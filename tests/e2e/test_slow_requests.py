"""Requests that do not come to an end: nobody may hold a connection or a place for long."""

import asyncio
from urllib.parse import urlsplit

import pytest
from serving import serving

HEADS = {
    "body": "Content-Length: 1000\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\ntoken=",
    "body in pieces": "Transfer-Encoding: chunked\r\n\r\n5\r\ntoken\r\n",
    "head": "X-Never: en",
}


@pytest.mark.proves("TR-10")
@pytest.mark.parametrize("path", ["/token", "/revoke", "/login", "/mcp"])
@pytest.mark.parametrize("what", HEADS)
async def test_whoever_does_not_send_on_is_hung_up_on(dsn, path, what):
    async with serving(dsn) as server:
        front = server.http_server.request_callback
        assert front.bodies.seconds == 10
        assert front.heads.seconds == 60
        front.bodies.seconds = front.heads.seconds = 0.2
        parts = urlsplit(server.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{HEADS[what]}".encode())
        async with asyncio.timeout(5):
            await reader.read()
        writer.close()
        async with asyncio.timeout(5):
            while server.services.drain.active:
                await asyncio.sleep(0.01)
        async with server.http() as http:
            assert (await http.get("/healthz")).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/mcp"])
async def test_a_kept_connection_outlives_the_time_of_the_bodies_before(dsn, path):
    request = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx".encode()
    async with serving(dsn) as server:
        server.http_server.request_callback.bodies.seconds = 0.1
        parts = urlsplit(server.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        for _ in range(2):
            writer.write(request)
            async with asyncio.timeout(5):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 4")
                await reader.readuntil(b"}")
            await asyncio.sleep(0.2)
        writer.close()


@pytest.mark.parametrize(
    "sent", [b"", b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"]
)
async def test_a_connection_that_was_closed_is_forgotten_at_once(dsn, sent):
    async with serving(dsn) as server:
        front = server.http_server.request_callback
        parts = urlsplit(server.url)
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(sent)
        async with asyncio.timeout(5):
            while not (front.bodies if sent else front.heads)._ends:
                await asyncio.sleep(0.01)
            writer.close()
            while front.bodies._ends or front.heads._ends:
                await asyncio.sleep(0.01)

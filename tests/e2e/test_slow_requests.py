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
        limits = server.http_server.conn_params
        assert limits.body_timeout == 10
        assert limits.header_timeout == 60
        limits.body_timeout = limits.header_timeout = 0.2
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

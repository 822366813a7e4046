"""A refusal leaves the connection usable, or says that it does not.

Clients keep connections. One that is closed without a word takes the next request with it, and the
first thing that every client is answered is a refusal: the 401 that tells it where to log in.
"""

import asyncio
import re
from urllib.parse import urlsplit

import pytest
from serving import serving

LENGTH = 50_000
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
REFUSED = {
    "no token": (b"POST /mcp", b"", 401),
    "no such method, no body": (b"GET /mcp", b"", 405),
    "nothing there": (b"GET /nothing", b"", 404),
    "nothing to post to": (b"POST /nothing", b"", 404),
    "no such host": (b"POST /token", b"Host: evil.example\r\n", 421),
    "a compressed form": (b"POST /token", b"Content-Encoding: gzip\r\n", 415),
}


async def answer(reader):
    """Read one answer and return its status and its head."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: ([0-9]+)", head)
    await reader.readexactly(int(length[1]))
    return int(head.split()[1]), head.lower()


def request(start, headers, *, length):
    host = b"" if b"Host:" in headers else b"Host: localhost\r\n"
    size = b"Content-Length: %d\r\n" % length if start.startswith(b"POST") else b""
    kind = b"Content-Type: application/json\r\n"
    return start + b" HTTP/1.1\r\n" + host + kind + size + headers + b"\r\n"


@pytest.mark.parametrize("case", REFUSED)
async def test_after_a_refusal_the_connection_takes_the_next_request(dsn, case):
    start, headers, status = REFUSED[case]
    async with serving(dsn) as server:
        parts = urlsplit(server.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        async with asyncio.timeout(10):
            writer.write(request(start, headers, length=LENGTH))
            if start.startswith(b"POST"):
                writer.write(b"x" * LENGTH)
            assert (await answer(reader))[0] == status
            writer.write(HEALTH)
            assert (await answer(reader))[0] == 200
        writer.close()


async def test_a_body_that_is_too_large_to_wait_for_ends_the_connection_openly(dsn):
    async with serving(dsn) as server:
        parts = urlsplit(server.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        async with asyncio.timeout(10):
            writer.write(request(b"POST /token", b"", length=10_000_000))
            status, head = await answer(reader)
            assert status == 413
            assert b"connection: close" in head
            assert await reader.read() == b""
        writer.close()

"""Requests that no HTTP library would send."""

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What came back: ``status`` is 0 if the server hung up without a word."""

    status: int
    headers: tuple[str, ...]
    body: bytes


async def send(url: str, request: bytes) -> Answer:
    """Send these bytes and read until the server hangs up or has sent one whole answer."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(5):
            return await _read(reader)
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Answer:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as hang_up:
        if hang_up.partial:
            raise
        return Answer(0, (), b"")
    start, *headers = head.decode("latin-1").rstrip().split("\r\n")
    lengths = [line for line in headers if line.lower().startswith("content-length:")]
    body = await reader.readexactly(int(lengths[0].partition(":")[2])) if lengths else b""
    return Answer(int(start.split()[1]), tuple(headers), body)

"""When the server listens to a connection."""

import asyncio
import contextlib
import socket

from mcpserve.serving import MOST_AHEAD, Stream

CHUNK = 64 * 1024
"""Bytes that are read at once."""


@contextlib.contextmanager
def connected():
    """Yield a stream and the other side of its connection."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    stream = Stream(ours)
    with contextlib.closing(stream), theirs:
        yield stream, theirs


async def read_head(stream, theirs):
    """Read a head that comes later than it is waited for, as on every kept connection."""
    head = asyncio.ensure_future(stream.read_until_regex(b"\n\n", max_bytes=MOST_AHEAD))
    await asyncio.sleep(0)
    theirs.send(b"head\n\nbody")
    assert await head == b"head\n\n"
    stream.set_close_callback(lambda: None)


async def test_a_hang_up_is_noticed_while_a_body_waits():
    with connected() as (stream, theirs):
        await read_head(stream, theirs)
        theirs.close()
        async with asyncio.timeout(5):
            while not stream.closed():
                await asyncio.sleep(0)


async def test_of_what_nobody_reads_only_a_little_is_taken_in():
    with connected() as (stream, theirs):
        await read_head(stream, theirs)
        with contextlib.suppress(BlockingIOError):
            for _ in range(200):
                theirs.send(bytes(CHUNK))
                for _ in range(10):
                    await asyncio.sleep(0)
        assert MOST_AHEAD <= stream._read_buffer_size <= MOST_AHEAD + CHUNK


async def test_what_was_not_taken_in_at_once_is_read_later():
    with connected() as (stream, theirs):
        await read_head(stream, theirs)
        body = b"body" + bytes(10 * CHUNK)
        sent = asyncio.get_running_loop().sock_sendall(theirs, body[4:])
        sending = asyncio.ensure_future(sent)
        await asyncio.sleep(0.05)
        assert await stream.read_bytes(len(body)) == body
        await sending

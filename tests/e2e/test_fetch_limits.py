"""A fetch ends when the answer grows too large or takes too long."""

import asyncio
import time
from functools import partial
from ipaddress import ip_address

import pytest
from tls import Authority, Names, saying, wire

from mcpserve.errors import FetchError
from mcpserve.fetch import Fetcher

URL = "https://client.example/oauth.json"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LIMIT = 5120
NO_ANSWER = r"^not an HTTP answer of at most 5120 bytes$|^no answer: "


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def context(authority):
    return authority.context("client.example")


@pytest.fixture
def fetcher(authority):
    """A fetcher that may connect to loopback only and trusts one authority only."""
    return partial(Fetcher, is_allowed=ip_address("127.0.0.1").__eq__, ca_certs=authority.ca_certs)


def sized(body, *, status=b"200 OK", length):
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, length) + body


def dripping(*parts, again):
    """Say something, and then a little more every now and then, for ever."""

    async def respond(stream):
        for part in parts:
            await stream.write(part)
        while True:
            await asyncio.sleep(0.02)
            await stream.write(again)

    return respond


def flooding(*parts, again):
    """Say something, and then as much more as is taken, for ever."""

    async def respond(stream):
        for part in parts:
            await stream.write(part)
        while True:
            await stream.write(again)

    return respond


async def never(stream):
    await stream.read_until_close()


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"400\r\n" + b" " * 0x400 + b"\r\n"

TOO_LARGE = {
    "by one byte": saying(sized(b" " * (LIMIT + 1), length=LIMIT + 1)),
    "by one byte, chunked": saying(CHUNKED + CHUNK * 5 + b"1\r\n \r\n0\r\n\r\n"),
    "by one byte, to the end": saying(HEAD + b"\r\n" + b" " * (LIMIT + 1)),
    "it says": saying(sized(b"{}", length=10**12)),
    "chunks for ever": flooding(CHUNKED, again=CHUNK * 64),
    "one chunk, it says": flooding(CHUNKED, b"ffffffffff\r\n", again=b" " * 65536),
    "chunks of one byte": flooding(CHUNKED, again=b"1\r\n \r\n" * 4096),
    "answers before the answer": saying(
        b"HTTP/1.1 100 Continue\r\n\r\n" * 250 + sized(b"{}", length=2)
    ),
    "until the end, for ever": flooding(HEAD + b"\r\n", again=b" " * 65536),
    "a header for ever": flooding(b"HTTP/1.1 200 OK\r\nX: ", again=b"x" * 65536),
    "headers for ever": flooding(b"HTTP/1.1 200 OK\r\n", again=b"X: y\r\n" * 4096),
    "a redirect": flooding(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", again=b" " * 65536),
}


@pytest.mark.proves("CM-03")
@pytest.mark.parametrize("respond", TOO_LARGE.values(), ids=TOO_LARGE)
async def test_reading_ends_where_the_answer_grows_too_large(fetcher, context, respond):
    async with wire(respond, context) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port), timeout=5)
        with pytest.raises(FetchError, match=NO_ANSWER):
            await client.get_json(URL, max_bytes=LIMIT)


SLOW = {
    "silent": never,
    "the status, letter by letter": dripping(b"HTTP/1.1 ", again=b"2"),
    "headers, line by line": dripping(b"HTTP/1.1 200 OK\r\n", again=b"X: y\r\n"),
    "no body": dripping(sized(b"", length=100), again=b""),
    "a body, byte by byte": dripping(sized(b"{", length=1000), again=b" "),
    "chunks, byte by byte": dripping(CHUNKED, again=b"1\r\n \r\n"),
    "a chunk, byte by byte": dripping(CHUNKED, b"400\r\n", again=b" "),
    "until the end, byte by byte": dripping(HEAD + b"\r\n", again=b" "),
    "the wrong status, byte by byte": dripping(
        sized(b"", status=b"404 Not Found", length=1000), again=b" "
    ),
}


async def ends_in_time(client, *, limit=0.3):
    """Check that a fetch uses up its time, and no more."""
    start = time.monotonic()
    with pytest.raises(FetchError, match=f"^no complete answer within {limit} s$"):
        await client.get_json(URL, max_bytes=LIMIT)
    assert limit * 0.9 <= time.monotonic() - start < limit + 2


@pytest.mark.proves("CM-03")
@pytest.mark.parametrize("respond", SLOW.values(), ids=SLOW)
async def test_a_slow_answer_ends_at_the_limit(fetcher, context, respond):
    async with wire(respond, context) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port), timeout=0.3)
        await ends_in_time(client)


async def test_a_server_that_does_not_speak_tls_ends_at_the_limit(fetcher):
    async def respond(stream):
        raise AssertionError("no request is sent in the clear")

    async with wire(respond) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port), timeout=0.3)
        await ends_in_time(client)
    assert (server.connections, server.requests) == (1, [])


async def test_a_slow_resolver_ends_at_the_limit(fetcher):
    class Slow(Names):
        async def resolve(self, *_):
            await asyncio.Event().wait()

    await ends_in_time(fetcher(resolver=Slow(), timeout=0.3))


async def test_slowness_adds_up(fetcher, context):
    class Slow(Names):
        async def resolve(self, *question):
            await asyncio.sleep(0.2)
            return await super().resolve(*question)

    async def respond(stream):
        await asyncio.sleep(0.2)
        await stream.write(sized(b"{}", length=2))

    async with wire(respond, context) as server:
        client = fetcher(resolver=Slow(["127.0.0.1"], port=server.port), timeout=0.3)
        await ends_in_time(client)

"""A document is fetched over TLS from the address that was checked, and nothing else is asked."""

import asyncio
import gc
import socket
import threading
from datetime import timedelta
from functools import partial
from ipaddress import ip_address

import pytest
from tls import Authority, Names, https, saying, wire
from tornado.web import Application, RequestHandler

from mcpserve import fetch
from mcpserve.errors import FetchError
from mcpserve.fetch import Fetched, Fetcher, ThreadResolver

LOOPBACK = ip_address("127.0.0.1")
DOCUMENT = b'{"client_id": "https://client.example/oauth.json"}'
URL = "https://client.example/oauth.json"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def fetcher(authority):
    """A fetcher that may connect to loopback only and trusts one authority only."""
    return partial(Fetcher, is_allowed=LOOPBACK.__eq__, ca_certs=authority.ca_certs, timeout=2)


def response(body=DOCUMENT, *headers, status="200 OK", content_type="application/json"):
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def test_a_document_is_fetched_with_its_lifetime(fetcher, authority):
    answer = response(DOCUMENT, "Cache-Control: max-age=300", "Age: 10")
    async with wire(saying(answer), authority.context("client.example")) as server:
        names = Names(["127.0.0.1"], port=server.port)
        fetched = await fetcher(resolver=names).get_json(URL)
    assert fetched == Fetched(DOCUMENT, timedelta(seconds=290))
    assert names.asked == ["client.example"]


@pytest.mark.proves("CM-03")
async def test_the_request_says_nothing_about_us(fetcher, authority):
    answer = response(DOCUMENT, "Set-Cookie: a=b; Domain=client.example; Path=/")
    async with wire(saying(answer), authority.context("client.example")) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port))
        await client.get_json("https://client.example:8443/a/../b%20?c=@d")
        await client.get_json("https://client.example?c")
    assert [request.split(b"\r\n") for request in server.requests] == [
        [
            b"GET " + target + b" HTTP/1.1",
            b"Host: " + host,
            b"User-Agent: mcpserve",
            b"Accept: application/json",
            b"Accept-Encoding: identity",
            b"Connection: close",
            b"",
            b"",
        ]
        for target, host in [
            (b"/a/../b%20?c=@d", b"client.example:8443"),
            (b"/?c", b"client.example"),
        ]
    ]


async def test_a_tornado_application_is_fetched_from(fetcher, authority):
    class Document(RequestHandler):
        def get(self):
            self.write({"host": self.request.host, "protocol": self.request.protocol})

    context = authority.context("client.example")
    async with https(Application([("/oauth.json", Document)]), context) as port:
        fetched = await fetcher(resolver=Names(["127.0.0.1"], port=port)).get_json(URL)
    assert fetched == Fetched(b'{"host": "client.example", "protocol": "https"}', None)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}garbage",
        b"HTTP/1.1 103 Early\r\nLink: <x>\r\n\r\n" + response(b"{}"),
        response(b"{}", content_type="application/json; charset=utf-8"),
        response(b"{}", content_type="Application/JSON;x=y"),
        response(b"{}", content_type="application/jwk-set+json"),
        response(b"{}", content_type="application/vnd.a.b-c+json ; charset=utf-8"),
    ],
)
async def test_every_kind_of_answer_in_json_is_read(fetcher, authority, answer):
    async with wire(saying(answer), authority.context("client.example")) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port))
        assert await client.get_json(URL) == Fetched(b"{}", None)


async def test_a_body_of_just_the_limit_is_read(fetcher, authority):
    async with wire(saying(response(b"1" * 5120)), authority.context("client.example")) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port))
        assert await client.get_json(URL, max_bytes=5120) == Fetched(b"1" * 5120, None)


async def test_an_address_in_the_url_needs_a_certificate_for_it(fetcher, authority):
    names = Names(["10.0.0.1"])
    async with wire(saying(response()), authority.context(LOOPBACK)) as server:
        url = f"https://127.0.0.1:{server.port}/"
        assert (await fetcher(resolver=names).get_json(url)).body == DOCUMENT
    assert names.asked == []


@pytest.mark.proves("CM-10")
async def test_the_name_that_is_asked_for_is_the_name_in_the_url(fetcher, authority):
    context, asked = authority.context("client.example"), []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with wire(saying(response()), context) as server:
        await fetcher(resolver=Names(["127.0.0.1"], port=server.port)).get_json(URL)
    assert asked == ["client.example"]


@pytest.mark.proves("CM-10")
async def test_the_host_is_resolved_once_and_the_connection_goes_there(fetcher, authority):
    context = authority.context("client.example")
    async with wire(saying(response()), context) as good, wire(saying(response()), context) as trap:

        class Rebinding(Names):
            async def resolve(self, host, port, family=socket.AF_UNSPEC):
                (found,) = await super().resolve(host, port, family)
                port = good.port if len(self.asked) == 1 else trap.port
                return [(found[0], (found[1][0], port))]

        names = Rebinding(["127.0.0.1"])
        await fetcher(resolver=names).get_json(URL)
    assert (names.asked, good.connections, trap.connections) == (["client.example"], 1, 0)


@pytest.mark.proves("CM-10")
@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1", "10.0.0.1"],
        ["10.0.0.1", "127.0.0.1"],
        ["127.0.0.1", "127.0.0.1", "::1"],
        ["127.0.0.1", "::ffff:127.0.0.1"],
        ["127.0.0.1", "localhost"],
    ],
)
async def test_no_connection_is_made_when_one_address_is_refused(fetcher, authority, addresses):
    async with wire(saying(response()), authority.context("client.example")) as server:
        with pytest.raises(FetchError, match=r"not allowed|not appear to be"):
            await fetcher(resolver=Names(addresses, port=server.port)).get_json(URL)
    assert server.connections == 0


@pytest.mark.proves("CM-10")
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"]
)
async def test_by_default_nothing_connects_to_loopback(authority, host):
    client = Fetcher(ca_certs=authority.ca_certs)
    async with wire(saying(response()), authority.context("localhost", LOOPBACK)) as server:
        with pytest.raises(FetchError, match=r"not allowed|neither a name nor an address"):
            await client.get_json(f"https://{host}:{server.port}/")
    client.close()
    assert server.connections == 0


@pytest.mark.proves("CM-10")
async def test_a_proxy_in_the_environment_is_not_used(fetcher, authority, monkeypatch):
    async with (
        wire(saying(response()), authority.context("client.example")) as server,
        wire(saying(response())) as proxy,
    ):
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port))
        assert (await client.get_json(URL)).body == DOCUMENT
    assert proxy.connections == 0


async def test_fetches_run_side_by_side(fetcher, authority):
    together = asyncio.Barrier(12)

    async def respond(stream):
        await together.wait()
        await stream.write(response())

    async with wire(respond, authority.context("client.example")) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port))
        fetched = await asyncio.gather(*(client.get_json(URL) for _ in range(12)))
    assert [each.body for each in fetched] == [DOCUMENT] * 12


async def test_a_cancelled_fetch_hangs_up_at_once(fetcher, authority):
    asked, hung_up = asyncio.Event(), asyncio.Event()

    async def respond(stream):
        stream.set_close_callback(hung_up.set)
        asked.set()
        await hung_up.wait()

    async with wire(respond, authority.context("client.example")) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port), timeout=60)
        task = asyncio.create_task(client.get_json(URL))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(hung_up.wait(), 2)
    gc.collect()  # What was left open would warn now, and warnings are errors.


async def test_a_fetcher_serves_more_than_one_loop(fetcher, authority):
    async def in_a_loop(client):
        return await client.get_json("https://127.0.0.1:1/")

    client = fetcher(resolver=Names(["127.0.0.1"]))
    for _ in range(2):
        with pytest.raises(FetchError, match="refused"):
            await asyncio.to_thread(asyncio.run, in_a_loop(client))


async def test_slow_lookups_wait_in_threads_of_their_own_and_not_beyond_the_limit(
    authority, monkeypatch
):
    answering, asked = threading.Event(), []

    def getaddrinfo(host, *_):
        asked.append(host)
        answering.wait(5)
        return []

    monkeypatch.setattr(fetch.socket, "getaddrinfo", getaddrinfo)
    client = Fetcher(ca_certs=authority.ca_certs, timeout=0.1)
    fetches = [client.get_json(f"https://a{number}.example/") for number in range(12)]
    try:
        for failure in await asyncio.gather(*fetches, return_exceptions=True):
            assert isinstance(failure, FetchError)
            assert "within 0.1 s" in str(failure)
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 1) == "free"
    finally:
        answering.set()
        client.close()
    assert len(asked) == 4


async def test_a_closed_fetcher_fails_as_any_other(authority):
    client = Fetcher(ca_certs=authority.ca_certs)
    client.close()
    with pytest.raises(FetchError, match="shutdown"):
        await client.get_json(URL)


async def test_the_resolver_of_the_system_finds_loopback():
    resolver = ThreadResolver()
    found = await resolver.resolve("localhost", 443)
    resolver.close()
    assert {address[0] for _, address in found} <= {"127.0.0.1", "::1"}
    assert found

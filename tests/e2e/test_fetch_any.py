"""``Fetcher.get``: what plugins use. It returns any answer, and goes nowhere else."""

from ipaddress import ip_address

import pytest
from tls import Authority, Names, saying, wire

from mcpserve.fetch import Fetcher, FetchError, NoAddress

LOOPBACK = ip_address("127.0.0.1")
MOVED = b"HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Length: 4\r\n\r\nhere"


def fetcher(*addresses, port=80, **settings):
    names = Names(list(addresses), port=port)
    settings = {"is_allowed": LOOPBACK.__eq__, "schemes": ("http", "https")} | settings
    return Fetcher(resolver=names, **settings)


async def test_an_answer_of_any_status_is_returned_and_a_redirect_not_followed():
    async with wire(saying(MOVED)) as server:
        client = fetcher("127.0.0.1", port=server.port)
        response = await client.get("http://site.example/old", max_bytes=100)
    assert (response.status, response.body) == (302, b"here")
    assert response.headers["location"] == "/new"
    assert len(server.requests) == 1


async def test_the_scheme_of_the_url_decides_about_tls(tmp_path):
    authority = Authority(tmp_path)
    async with wire(saying(MOVED), authority.context("site.example")) as server:
        client = fetcher("127.0.0.1", port=server.port, ca_certs=authority.ca_certs)
        response = await client.get("https://site.example/", max_bytes=100)
        assert response.status == 302
        with pytest.raises(FetchError):
            await client.get("http://site.example/", max_bytes=100)


async def test_headers_are_sent_instead_of_the_usual_ones():
    async with wire(saying(MOVED)) as server:
        client = fetcher("127.0.0.1", port=server.port)
        headers = {"accept": "text/html", "X-More": "1"}
        await client.get("http://site.example/", max_bytes=100, headers=headers)
    assert server.requests[0].split(b"\r\n")[1:-2] == [
        b"Host: site.example",
        b"User-Agent: mcpserve",
        b"Accept: text/html",
        b"Accept-Encoding: identity",
        b"Connection: close",
        b"X-More: 1",
    ]


async def test_no_scheme_is_taken_but_those_that_were_asked_for():
    async with wire(saying(MOVED)) as server:
        client = fetcher("127.0.0.1", port=server.port, schemes=("https",))
        for url in ("http://site.example/", "ftp://site.example/", "HTTP://site.example/"):
            with pytest.raises(FetchError, match="no URL of https,"):
                await client.get(url, max_bytes=100)
    assert server.connections == 0


@pytest.mark.parametrize("addresses", [["127.0.0.2"], ["127.0.0.1", "10.0.0.1"], []])
async def test_a_host_without_an_address_that_is_allowed_is_told_apart(addresses):
    async with wire(saying(MOVED)) as server:
        with pytest.raises(NoAddress):
            await fetcher(*addresses, port=server.port).get("http://a.example/", max_bytes=100)
    assert server.connections == 0


async def test_an_unknown_name_has_no_address():
    class Unknown(Names):
        async def resolve(self, *_):
            raise OSError(-2, "Name or service not known")

    with pytest.raises(NoAddress, match="not known"):
        await Fetcher(resolver=Unknown()).get("https://a.example/", max_bytes=100)


async def test_what_goes_wrong_at_an_allowed_address_is_something_else():
    async with wire(saying()) as server:
        pass
    with pytest.raises(FetchError) as caught:
        await fetcher("127.0.0.1", port=server.port).get("http://a.example/", max_bytes=100)
    assert not isinstance(caught.value, NoAddress)

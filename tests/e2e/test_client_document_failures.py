"""A document that cannot be had or used: one page for every reason, and nothing is kept of it."""

import logging

import pytest
from document_host import (
    CALLBACK,
    CHATGPT,
    CLIENT,
    PUBLISHED,
    clients,
    fetcher,
    forget_freshness,
    publishing,
)
from serving import Flow, serving
from tls import Authority, wire

from mcpserve.db import Database

UNREACHABLE = "This application cannot be reached"
GOOD = PUBLISHED[CLIENT]
KEY = {"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "kid": "1"}
SIGNING = GOOD | {"token_endpoint_auth_method": "private_key_jwt"}
JWKS_URI = "https://client.example/jwks.json"
BAD = {
    "not JSON": [
        b"{",
        b'{"client_id": NaN}',
        b"[" * 30000,
        b"\xef\xbb\xbf{}",
        b"1" * 5000,
    ],
    "not UTF-8": [b'{"client_name": "\xff"}', '{"client_id": 1}'.encode("utf-16-le") + b"\xff"],
    "not a JSON object": [[GOOD], None, "text", 1],
    "client_id is not the URL": [
        {"redirect_uris": [CALLBACK]},
        GOOD | {"client_id": "https://client.example/other.json"},
        GOOD | {"client_id": ["{url}"]},
    ],
    "it publishes a secret": [
        GOOD | {"client_secret": "hush"},
        GOOD | {"client_secret": None},
        GOOD | {"client_secret_expires_at": 0},
    ],
    "1 to 20 redirect_uris": [
        {"client_id": CLIENT},
        GOOD | {"redirect_uris": []},
        GOOD | {"redirect_uris": [CALLBACK] * 21},
    ],
    "redirect_uris is not a list": [
        GOOD | {"redirect_uris": CALLBACK},
        GOOD | {"redirect_uris": [CALLBACK, 1]},
    ],
    "redirect_uris: 'http://client.example/callback' must be https": [
        GOOD | {"redirect_uris": [CALLBACK, "http://client.example/callback"]},
    ],
    "redirect_uris: 'javascript:alert(1)' must be": [
        GOOD | {"redirect_uris": ["javascript:alert(1)"]},
    ],
    "must be one of a preset": [
        GOOD | {"redirect_uris": ["com.example.client:/callback"]},
        GOOD | {"redirect_uris": ["cursor://client.example/callback"]},
        GOOD | {"redirect_uris": ["HTTPS://client.example/callback"]},
    ],
    "it authenticates with a secret": [
        GOOD | {"token_endpoint_auth_method": "client_secret_basic"},
        GOOD | {"token_endpoint_auth_method": "client_secret_jwt"},
        GOOD
        | {
            "token_endpoint_auth_method": "client_secret_post",
            "token_endpoint_auth_methods_supported": ["none"],
        },
    ],
    "it authenticates with none of": [
        GOOD | {"token_endpoint_auth_method": "tls_client_auth"},
        GOOD | {"token_endpoint_auth_methods_supported": []},
        GOOD | {"token_endpoint_auth_methods_supported": ["client_secret_post", None, ["none"]]},
    ],
    "needs one of jwks and jwks_uri": [
        SIGNING,
        SIGNING | {"jwks": {"keys": [KEY]}, "jwks_uri": JWKS_URI},
        GOOD | {"token_endpoint_auth_methods_supported": ["none", "private_key_jwt"]},
    ],
    "jwks_uri is not a plain https URL": [
        SIGNING | {"jwks_uri": "http://client.example/jwks.json"},
        SIGNING | {"jwks_uri": "http://127.0.0.1/jwks.json"},
        SIGNING | {"jwks_uri": "https://client.example/jwks.json#keys"},
        SIGNING | {"jwks_uri": "https://me@client.example/jwks.json"},
        SIGNING | {"jwks_uri": ""},
    ],
    "jwks has no public key that may sign, or private ones": [
        GOOD | {"jwks": {"keys": [KEY | {"d": "d"}]}},
        GOOD | {"jwks": {"keys": [KEY, KEY | {"d": "d"}]}},
        SIGNING | {"jwks": {"keys": [KEY, {"kty": "oct", "k": "k"}]}},
        SIGNING | {"jwks": {"keys": []}},
    ],
    "not a key set": [GOOD | {"jwks": []}, GOOD | {"jwks": {"keys": KEY}}],
    "grant_types does not have": [GOOD | {"grant_types": ["client_credentials"]}],
    "response_types does not have": [GOOD | {"response_types": ["token"]}],
    "grant_types is not a list": [GOOD | {"grant_types": "authorization_code"}],
    "client_name is not text": [GOOD | {"client_name": ["Client"]}],
    "scope is not text": [GOOD | {"scope": ["mcp.tools.call"]}],
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


async def rows(server):
    """Return how many clients and documents are kept."""
    found = await server.db.one(
        """SELECT (SELECT count(*) FROM oauth_documents) AS documents,
                  (SELECT count(*) FROM oauth_clients WHERE origin = 'metadata_document')
                      AS clients,
                  (SELECT count(*) FROM authorization_requests) AS requests"""
    )
    return tuple(found)


@pytest.mark.proves("CM-01", "CM-03", "CM-05", "CM-06", "CM-11", "RU-06")
async def test_every_failure_is_the_same_page_and_nothing_is_kept(dsn, authority, caplog):
    many = {"limits": {"authorize": {"failures": 1000, "window": "1h"}}}
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients() | many, fetcher=publisher.fetcher) as server,
        server.browser() as browser,
    ):

        async def reason(url):
            """Return why the client was not let in, and the page that does not say so."""
            caplog.clear()
            page = await browser.open("/authorize", Flow(server, url).parameters())
            (line,) = [r.message for r in caplog.records if "is not let in" in r.message]
            return line.split(" is not let in: ")[1], (page.status_code, page.text)

        pages = set()
        for number, (expected, document) in enumerate(
            (expected, document) for expected, documents in BAD.items() for document in documents
        ):
            # A URL of its own, because one that failed is left alone for a while.
            url = f"https://client.example/{number}/client.json"
            is_about_itself = isinstance(document, dict) and document.get("client_id") == CLIENT
            publisher.documents[url] = (
                document | {"client_id": url} if is_about_itself else document
            )
            told, page = await reason(url)
            assert expected in told
            pages.add(page)
            assert publisher.requests.pop() == url
        for url, expected in {
            "https://client.example/missing": "status 404",
            "https://other.example/client.json": "hosts does not have other.example",
            "https://client.example:8443/client.json": "hosts does not have client.example:8443",
            "https://client.example/a/%2e%2E/client.json": "dot segments",
            "https://client.example@other.example/client.json": "not a plain https URL",
        }.items():
            told, page = await reason(url)
            assert expected in told
            pages.add(page)
        assert publisher.requests == ["https://client.example/missing"]
        ((status, text),) = pages
        assert (status, UNREACHABLE in text) == (400, True)
        assert await rows(server) == (0, 0, 0)


async def test_a_program_reads_invalid_client(dsn):
    async with serving(dsn, clients()) as server, server.http() as http:
        answer = await http.get(
            "/authorize",
            params=Flow(server, CLIENT).parameters(),
            headers={"Accept": "application/json"},
        )
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client")


@pytest.mark.proves("CM-11")
async def test_a_host_that_is_away_looks_like_one_without_a_document(dsn, authority):
    async def garbage(stream):
        await stream.write(b"SSH-2.0-OpenSSH\r\n")

    async with (
        publishing(authority) as publisher,
        wire(garbage) as plain,
        wire(garbage, authority.context("other.example")) as other,
    ):
        publisher.documents.clear()
        texts = set()
        for mine in (
            publisher.fetcher,
            fetcher(authority, 1),
            fetcher(authority, plain.port),
            fetcher(authority, other.port),
        ):
            async with (
                serving(dsn, clients(), fetcher=mine, with_user=False) as server,
                server.browser() as browser,
            ):
                page = await browser.open("/authorize", Flow(server, CLIENT).parameters())
                texts.add((page.status_code, page.text))
        assert len(texts) == 1
        assert UNREACHABLE in texts.pop()[1]


@pytest.mark.proves("CM-03")
async def test_the_last_good_copy_serves_while_the_host_is_away(dsn, authority, caplog):
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients(), fetcher=publisher.fetcher) as server,
    ):
        flow = Flow(server, CLIENT, redirect_uri=CALLBACK)
        await flow.tokens()
        publisher.status = 503
        await forget_freshness(server.db)
        with caplog.at_level(logging.WARNING):
            await flow.tokens()
        assert f"{CLIENT}: the last good copy serves: status 503" in caplog.text
        # A document that is bad is no better than none.
        publisher.status = 200
        publisher.documents[CLIENT] = {"client_id": CLIENT}
        await flow.tokens()
        # The host was asked once more, and then left alone for a while.
        assert publisher.requests == [CLIENT] * 2


async def test_a_host_that_failed_is_left_alone_for_a_while(dsn, authority):
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients(), fetcher=publisher.fetcher) as server,
        server.browser() as browser,
    ):
        publisher.status = 500
        for _ in range(3):
            page = await browser.open("/authorize", Flow(server, CLIENT).parameters())
            assert UNREACHABLE in page.text
        assert publisher.requests == [CLIENT]


async def test_the_copy_of_a_preset_serves_when_there_never_was_a_good_one(dsn, caplog):
    async with serving(dsn) as server:
        flow = Flow(server, CHATGPT, redirect_uri=PUBLISHED[CHATGPT]["redirect_uris"][0])
        with caplog.at_level(logging.WARNING):
            await flow.tokens()
        assert f"{CHATGPT}: the copy of the preset chatgpt serves" in caplog.text
        read = "SELECT details FROM auth_events WHERE event = 'client.document_read'"
        assert (await server.db.one(read)).details["pinned"] is True
        assert await rows(server) == (0, 1, 1)


async def test_the_last_good_copy_is_better_than_that_of_a_preset(dsn, authority):
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients(), fetcher=publisher.fetcher) as server,
    ):
        publisher.documents[CHATGPT] |= {"redirect_uris": [CALLBACK]}
        flow = Flow(server, CHATGPT, redirect_uri=CALLBACK)
        await flow.tokens()
        publisher.status = 503
        await forget_freshness(server.db)
        await flow.tokens()


async def test_a_database_that_does_not_answer_is_a_503(dsn, authority):
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients(), fetcher=publisher.fetcher) as server,
        Database.connect(dsn) as other,
        server.http() as http,
    ):
        async with other.transaction() as tx:
            await tx.execute("LOCK TABLE oauth_documents IN EXCLUSIVE MODE")
            flow = Flow(server, CLIENT, redirect_uri=CALLBACK)
            page = await http.get("/authorize", params=flow.parameters())
        assert page.status_code == 503
        assert "Retry-After" in page.headers
        page = await http.get("/authorize", params=flow.parameters())
        assert page.status_code == 303

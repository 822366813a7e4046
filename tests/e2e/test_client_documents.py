"""A client whose id is the URL of a document about it connects without being registered."""

import asyncio
import json
import logging
import secrets
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from document_host import (
    CALLBACK,
    CHATGPT,
    CLAUDE,
    CLAUDE_CODE,
    CLIENT,
    PUBLISHED,
    VSCODE,
    clients,
    fetcher,
    forget_freshness,
    publishing,
)
from jwt.algorithms import RSAAlgorithm
from serving import Flow, serving
from tls import Authority, wire

UNREACHABLE = "This application cannot be reached"
UNKNOWN = "This application is not known here"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


async def client_of(server, url):
    return await server.db.row(
        """SELECT preset, refresh_reuse_window, auth_methods, redirect_uris, origin
           FROM oauth_clients WHERE client_id = %(url)s""",
        url=url,
    )


async def count(server, table):
    return (await server.db.one(f"SELECT count(*) AS n FROM {table}")).n


@pytest.mark.proves("CM-03", "CM-06", "DC-11")
@pytest.mark.parametrize(
    ("url", "redirect_uri", "preset"),
    [
        (CHATGPT, "https://chatgpt.com/connector_platform_oauth_redirect", "chatgpt"),
        (CLAUDE, "https://claude.ai/api/mcp/auth_callback", "claude"),
        (CLAUDE_CODE, "http://localhost:49152/callback", "claude-code"),
        (VSCODE, "http://127.0.0.1:50000/", "vscode"),
        (VSCODE, "https://vscode.dev/redirect", "vscode"),
        (CLIENT, CALLBACK, None),
    ],
)
async def test_a_client_connects_with_its_document(dsn, authority, url, redirect_uri, preset):
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients(), fetcher=publisher.fetcher) as server,
    ):
        flow = Flow(server, url, redirect_uri=redirect_uri)
        tokens = await flow.tokens()
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 200
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200
        client = await client_of(server, url)
        assert (client.origin, client.preset) == ("metadata_document", preset)
        # Only the document is fetched, once, and /token fetches nothing.
        assert publisher.requests == [url]


@pytest.mark.proves("CM-06", "CA-14")
async def test_chatgpt_signs_with_the_keys_that_its_document_names(dsn, authority):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = json.loads(RSAAlgorithm.to_jwk(key.public_key())) | {"kid": "1", "use": "sig"}
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients(), fetcher=publisher.fetcher) as server,
    ):
        jwks_uri = PUBLISHED[CHATGPT]["jwks_uri"]
        publisher.documents[jwks_uri] = {"keys": [public]}
        flow = Flow(server, CHATGPT, redirect_uri=PUBLISHED[CHATGPT]["redirect_uris"][0])
        now = int(time.time())
        claims = {
            "iss": CHATGPT,
            "sub": CHATGPT,
            "aud": f"{server.services.server.issuer}/token",
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_hex(),
        }
        answer = await flow.exchange(
            await flow.code(),
            client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            client_assertion=jwt.encode(claims, key, "RS256", headers={"kid": "1"}),
        )
        assert answer.status_code == 200, answer.text
        assert publisher.requests == [CHATGPT, jwks_uri]


@pytest.mark.proves("MD-03", "MD-04")
@pytest.mark.parametrize("enabled", [True, False])
async def test_the_metadata_says_whether_documents_are_read(dsn, authority, enabled, caplog):
    caplog.set_level(logging.INFO)
    settings = clients(metadata_documents={"enabled": enabled, "hosts": ["*"]})
    async with (
        publishing(authority) as publisher,
        serving(dsn, settings, fetcher=publisher.fetcher) as server,
        server.http() as http,
        server.browser() as browser,
    ):
        metadata = (await http.get("/.well-known/oauth-authorization-server")).json()
        assert metadata.get("client_id_metadata_document_supported", False) is enabled
        page = await browser.open("/authorize", Flow(server, CLAUDE).parameters())
        assert (UNKNOWN in page.text) is not enabled
        assert publisher.requests == [CLAUDE] * enabled
        assert (f"are not enabled: '{CLAUDE}'" in caplog.text) is not enabled


@pytest.mark.proves("CM-02")
async def test_a_client_that_an_operator_keeps_is_never_fetched(dsn, authority):
    kept = {"id": CLAUDE, "name": "Kept", "redirect_uris": [CALLBACK]}
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients(configured=[kept]), fetcher=publisher.fetcher) as server,
    ):
        await Flow(server, CLAUDE, redirect_uri=CALLBACK).tokens()
        assert publisher.asked == []


@pytest.mark.proves("CM-02")
async def test_a_disabled_client_is_unknown_and_not_fetched(dsn, authority):
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients(), fetcher=publisher.fetcher) as server,
        server.browser() as browser,
    ):
        flow = Flow(server, CLIENT, redirect_uri=CALLBACK)
        tokens = await flow.tokens()
        await server.db.execute("UPDATE oauth_clients SET disabled_at = clock_timestamp()")
        await forget_freshness(server.db)
        page = await browser.open("/authorize", flow.parameters())
        assert (page.status_code, UNKNOWN in page.text) == (400, True)
        assert (await flow.refresh(tokens["refresh_token"])).json()["error"] == "invalid_client"
        assert publisher.requests == [CLIENT]


@pytest.mark.proves("CM-02")
@pytest.mark.parametrize(("hosts", "connections"), [([], 0), (["client.example"], 1), (["*"], 1)])
async def test_no_packet_goes_to_a_host_that_is_not_listed(dsn, authority, hosts, connections):
    async def respond(stream):
        await stream.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async with wire(respond, authority.context("client.example")) as host:
        mine = fetcher(authority, host.port)
        async with (
            serving(dsn, clients(hosts), fetcher=mine) as server,
            server.browser() as browser,
        ):
            page = await browser.open("/authorize", Flow(server, CLIENT).parameters())
            assert UNREACHABLE in page.text
        assert host.connections == connections
        assert mine.names.asked == ["client.example"] * connections


@pytest.mark.proves("CM-02")
async def test_others_who_publish_on_the_host_of_a_preset_are_not_asked(dsn, authority):
    evil = "https://claude.ai/public/artifacts/evil.json"
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients([]), fetcher=publisher.fetcher) as server,
        server.browser() as browser,
    ):
        publisher.documents[evil] = PUBLISHED[CLIENT] | {"client_id": evil}
        page = await browser.open("/authorize", Flow(server, evil).parameters())
        assert UNREACHABLE in page.text
        assert publisher.requests == []


@pytest.mark.proves("RL-01")
async def test_what_strangers_use_up_keeps_nobody_from_a_pinned_client(dsn, authority):
    limits = {"limits": {"authorize": {"failures": 1, "window": "1h"}}}
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients() | limits, fetcher=publisher.fetcher) as server,
        server.http() as http,
    ):
        for url in (CLIENT, "https://client.example/other"):
            await http.get("/authorize", params=Flow(server, url).parameters())
        claude = Flow(server, CLAUDE, redirect_uri="https://claude.ai/api/mcp/auth_callback")
        assert (await http.get("/authorize", params=claude.parameters())).status_code == 303


@pytest.mark.proves("CM-03")
async def test_twenty_people_at_once_are_one_fetch(dsn, authority):
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients(), fetcher=publisher.fetcher) as server,
        server.http() as http,
    ):
        flow = Flow(server, CLIENT, redirect_uri=CALLBACK)
        pages = await asyncio.gather(
            *(http.get("/authorize", params=flow.parameters()) for _ in range(20))
        )
        assert [page.status_code for page in pages] == [303] * 20
        assert publisher.requests == [CLIENT]
        assert await count(server, "auth_events WHERE event = 'client.document_read'") == 1


@pytest.mark.proves("RL-01")
async def test_one_network_cannot_make_us_fetch_without_end(dsn, authority):
    limits = {"limits": {"authorize": {"failures": 3, "window": "1h"}}}
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients() | limits, fetcher=publisher.fetcher) as server,
        server.http() as http,
    ):
        for number in range(5):
            url = f"https://client.example/{number}"
            publisher.documents[url] = PUBLISHED[CLIENT] | {"client_id": url}
        statuses = []
        for url in [f"https://client.example/{number}" for number in (0, 1, 2, 0, 1, 2, 3, 4, 0)]:
            flow = Flow(server, url, redirect_uri=CALLBACK)
            answer = await http.get("/authorize", params=flow.parameters())
            statuses.append(answer.status_code)
        assert statuses == [303, 303, 303, 303, 303, 303, 429, 429, 303]
        assert len(publisher.requests) == 3


@pytest.mark.proves("CO-01", "CM-09")
@pytest.mark.parametrize(
    ("url", "redirect_uri", "verified", "local"),
    [
        (CLAUDE, "https://claude.ai/api/mcp/auth_callback", True, False),
        (CLAUDE_CODE, "http://localhost:1/callback", True, True),
        (CLIENT, CALLBACK, False, False),
    ],
)
async def test_the_consent_page_names_the_host_and_whether_somebody_vouches(
    dsn, authority, url, redirect_uri, verified, local
):
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients(), fetcher=publisher.fetcher) as server,
        server.browser() as browser,
    ):
        flow = Flow(server, url, redirect_uri=redirect_uri)
        for _ in range(2):  # Nothing is remembered: the same question comes again.
            page = await flow.ask(browser)
            assert page.url.path == "/consent"
            assert f"<dt>Described by</dt><dd><strong>{url.split('/')[2]}</strong>" in page.text
            assert ("not verified" in page.text) is not verified
            assert ("on this computer" in page.text) is local
            await browser.approve()


async def test_a_configured_client_is_shown_without_a_publisher(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        page = await Flow(server).ask(browser)
        assert "Described by" not in page.text
        assert "not verified" not in page.text

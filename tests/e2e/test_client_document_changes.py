"""A document that changes: what was asked under the old one is not answered under the new."""

import asyncio

import pytest
from document_host import CALLBACK, CLIENT, clients, forget_freshness, publishing
from locks import waiting
from serving import PASSWORD, USER, Flow, serving
from tls import Authority

from mcpserve.db import Database
from mcpserve.oauth.store import clients as store

UNKNOWN = "This application is not known here"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


async def count(server, table):
    return (await server.db.one(f"SELECT count(*) AS n FROM {table}")).n


async def test_a_client_that_is_configured_later_is_the_operators(dsn, authority):
    kept = {"id": CLIENT, "name": "Kept", "redirect_uris": ["https://client.example/kept"]}
    async with publishing(authority) as publisher:
        async with serving(dsn, clients(), fetcher=publisher.fetcher) as server:
            await Flow(server, CLIENT, redirect_uri=CALLBACK).tokens()
        async with serving(
            dsn, clients(configured=[kept]), fetcher=publisher.fetcher, with_user=False
        ) as server:
            await forget_freshness(server.db)
            await Flow(server, CLIENT, redirect_uri="https://client.example/kept").tokens()
        assert publisher.requests == [CLIENT]


@pytest.mark.proves("CM-07", "CO-07")
@pytest.mark.parametrize(
    ("change", "answered"),
    [
        ({"client_name": "Another"}, False),
        ({"redirect_uris": [CALLBACK, "https://client.example/more"]}, False),
        ({"client_uri": "https://client.example/about"}, True),
    ],
)
async def test_a_document_that_changes_before_the_person_decides(dsn, authority, change, answered):
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients(), fetcher=publisher.fetcher) as server,
        server.browser() as browser,
    ):
        flow = Flow(server, CLIENT, redirect_uri=CALLBACK)
        await flow.ask(browser)
        await publish_again(publisher, server, flow, change)
        page = await browser.submit(button="approve")
        assert page.is_redirect is answered
        assert ("The application has changed since it asked" in page.text) is not answered
        assert await count(server, "oauth_authorization_codes") == answered


@pytest.mark.proves("CM-07")
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"redirect_uris": [CALLBACK, "https://client.example/more"]}, 400),
        ({"scope": "offline_access"}, 400),
        ({"client_uri": "https://client.example/about"}, 200),
    ],
)
async def test_a_document_that_changes_before_the_code_is_exchanged(dsn, authority, change, status):
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients(), fetcher=publisher.fetcher) as server,
    ):
        flow = Flow(server, CLIENT, redirect_uri=CALLBACK)
        before = await flow.tokens()
        code = await flow.code()
        await publish_again(publisher, server, flow, change)
        answer = await flow.exchange(code)
        assert answer.status_code == status
        assert answer.json().get("error") == (None if status == 200 else "invalid_grant")
        # Nobody stole anything: what the person has already goes on.
        assert (await flow.refresh(before["refresh_token"])).status_code == 200
        assert await count(server, "mcp_sessions WHERE state <> 'active'") == 0


async def publish_again(publisher, server, flow, change):
    """Change the document and let somebody else's authorization read it."""
    publisher.documents[CLIENT] |= change
    await forget_freshness(server.db)
    async with server.browser() as other:
        page = await other.open("/authorize", flow.parameters())
        assert page.url.path == "/login"
    assert publisher.requests == [CLIENT] * 2


async def test_a_change_of_the_document_is_recorded_once(dsn, authority):
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients(), fetcher=publisher.fetcher) as server,
    ):
        flow = Flow(server, CLIENT, redirect_uri=CALLBACK)
        for change in ({}, {"client_uri": "https://x.example"}, {"client_name": "New"}, {}):
            publisher.documents[CLIENT] |= change
            await forget_freshness(server.db)
            async with server.browser() as browser:
                await browser.open("/authorize", flow.parameters())
        events = await server.db.rows(
            "SELECT details FROM auth_events WHERE client_id = %(id)s ORDER BY id", id=CLIENT
        )
        assert [event.details["client_name"] for event in events] == ["Client", "New"]
        assert [event.details["known_before"] for event in events] == [False, True]


async def test_a_person_may_log_in_while_the_document_is_away(dsn, authority):
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients(), fetcher=publisher.fetcher) as server,
        server.browser() as browser,
    ):
        flow = Flow(server, CLIENT, redirect_uri=CALLBACK)
        await browser.open("/authorize", flow.parameters())
        publisher.status = 500
        await forget_freshness(server.db)
        await browser.log_in(USER, PASSWORD)
        answer = await flow.exchange((await browser.approve())["code"])
        assert answer.status_code == 200
        assert publisher.requests == [CLIENT]


@pytest.mark.proves("CM-02", "CO-07")
async def test_an_operator_who_disables_the_client_at_the_same_time_wins(dsn, authority):
    async with (
        publishing(authority) as publisher,
        serving(dsn, clients(), fetcher=publisher.fetcher) as server,
        server.http() as http,
        Database.connect(dsn) as operators,
    ):
        flow = Flow(server, CLIENT, redirect_uri=CALLBACK)
        await http.get("/authorize", params=flow.parameters())
        publisher.documents[CLIENT] |= {"client_name": "Another"}
        await forget_freshness(server.db)
        async with operators.transaction() as tx:
            await store.lock(tx, CLIENT)
            await store.set_disabled(tx, CLIENT, disabled=True)
            request = asyncio.create_task(http.get("/authorize", params=flow.parameters()))
            await waiting(dsn, 1)
        assert UNKNOWN in (await request).text
        assert await count(server, "oauth_clients WHERE disabled_at IS NOT NULL") == 1
        assert await count(server, "auth_events WHERE event = 'client.document_read'") == 1

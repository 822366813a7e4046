"""What changes between the consent page and its answer, or in the very moment of the answer."""

import asyncio

import pytest
from serving import PASSWORD, PUBLIC_CLIENT, USER, Flow, add_user, serving

from mcpserve.oauth import clients, users
from mcpserve.oauth.store import browsers


async def codes(server):
    """Return how many codes there are."""
    return (await server.db.one("SELECT count(*) AS n FROM oauth_authorization_codes")).n


async def decide(browser, value="approve"):
    """Send the form of the consent page."""
    form = browser.fields() | {"decision": value}
    return await browser.http.post("/authorize/decision", data=form)


async def disable_the_client(server):
    await clients.set_disabled(server.db, PUBLIC_CLIENT, disabled=True)


async def delete_the_client(server):
    await server.db.execute("DELETE FROM oauth_clients")


async def remove_the_redirect_uri(server):
    await server.db.execute("UPDATE oauth_clients SET redirect_uris = '{https://other.example/}'")


async def disable_the_user(server):
    await users.set_disabled(server.db, USER, disabled=True)


async def delete_the_user(server):
    await server.db.execute("DELETE FROM users")


@pytest.mark.proves("CO-07")
@pytest.mark.parametrize(
    "change",
    [
        disable_the_client,
        delete_the_client,
        remove_the_redirect_uri,
        disable_the_user,
        delete_the_user,
    ],
)
@pytest.mark.parametrize("value", ["approve", "deny"])
async def test_what_changed_since_the_page_is_looked_at_again(dsn, change, value):
    async with serving(dsn) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        await change(server)
        response = await decide(browser, value)
        assert (response.status_code, "location" in response.headers) == (400, False)
        assert await codes(server) == 0


async def waiters(server):
    """Return once a transaction of the server waits for a lock."""
    async with asyncio.timeout(5):
        while not await server.db.rows(
            """SELECT FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'"""
        ):
            await asyncio.sleep(0.01)


async def log_out_meanwhile(server):
    row = await server.db.one("SELECT id FROM browser_sessions")
    await browsers.log_out(server.db, row.id, digest=b"0" * 32)


async def somebody_else_logs_in_meanwhile(server):
    await server.db.execute(
        "UPDATE browser_sessions SET user_id = (SELECT id FROM users WHERE name = 'bob')"
    )


@pytest.mark.proves("CO-07")
@pytest.mark.parametrize("change", [log_out_meanwhile, somebody_else_logs_in_meanwhile])
async def test_an_approval_is_of_who_is_logged_in_when_it_counts(dsn, change):
    async with serving(dsn) as server, server.browser() as browser:
        await add_user(server.services, "bob", PASSWORD)
        await Flow(server).ask(browser)
        async with server.db.transaction() as tx:
            await tx.execute("SELECT FROM oauth_clients FOR UPDATE")
            answer = asyncio.ensure_future(decide(browser))
            await waiters(server)
            await change(server)
        response = await answer
        assert (response.status_code, "location" in response.headers) == (403, False)
        assert await codes(server) == 0


@pytest.mark.proves("CO-07")
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE oauth_clients SET disabled_at = clock_timestamp()",
        "UPDATE oauth_clients SET redirect_uris = '{https://other.example/}'",
        "UPDATE users SET disabled_at = clock_timestamp()",
    ],
)
async def test_an_approval_waits_for_a_change_that_is_being_made(dsn, change):
    async with serving(dsn) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        async with server.db.transaction() as tx:
            await tx.execute(change)
            answer = asyncio.ensure_future(decide(browser))
            await waiters(server)
        response = await answer
        assert (response.status_code in (400, 403), await codes(server)) == (True, 0)

"""A request that names no scope means what is usual: for the client, then for its person."""

import re

import pytest
from e2e.registering import register
from serving import CALLBACK, PASSWORD, PUBLIC_CLIENT, USER, Flow, add_user, serving

from mcpserve.tools import CALL_SCOPE

LOOPBACK = "http://127.0.0.1:4711/callback"
SCOPES = {"weather.read": "Read the weather", "weather.write": "Make the weather"}
BOTH = {"weather.read", "weather.write"}


def settings(*own, scopes=SCOPES, **more):
    """Settings with scopes, and with one client that has ``own`` ones."""
    client = {"id": PUBLIC_CLIENT, "redirect_uris": [CALLBACK], "scopes": list(own)}
    return {"oauth": {"scopes": scopes, "clients": {"configured": [client]}} | more}


def shown(page):
    """Return the scopes that a consent page asks for."""
    return set(re.findall('<code class="soft">(.*?)</code>', page.text))


async def granted(server, **changes):
    """Return the scopes that a whole flow ends with."""
    return set((await Flow(server).tokens(**changes))["scope"].split())


async def test_a_client_that_is_new_gets_its_own_or_the_default(dsn):
    async with serving(dsn, settings()) as server:
        assert await granted(server) == {CALL_SCOPE}
    async with serving(dsn, settings("weather.read"), with_user=False) as server:
        await server.db.execute("DELETE FROM mcp_sessions")
        assert await granted(server) == {"weather.read"}
        assert await granted(server, scope="weather.write") == {"weather.write"}


async def test_a_registered_client_gets_what_it_registered(dsn):
    async with serving(dsn, settings()) as server:
        client_id = await register(server, LOOPBACK, scope="weather.write offline_access")
        flow = Flow(server, client_id, redirect_uri=LOOPBACK)
        assert set((await flow.tokens())["scope"].split()) == {"weather.write", "offline_access"}


@pytest.mark.parametrize("scope", [None, "", "address phone", "openid profile email", "openid"])
async def test_a_person_is_asked_for_what_they_granted_last(dsn, scope):
    identity = set((scope or "").split()) - {"address", "phone"}
    async with serving(dsn, settings()) as server:
        await granted(server, scope="weather.read")
        await granted(server, scope=" ".join(BOTH))
        async with server.browser() as browser:
            assert shown(await Flow(server).ask(browser, scope=scope)) == BOTH | identity
        assert await granted(server, scope=scope) == BOTH | identity
        assert await granted(server) == BOTH | identity


@pytest.mark.parametrize("scope", ["openid", "openid profile email phone", "email offline_access"])
@pytest.mark.parametrize("own", [(), ("weather.read",), ("openid", "email")])
async def test_a_client_that_asks_who_it_is_out_of_habit_can_still_call_tools(dsn, scope, own):
    usual = set(own) - {"openid", "email"} or {CALL_SCOPE}
    async with serving(dsn, settings(*own)) as server:
        assert await granted(server, scope=scope) == set(scope.split()) - {"phone"} | usual


async def test_who_names_some_access_gets_no_other(dsn):
    async with serving(dsn, settings("weather.read")) as server:
        for scope in ("openid weather.write", "offline_access"):
            assert await granted(server, scope=scope) == set(scope.split())


async def test_what_was_granted_counts_also_when_it_was_revoked(dsn):
    async with serving(dsn, settings()) as server:
        flow = Flow(server)
        tokens = await flow.tokens(scope="weather.read")
        assert (await flow.post("/revoke", token=tokens["refresh_token"])).status_code == 200
        assert await granted(server) == {"weather.read"}


async def test_what_others_granted_or_to_others_does_not_count(dsn):
    async with serving(dsn, settings()) as server:
        await add_user(server.services, "bob", PASSWORD)
        await granted(server, scope="weather.read")
        other = Flow(server, await register(server, LOOPBACK), redirect_uri=LOOPBACK)
        assert (await other.tokens())["scope"] == CALL_SCOPE
        async with server.browser() as browser:
            await browser.open("/authorize", Flow(server).parameters())
            assert shown(await browser.log_in("bob", PASSWORD)) == {CALL_SCOPE}


async def test_a_scope_that_is_gone_is_not_asked_for_again(dsn):
    async with serving(dsn, settings()) as server:
        await granted(server, scope=" ".join(BOTH))
    less = {"weather.read": "Read the weather"}
    async with serving(dsn, settings(scopes=less), with_user=False) as server:
        assert await granted(server) == {"weather.read"}
    async with serving(dsn, settings(scopes={}), with_user=False) as server:
        await server.db.execute("UPDATE mcp_sessions SET scopes = '{gone}'")
        assert await granted(server) == {CALL_SCOPE}


@pytest.mark.proves("CO-06")
async def test_what_the_page_showed_is_what_is_granted(dsn):
    async with serving(dsn, settings()) as server, server.browser() as browser:
        assert shown(await Flow(server).ask(browser)) == {CALL_SCOPE}
        # In another browser the same person grants more, which is usual from now on.
        await granted(server, scope=" ".join(BOTH))
        again = await browser.submit(button="approve")
        assert (again.status_code, again.url.path, shown(again)) == (200, "/consent", BOTH)
        answer = await Flow(server).exchange((await browser.approve())["code"])
        assert set(answer.json()["scope"].split()) == BOTH


@pytest.mark.proves("CO-06")
async def test_a_form_that_does_not_say_what_it_showed_is_shown_again(dsn):
    async with serving(dsn, settings()) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        for token in ("", "x", "ä"):
            page = await browser.submit(button="approve", shown=token)
            assert (page.status_code, page.url.path) == (200, "/consent")
        assert (await server.db.one("SELECT count(*) AS n FROM oauth_authorization_codes")).n == 0
        assert "code" in await browser.approve()


async def test_what_is_shown_to_one_person_is_not_what_another_granted(dsn):
    async with serving(dsn, settings()) as server, server.browser() as browser:
        await add_user(server.services, "bob", PASSWORD)
        await granted(server, scope="weather.read")
        await browser.open("/authorize", Flow(server).parameters())
        assert shown(await browser.log_in(USER, PASSWORD)) == {"weather.read"}
        await browser.submit(1)
        assert shown(await browser.log_in("bob", PASSWORD)) == {CALL_SCOPE}


async def test_automatic_approval_grants_what_is_usual(dsn):
    async with serving(dsn, settings("weather.read", auto_approve=True)) as server:
        async with server.browser() as browser:
            await browser.open("/authorize", Flow(server).parameters())
            answer = browser.answer(await browser.log_in(USER, PASSWORD))
        tokens = await Flow(server).exchange(answer["code"])
        assert tokens.json()["scope"] == "weather.read"

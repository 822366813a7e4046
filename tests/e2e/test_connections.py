"""``/connections``: a person narrows, widens and ends what clients may do."""

import asyncio
import re
from types import ModuleType

import pytest
from e2e.registering import register
from notes import call, listed, notes, withheld
from serving import PASSWORD, PUBLIC_CLIENT, USER, Flow, add_user, serving

from mcpserve import crypto, hookimpl
from mcpserve.oauth import revocation, users

LOOPBACK = "http://127.0.0.1:4711/callback"
WRONG = "wrong battery staple"


async def opened(server, browser, name=USER):
    """Bring a browser to the list, through the login page."""
    page = await browser.open("/connections")
    if page.url.path == "/connections/login":
        page = await browser.log_in(name, PASSWORD)
    assert page.url.path == "/connections"
    return page


async def send(browser, form, path="/connections", **options):
    return await browser.http.post(path, data=form, **options)


def saving(browser, tools, number=0):
    """Return the form of a connection that ticks these tools."""
    return browser.fields(number) | {"action": "save", "tool": tools}


async def test_the_person_sees_what_they_allow_whom(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        client_id = await register(server, LOOPBACK, client_name="Agent")
        pretending = (
            "UPDATE oauth_clients SET client_name = '<i>Agent</i>\u202e' WHERE client_id = %(id)s"
        )
        await server.db.execute(pretending, id=client_id)
        await Flow(server, client_id, redirect_uri=LOOPBACK).tokens()
        await Flow(server).tokens(scope="mcp.tools.call offline_access")
        ended = Flow(server).confidential()
        await ended.post("/revoke", token=(await ended.tokens())["refresh_token"])
        page = (await opened(server, browser)).text
        sections = page.split("<section>")[1:]
        names = [re.search("<h2>(.*?)</h2>", section)[1] for section in sections]
        unverified = ' <span class="badge unverified">not verified</span>'
        assert names == ["Public Client", f"&lt;i&gt;Agent&lt;/i&gt;{unverified}"]
        assert "Stay connected while you are away" in sections[0]
        assert "Stay connected while you are away" not in sections[1]
        assert re.search(r"<dt>Since</dt><dd>\d+ \w+ \d{4}, \d\d:\d\d UTC</dd>", sections[0])
        for section in sections:
            assert section.count("checked> <span>") == 3
        assert "<script" not in page


async def test_a_tool_that_is_unticked_is_refused_at_the_next_call_and_back_when_ticked(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        token = (await Flow(server).tokens())["access_token"]
        assert await call(server, token, "wipe") == ("did wipe", False)
        await opened(server, browser)
        page = await browser.submit(0, "save", tool=["look", "add"])
        assert "Saved. It holds from the next call on." in page.text
        assert "3 tools, 1 destructive, 1 not allowed" in page.text
        assert (await call(server, token, "wipe"))[1] is True
        assert await listed(server, token) == {"look", "add"}
        await browser.submit(0, "save", tool=["look", "add", "wipe"])
        assert await call(server, token, "wipe") == ("did wipe", False)


async def test_a_call_that_runs_when_its_tool_is_withheld_runs_on(dsn):
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        began.set()
        await go_on.wait()
        return "done"

    plugin = ModuleType("slow")
    plugin.mcpserve_tools = hookimpl(lambda: [slow])
    async with serving(dsn, made={"slow": plugin}) as server, server.browser() as browser:
        token = (await Flow(server).tokens())["access_token"]
        running = asyncio.ensure_future(call(server, token, "slow"))
        await began.wait()
        await opened(server, browser)
        await browser.submit(0, "save", tool=[])
        assert (await call(server, token, "slow"))[1] is True
        go_on.set()
        assert await running == ("done", False)


async def test_disconnect_ends_the_grant(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        flow = Flow(server)
        tokens = await flow.tokens()
        await opened(server, browser)
        page = await browser.submit(0, "disconnect")
        assert "Disconnected." in page.text
        assert "<section>" not in page.text
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 401
        assert (await flow.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
        [event] = await server.db.rows("SELECT * FROM auth_events WHERE event = 'grant.revoked'")
        assert (event.details, event.client_id) == ({"reason": "person"}, PUBLIC_CLIENT)


@pytest.mark.parametrize("action", ["save", "disconnect"])
async def test_the_grant_of_somebody_else_is_not_there(dsn, action):
    """Not even for one who can make the tokens of a form, because they know their own cookie."""
    async with (
        serving(dsn, made=notes()) as server,
        server.browser() as hers,
        server.browser() as his,
    ):
        await add_user(server.services, "bob", PASSWORD)
        await Flow(server).tokens()
        await opened(server, hers)
        assert "<section>" not in (await opened(server, his, "bob")).text
        [grant] = await server.db.rows("SELECT id FROM mcp_sessions")
        [bob] = await server.db.rows("SELECT id FROM users WHERE name = 'bob'")
        await server.db.execute(
            """INSERT INTO mcp_sessions
                   (client_id, user_id, scopes, resource, auth_time, expires_at)
               SELECT client_id, %(bob)s, scopes, resource, auth_time, expires_at
               FROM mcp_sessions""",
            bob=bob.id,
        )
        cookie = his.http.cookies["mcpserve"]
        stolen = saving(hers, []) | {"action": action}
        assert (await send(his, stolen)).status_code == 403
        pages = set()
        for grant_id in (grant.id, "00000000-0000-4000-8000-000000000000", "x"):
            form = stolen | {
                "grant": grant_id,
                "csrf": crypto.form_token(cookie, "connection", grant_id, bob.id),
            }
            answer = await send(his, form)
            pages.add((answer.status_code, answer.text))
        assert len(pages) == 1
        assert pages.pop()[0] == 404
        assert await withheld(server) == [set(), set()]
        assert not await server.db.rows("SELECT FROM mcp_sessions WHERE state <> 'active'")


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
]


async def test_a_form_that_is_not_of_this_page_and_this_grant_changes_nothing(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        await Flow(server).tokens()
        await Flow(server).confidential().tokens()
        await opened(server, browser)
        good = saving(browser, [])
        for headers in FOREIGN:
            assert (await send(browser, good, headers=headers)).status_code == 403
        other = browser.fields(1)
        for csrf in (None, "", "0" * 64, other["csrf"], browser.fields(2)["csrf"]):
            form = {name: value for name, value in (good | {"csrf": csrf}).items() if value}
            assert (await send(browser, form)).status_code == 403
        assert (await send(browser, good | {"grant": other["grant"]})).status_code == 403
        for shown in ("", other["shown"], good["csrf"]):
            answer = await send(browser, good | {"shown": shown})
            assert answer.headers["location"] == "/connections?done=changed"
        for action in (None, "", "Save", "delete"):
            form = {name: value for name, value in (good | {"action": action}).items() if value}
            assert (await send(browser, form)).status_code == 400
        form = {name: value for name, value in good.items() if name != "grant"}
        assert (await send(browser, form)).status_code == 400
        assert (await send(browser, good, params={"action": "save"})).status_code == 303
        assert sorted(map(len, await withheld(server))) == [0, 3]


async def test_a_form_is_good_until_something_changes(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        await Flow(server).tokens()
        await opened(server, browser)
        first, second = saving(browser, ["look"]), saving(browser, ["look", "add", "wipe"])
        assert (await send(browser, first)).headers["location"] == "/connections?done=saved"
        for form in (first, second):
            again = await send(browser, form)
            assert again.headers["location"] == "/connections?done=changed"
        assert await withheld(server) == [{"add", "wipe"}]


async def test_a_form_of_a_page_with_other_tools_is_shown_again(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        await Flow(server).tokens()
        await opened(server, browser)
        form = saving(browser, ["look", "add"])
        cookies = {"mcpserve": browser.http.cookies["mcpserve"]}
        more = notes("look", "add", "wipe", "new")
        async with (
            serving(dsn, made=more, with_user=False) as changed,
            changed.http(cookies=cookies) as http,
        ):
            answer = await http.post("/connections", data=form)
            assert answer.headers["location"] == "/connections?done=changed"
        assert await withheld(server) == [set()]


async def test_a_grant_that_ended_meanwhile_cannot_be_saved(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        await Flow(server).tokens()
        await opened(server, browser)
        await revocation.revoke_grants(server.db)
        for action in ("save", "disconnect"):
            answer = await send(browser, saving(browser, []) | {"action": action})
            assert answer.status_code == 404
        assert await withheld(server) == [set()]


async def test_nobody_sees_the_list_without_logging_in(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        await Flow(server).tokens()
        page = await browser.open("/connections", {"next": "https://evil.example/", "done": "x"})
        assert page.url.path == "/connections/login"
        assert not page.url.query
        fields = browser.fields() | {"username": USER, "password": PASSWORD}
        answer = await send(
            browser, fields | {"next": "https://evil.example/"}, "/connections/login"
        )
        assert (answer.status_code, answer.headers["location"]) == (303, "/connections")


async def test_the_login_is_that_of_the_other_pages(dsn):
    settings = {"limits": {"login": {"failures": 2, "window": "1m"}}}
    async with serving(dsn, settings, made=notes()) as server, server.browser() as browser:
        await browser.open("/connections")
        anonymous = browser.http.cookies["mcpserve"]
        good = browser.fields() | {"username": USER, "password": PASSWORD}
        for headers in FOREIGN:
            assert (await send(browser, good, "/connections/login", headers=headers)).is_error
        assert (await send(browser, good | {"csrf": ""}, "/connections/login")).is_error
        answers = {
            (await browser.log_in(name, WRONG)).text.replace(name, "NAME")
            for name in (USER, "nobody")
        }
        assert len(answers) == 1
        assert "Wrong name or password." in answers.pop()
        assert browser.shown.status_code == 401
        await browser.log_in(USER, PASSWORD)
        assert browser.shown.url.path == "/connections"
        assert browser.http.cookies["mcpserve"] != anonymous
        again = await browser.open("/connections/login")
        assert again.url.path == "/connections"
        for _ in range(2):
            await browser.open("/connections")
            await browser.submit(-1)
            await browser.log_in(USER, WRONG)
        assert (await browser.log_in(USER, PASSWORD)).status_code == 429


async def test_a_browser_that_logged_in_for_a_client_sees_the_list_and_can_log_out(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        await browser.approve()
        page = await browser.open("/connections")
        assert page.url.path == "/connections"
        fields = browser.fields(-1)
        assert (await send(browser, {"csrf": "x"}, "/connections/logout")).status_code == 403
        await browser.submit(-1)
        assert browser.shown.url.path == "/connections/login"
        assert (await send(browser, fields, "/connections/logout")).status_code == 403
        assert (await browser.open("/connections")).url.path == "/connections/login"


async def test_a_disabled_person_sees_nothing_any_more(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        await Flow(server).tokens()
        await opened(server, browser)
        form = saving(browser, [])
        await users.set_disabled(server.db, USER, disabled=True)
        assert (await send(browser, form)).status_code == 400
        assert (await browser.open("/connections")).url.path == "/connections/login"
        assert await withheld(server) == [set()]


async def test_the_pages_have_the_headers_of_the_others(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        await Flow(server).tokens()
        home = await browser.open("/")
        assert 'href="/connections"' in home.text
        pages = [await browser.open("/connections"), await opened(server, browser)]
        for page in pages:
            for name in (
                "content-security-policy",
                "x-frame-options",
                "cache-control",
                "referrer-policy",
                "cross-origin-opener-policy",
            ):
                assert page.headers[name] == home.headers[name]
            assert page.headers["cache-control"] == "no-store"
        for path in ("/connections/logout", "/connections/login"):
            assert (await browser.http.put(path)).status_code == 405


async def test_without_cookies_there_is_no_endless_redirect(dsn):
    async with serving(dsn) as server, server.http() as http:
        first = await http.get("/connections")
        assert first.headers["location"] == "/connections/login"
        http.cookies.clear()
        answer = await http.get("/connections/login", headers={"Accept": "text/html"})
        assert answer.status_code == 400
        assert "Cookies may be switched off" in answer.text

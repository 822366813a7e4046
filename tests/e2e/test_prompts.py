"""``prompt`` and ``oauth.auto_approve``: when a person is asked, and for what."""

from urllib.parse import parse_qs, urlsplit

import pytest
from serving import PASSWORD, PUBLIC_CLIENT, USER, Flow, serving

from mcpserve import crypto
from mcpserve.oauth import clients

AUTOMATIC = {"oauth": {"auto_approve": True}}


async def pending(server):
    return (await server.db.one("SELECT count(*) AS n FROM authorization_requests")).n


@pytest.mark.proves("CO-08", "AZ-07")
async def test_consent_is_asked_every_time(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        for prompt in (None, None, "consent", "select_account", "create"):
            page = await Flow(server).ask(browser, prompt=prompt)
            assert page.url.path == "/consent"
            assert "code" in await browser.approve()


@pytest.mark.proves("AZ-07")
async def test_prompt_login_asks_for_the_password_again(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        flow = Flow(server)
        await flow.ask(browser)
        page = await browser.open("/authorize", flow.parameters(prompt="login consent"))
        assert page.url.path == "/login"
        before = await server.db.one("SELECT auth_time FROM browser_sessions")
        await browser.log_in(USER, PASSWORD)
        await browser.approve()
        code = await server.db.one("SELECT auth_time FROM oauth_authorization_codes")
        assert code.auth_time > before.auth_time


@pytest.mark.proves("AZ-07")
async def test_prompt_login_cannot_be_walked_around(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        flow = Flow(server)
        await flow.ask(browser)
        page = await browser.open("/authorize", flow.parameters(prompt="login"))
        [request_id] = parse_qs(urlsplit(str(page.url)).query)["request"]
        assert (await browser.open(f"/consent?request={request_id}")).url.path == "/login"
        user = await server.db.one("SELECT id FROM users")
        csrf = crypto.form_token(
            browser.http.cookies["mcpserve"], "consent", request_id, str(user.id)
        )
        form = {"request": request_id, "csrf": csrf, "decision": "approve"}
        response = await browser.http.post("/authorize/decision", data=form)
        assert response.headers["location"] == f"/login?request={request_id}"
        assert await server.db.rows("SELECT FROM oauth_authorization_codes") == []


@pytest.mark.proves("AZ-R10")
async def test_prompt_none_never_shows_a_page(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        flow = Flow(server)
        silent = flow.parameters(prompt="none")
        assert browser.answer(await browser.open("/authorize", silent))["error"] == "login_required"
        assert not browser.http.cookies
        await browser.open("/authorize", flow.parameters())
        assert browser.answer(await browser.open("/authorize", silent))["error"] == "login_required"
        await flow.ask(browser)
        before = await pending(server)
        answer = browser.answer(await browser.open("/authorize", silent))
        assert answer["error"] == "consent_required"
        assert (answer["state"], answer["iss"]) == ("the state", server.services.server.issuer)
        assert await pending(server) == before
        await server.db.execute("UPDATE browser_sessions SET expires_at = clock_timestamp()")
        assert browser.answer(await browser.open("/authorize", silent))["error"] == "login_required"


@pytest.mark.proves("AZ-07")
async def test_auto_approve_asks_for_the_login_only(dsn):
    async with serving(dsn, AUTOMATIC) as server, server.browser() as browser:
        flow = Flow(server)
        page = await browser.open("/authorize", flow.parameters())
        assert page.url.path == "/login"
        answer = browser.answer(await browser.log_in(USER, PASSWORD))
        assert (await flow.exchange(answer["code"])).status_code == 200
        again = await browser.open("/authorize", flow.parameters())
        assert browser.answer(again)["code"] != answer["code"]
        fresh = await browser.open("/authorize", flow.parameters(prompt="login"))
        assert fresh.url.path == "/login"


@pytest.mark.proves("CO-04")
async def test_auto_approve_answers_a_request_once(dsn):
    async with serving(dsn, AUTOMATIC) as server, server.browser() as browser:
        await browser.open("/authorize", Flow(server).parameters())
        consent = str(browser.shown.url).replace("/login", "/consent")
        await browser.log_in(USER, PASSWORD)
        response = await browser.open(consent)
        assert (response.status_code, "location" in response.headers) == (400, False)
        codes = await server.db.rows("SELECT FROM oauth_authorization_codes")
        assert len(codes) == 1


@pytest.mark.proves("CO-07")
async def test_auto_approve_looks_at_the_client_again(dsn):
    async with serving(dsn, AUTOMATIC) as server, server.browser() as browser:
        await browser.open("/authorize", Flow(server).parameters())
        form = browser.fields() | {"username": USER, "password": PASSWORD}
        logged_in = await browser.http.post("/login", data=form)
        await clients.set_disabled(server.db, PUBLIC_CLIENT, disabled=True)
        response = await browser.open(logged_in.headers["location"])
        assert (response.status_code, "location" in response.headers) == (400, False)
        assert await server.db.rows("SELECT FROM oauth_authorization_codes") == []

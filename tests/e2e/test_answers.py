"""Answers of ``/authorize``: to whom, how they are written, and what they are bound to."""

from html import escape
from urllib.parse import parse_qsl, urlsplit

import pytest
from mutations import LOOPBACK, OF_LOOPBACK, OF_REGISTERED, REGISTERED
from serving import CALLBACK, PASSWORD, USER, Flow, serving

from mcpserve import crypto
from mcpserve.oauth.authorize import answer
from mcpserve.web.pages import SECURITY_POLICY

MANY = {"limits": {"authorize": {"failures": 10_000}}}
STATES = [
    "plain",
    "0",
    " two  spaces ",
    "a&b=c;d",
    "100%",
    "%20+%2B",
    "a+b",
    "#?/:@!$'()*,",
    '"><script>alert(1)</script>',
    "e\u0301 is not \u00e9",
    "\U0001f511\U0001f469\u200d\U0001f4bb",
    "s" * 2048,
]
CLIENT = {"id": "public-client", "name": "Public Client"}


def registered(*uris):
    """Settings with one client that has these redirect URIs."""
    return {"oauth": {"clients": {"configured": [CLIENT | {"redirect_uris": uris}]}}}


def location(response):
    assert response.status_code == 303
    return response.headers["location"]


def parameters(response):
    """Return the parameters of an answer, which must be ASCII and say each thing once."""
    assert location(response).isascii()
    assert not set(location(response)) & set(' "<>\\^`{|}')
    pairs = parse_qsl(urlsplit(location(response)).query, strict_parsing=True)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


@pytest.mark.proves("AZ-02", "AZ-03", "AZ-05")
@pytest.mark.parametrize("end", ["approve", "deny", "refuse"])
async def test_every_answer_carries_issuer_and_exact_state(dsn, end):
    async with serving(dsn) as server, server.browser() as browser:
        flow, issuer = Flow(server), server.services.server.issuer
        for state in STATES:
            if end == "refuse":
                query = flow.parameters(state=state, scope="unknown")
                response = await browser.open("/authorize", query)
            else:
                await flow.ask(browser, state=state)
                response = await browser.submit(button=end)
            said = parameters(response)
            assert (said["state"], said["iss"]) == (state, issuer)
            assert ("code" in said) == (end == "approve")


@pytest.mark.proves("AZ-02")
async def test_no_state_is_answered_by_no_state(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        await Flow(server).ask(browser, state=None)
        assert set(await browser.approve()) == {"code", "iss"}


@pytest.mark.proves("AZ-04")
@pytest.mark.parametrize(
    ("redirect_uri", "start"),
    [
        ("https://client.example/cb", "https://client.example/cb?code="),
        ("https://client.example", "https://client.example?code="),
        ("https://client.example/cb?", "https://client.example/cb?code="),
        ("https://client.example/cb?a=1", "https://client.example/cb?a=1&code="),
        ("https://client.example/cb?b=%20&a=+&", "https://client.example/cb?b=%20&a=+&code="),
        ("com.example.app:/cb", "com.example.app:/cb?code="),
    ],
)
def test_the_redirect_uri_is_kept_and_added_to(redirect_uri, start):
    url = answer(redirect_uri, "https://issuer.example", state="a b", code="c")
    assert url == f"{start}c&iss=https%3A%2F%2Fissuer.example&state=a+b"


@pytest.mark.proves("AZ-04")
async def test_a_registered_query_stays(dsn):
    uri = "https://client.example/cb?a=1&b=%2F"
    async with serving(dsn, registered(uri)) as server, server.browser() as browser:
        await Flow(server).ask(browser, redirect_uri=uri)
        response = await browser.submit(button="approve")
        assert location(response).startswith(f"{uri}&code=mcps_ac_")
        assert not urlsplit(location(response)).fragment


@pytest.mark.proves("RU-01", "RU-08", "AZ-R2", "RU-07")
async def test_a_redirect_uri_that_is_not_registered_gets_a_page(dsn):
    assert REGISTERED == CALLBACK
    hostile = ["javascript:alert(1)", 'https://evil.example/"><script>alert(1)</script>', None, ""]
    async with serving(dsn, MANY) as server, server.http() as http:
        for uri in [*OF_REGISTERED.values(), *OF_LOOPBACK.values(), *LOOPBACK, *hostile]:
            query = Flow(server).parameters(redirect_uri=uri)
            response = await http.get("/authorize", params=query)
            assert response.status_code == 400, uri
            assert not {"location", "refresh", "set-cookie"} & set(response.headers), uri
            assert response.headers["content-security-policy"] == SECURITY_POLICY
            assert "<script" not in response.text, uri
            assert "<a " not in response.text, uri
            assert "http-equiv" not in response.text, uri


@pytest.mark.proves("RU-08", "SE-05")
async def test_the_page_shows_the_wrong_redirect_uri_as_text(dsn):
    async with serving(dsn) as server, server.http() as http:
        for uri in ("javascript:alert(1)", "https://evil.example/<b>?a=1&b=2", CALLBACK + "/"):
            query = Flow(server).parameters(redirect_uri=uri)
            response = await http.get("/authorize", params=query)
            assert f": {escape(uri)}</p>" in response.text


@pytest.mark.proves("AZ-R2")
async def test_a_redirect_uri_that_is_there_twice_gets_a_page(dsn):
    async with serving(dsn) as server, server.http() as http:
        for uris in ([CALLBACK, CALLBACK], [CALLBACK, "https://evil.example/"]):
            query = Flow(server).parameters(redirect_uri=uris)
            response = await http.get("/authorize", params=query)
            assert (response.status_code, "location" in response.headers) == (400, False)


@pytest.mark.proves("RU-03", "RU-04")
@pytest.mark.parametrize("uri", LOOPBACK)
async def test_a_code_is_bound_to_the_port_that_was_asked_for(dsn, uri):
    asked, other = uri.replace("/cb", ":5555/cb"), uri.replace("/cb", ":5556/cb")
    async with serving(dsn, registered(uri)) as server, server.browser() as browser:
        flow = Flow(server, redirect_uri=asked)
        await flow.ask(browser)
        response = await browser.submit(button="approve")
        assert location(response).startswith(f"{asked}?code=")
        code = parameters(response)["code"]
        for wrong in (other, uri):
            refused = await flow.exchange(code, redirect_uri=wrong)
            assert refused.json()["error"] == "invalid_grant"
        assert (await flow.exchange(code)).status_code == 200


@pytest.mark.proves("AZ-09")
async def test_a_waiting_request_is_of_one_browser(dsn):
    async with serving(dsn) as server, server.browser() as mine, server.browser() as other:
        await Flow(server).ask(mine)
        form = mine.fields()
        assert len(form["request"]) >= 22  # 128 bits of base64url
        await Flow(server).ask(other)
        async with server.http() as nobody:
            for http in (other.http, nobody):
                for path in ("/consent", "/login"):
                    response = await http.get(path, params={"request": form["request"]})
                    assert response.status_code == 400
                    assert "Allow" not in response.text
                for path in ("/authorize/decision", "/login", "/logout"):
                    response = await http.post(path, data=form | {"decision": "approve"})
                    assert response.status_code in (400, 403)
        assert "code" in await mine.approve()


@pytest.mark.proves("AZ-09")
async def test_a_waiting_request_is_stored_as_its_digest_and_expires(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        row = await server.db.one(
            """SELECT digest, expires_at - created_at <= interval '10 minutes' AS short,
                      r::text AS everything FROM authorization_requests r"""
        )
        request_id = browser.fields()["request"]
        assert (row.digest, row.short) == (crypto.digest(request_id), True)
        assert request_id not in row.everything
        await server.db.execute("UPDATE authorization_requests SET expires_at = clock_timestamp()")
        response = await browser.submit(button="approve")
        assert (response.status_code, "expired" in response.text) == (400, True)
        assert await server.db.rows("SELECT FROM oauth_authorization_codes") == []


@pytest.mark.proves("AZ-10")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_two_tabs_are_decided_in_either_order(dsn, order):
    async with serving(dsn) as server, server.browser() as browser:
        flow = Flow(server)
        tabs = [await flow.ask(browser, state=state) for state in ("tab 0", "tab 1")]
        for number in order:
            browser.page = tabs[number]
            assert (await browser.approve())["state"] == f"tab {number}"


@pytest.mark.proves("AZ-10")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_two_tabs_at_the_login_page_need_one_login(dsn, order):
    async with serving(dsn) as server, server.browser() as browser:
        flow = Flow(server)
        tabs = [
            await browser.open("/authorize", flow.parameters(state=state))
            for state in ("tab 0", "tab 1")
        ]
        assert [tab.url.path for tab in tabs] == ["/login", "/login"]
        for number in order:
            browser.page = tabs[number]
            await browser.log_in(USER, PASSWORD)
            assert (await browser.approve())["state"] == f"tab {number}"


@pytest.mark.proves("AZ-13")
async def test_a_code_is_random_short_lived_and_stored_as_its_digest(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        codes = []
        for _ in range(2):
            await Flow(server).ask(browser)
            codes.append((await browser.approve())["code"])
        rows = await server.db.rows(
            """SELECT digest, c::text AS everything, expires_at - created_at AS lifetime
               FROM oauth_authorization_codes c ORDER BY created_at"""
        )
        assert codes[0] != codes[1]
        for code, row in zip(codes, rows, strict=True):
            assert len(code.removeprefix("mcps_ac_")) == 43  # 256 bits
            assert row.digest == crypto.digest(code)
            assert code not in row.everything
            assert abs(row.lifetime.total_seconds() - 60) < 1

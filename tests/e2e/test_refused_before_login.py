"""AZ-08: nobody is sent on before login to where a client leads that nobody here chose."""

from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from e2e.registering import register
from serving import Flow, serving

AWAY = "https://client.example/callback?a=1"
CHATGPT = "https://chatgpt.com/connector_platform_oauth_redirect"
LOOPBACK = "http://127.0.0.1:4711/callback"
ANY = {"oauth": {"clients": {"registration": {"redirects": "any"}}}}

FAULTS = {
    "response mode": ({"response_mode": "fragment"}, "invalid_request"),
    "response type": ({"response_type": "token"}, "unsupported_response_type"),
    "request object": ({"request": "e30."}, "request_not_supported"),
    "PKCE": ({"code_challenge_method": "plain"}, "invalid_request"),
    "scope": ({"scope": "unknown"}, "invalid_scope"),
    "resource": ({"resource": "https://other.example/mcp"}, "invalid_target"),
    "prompt=none": ({"prompt": "none"}, "login_required"),
}


def links(page):
    """Return where the links of a page lead."""
    return [unescape(part.split('"')[0]) for part in page.text.split('<a href="')[1:]]


@pytest.mark.proves("AZ-08")
async def test_an_error_for_a_client_that_nobody_vouched_for_is_a_page_with_a_link(dsn):
    async with serving(dsn, ANY) as server, server.http() as http:
        flow = Flow(server, await register(server, AWAY), redirect_uri=AWAY)
        for changes, error in FAULTS.values():
            page = await http.get("/authorize", params=flow.parameters(**changes))
            assert page.status_code == 400
            assert "location" not in page.headers
            assert "set-cookie" not in page.headers
            assert "default-src 'none'" in page.headers["content-security-policy"]
            assert page.headers["referrer-policy"] == "no-referrer"
            assert "<strong>client.example</strong>" in page.text
            [link] = links(page)
            assert link.startswith(AWAY + "&")
            answer = parse_qs(urlsplit(link).query)
            assert answer["error"] == [error]
            assert answer["state"] == ["the state"]
            assert answer["iss"] == [server.services.server.issuer]
        assert (await server.db.one("SELECT count(*) AS n FROM browser_sessions")).n == 0


@pytest.mark.proves("AZ-08")
@pytest.mark.parametrize("uri", [CHATGPT, LOOPBACK])
async def test_a_known_client_and_a_program_of_the_person_are_told_at_once(dsn, uri):
    async with serving(dsn, ANY) as server, server.http() as http:
        flow = Flow(server, await register(server, uri), redirect_uri=uri)
        for changes, error in FAULTS.values():
            answer = await http.get("/authorize", params=flow.parameters(**changes))
            assert answer.status_code == 303
            assert answer.headers["location"].startswith(f"{uri}?error={error}&")


@pytest.mark.proves("AZ-08")
async def test_nothing_of_the_request_gets_out_of_the_link(dsn):
    uri = "https://client.example/callback?q='x"
    state = '"><script>alert(1)</script>'
    async with serving(dsn, ANY) as server, server.http() as http:
        flow = Flow(server, await register(server, uri), redirect_uri=uri)
        page = await http.get("/authorize", params=flow.parameters(scope="unknown", state=state))
    assert "<script" not in page.text
    [link] = links(page)
    assert parse_qs(urlsplit(link).query)["state"] == [state]


@pytest.mark.proves("AZ-08")
async def test_who_decided_is_sent_on_at_once(dsn):
    async with serving(dsn, ANY) as server:
        flow = Flow(server, await register(server, AWAY), redirect_uri=AWAY)
        async with server.browser() as browser:
            await flow.ask(browser)
            assert (await browser.deny())["error"] == "access_denied"
            await flow.ask(browser)
            assert "code" in await browser.approve()

"""Whoever has a copy of the database has no way in."""

import base64
import json
import re

import pytest
from postgres_proxy import proxy
from serving import CALLBACK, PASSWORD, SECRET, SECRET_CLIENT, USER, Flow, serving
from tables import contents, unchanged

from mcpserve import crypto
from mcpserve.oauth import users

MANY = {"failures": 100_000}
SETTINGS = {
    "limits": dict.fromkeys(("authorize", "token", "revoke", "login"), MANY),
    "oauth": {"refresh_reuse_window": "30s"},
}
KINDS = ("access_token", "refresh_token")
TIME = re.compile(r"\d{4}-\d\d-\d\dT")
PREFIXES = ("", crypto.ACCESS_TOKEN, crypto.REFRESH_TOKEN, crypto.AUTHORIZATION_CODE)


def scalars(value):
    """Yield every text in a JSON value."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from scalars(part)
    elif isinstance(value, str):
        yield value


def candidates(dsn):
    """Return every text in the database, and of its bytes what could be made of them."""
    found = set()
    for rows in contents(dsn).values():
        for text in (text for row in rows for text in scalars(json.loads(row))):
            if TIME.match(text):
                continue
            found |= {text, *re.split(r"bcrypt:|sha256:", text)}
            if text.startswith("\\x"):
                raw = base64.urlsafe_b64encode(bytes.fromhex(text[2:])).decode().rstrip("=")
                found |= {text[2:], *(prefix + raw for prefix in PREFIXES)}
    # HTTP carries no others in a header.
    return sorted(text for text in found if text and text.isascii() and text.isprintable())


def attempts(flow, guess):
    """Return each request that takes a secret, with this one, and what it must be answered."""
    form = {"client_id": flow.client_id, "client_secret": flow.secret}
    exchange = {"grant_type": "authorization_code", "code": guess, "code_verifier": flow.verifier}
    refresh = {"grant_type": "refresh_token", "refresh_token": guess}
    return [
        ("POST", "/mcp", {"json": {}, "headers": {"Authorization": f"Bearer {guess}"}}, 401),
        ("POST", "/token", {"data": form | exchange}, 400),
        ("POST", "/token", {"data": form | refresh}, 400),
        ("POST", "/revoke", {"data": form | {"client_secret": guess, "token": "x"}}, 401),
    ]


@pytest.mark.proves("SE-04")
async def test_nothing_in_the_database_opens_anything(dsn):
    async with serving(dsn, SETTINGS) as server, server.browser() as browser:
        flow = Flow(server).confidential()
        await flow.code()
        tokens = await flow.tokens()
        await flow.refresh(tokens["refresh_token"])  # the salt is kept for a while
        await flow.ask(browser)
        page = browser.shown.url
        guesses = candidates(dsn)
        assert len(guesses) > 60
        assert {SECRET_CLIENT, CALLBACK} < set(guesses)
        with unchanged(dsn):
            async with server.http() as http:
                for guess in guesses:
                    for method, path, options, status in attempts(flow, guess):
                        answer = await http.request(method, path, **options)
                        assert answer.status_code == status, (path, guess)
                    cookie = {"Cookie": f"mcpserve={guess}"}
                    assert (await http.get(page, headers=cookie)).status_code == 400, guess
            for guess in guesses:
                answer = await browser.http.get("/consent", params={"request": guess})
                assert answer.status_code == 400, guess
        assert (await browser.http.get(page)).status_code == 200


@pytest.mark.proves("SE-04")
async def test_the_setup_link_is_not_in_the_database(dsn):
    async with serving(dsn, with_user=False) as server, server.http() as http:
        link = await users.new_setup_link(server.db)
        guesses = candidates(dsn)
        assert crypto.digest(link).hex() in guesses
        for guess in guesses:
            assert (await http.get("/setup", params={"token": guess})).status_code == 404, guess
        assert (await http.get("/setup", params={"token": link})).status_code == 200


@pytest.mark.proves("SE-01", "SE-04")
async def test_no_secret_is_ever_sent_to_the_database(dsn):
    # What it is not told cannot be in its log, in a statement that failed or in a crash.
    async with proxy(dsn) as network, serving(network.dsn, SETTINGS) as server:
        flow = Flow(server).confidential()
        async with server.browser() as browser:
            await browser.open("/authorize", flow.parameters())
            await browser.log_in(USER, "a wrong password")
            login = browser.fields()
            await browser.log_in(USER, PASSWORD)
            consent, cookie = browser.fields(), browser.http.cookies["mcpserve"]
            code = (await browser.approve())["code"]
        await flow.exchange(code, client_secret="a wrong secret")
        await flow.exchange(code, code_verifier="w" * 43)
        first = (await flow.exchange(code)).json()
        second = (await flow.refresh(first["refresh_token"])).json()
        await flow.call_mcp(second["access_token"])
        await flow.post("/revoke", token=first["access_token"])
        await flow.refresh("mcps_rt_unknown")
        secrets = {
            PASSWORD,
            "a wrong password",
            SECRET,
            "a wrong secret",
            flow.verifier,
            "w" * 43,
            code,
            cookie,
            "mcps_rt_unknown",
            *(login[name] for name in ("csrf", "request")),
            *(consent[name] for name in ("csrf", "request")),
            *(tokens[name] for tokens in (first, second) for name in KINDS),
        }
        assert len(secrets) == 16
        assert SECRET_CLIENT.encode() in network.sent
        assert [secret for secret in secrets if secret.encode() in network.sent] == []

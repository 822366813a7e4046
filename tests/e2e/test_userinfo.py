"""UserInfo (OpenID Connect Core §5.3): who is behind a token, as far as they agreed to it."""

import re

import pytest
from serving import PASSWORD, USER, Flow, add_user, serving

from mcpserve.oauth import users
from mcpserve.oauth.store import users as user_store

ADDRESS = "alice@example.org"
EVERYTHING = "openid profile email mcp.tools.call"
PAGE = "https://page.example"


async def ask(server, token, method="GET", **options):
    """Ask with an access token, if any."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= options.pop("headers", {})
    async with server.http() as http:
        return await http.request(method, "/userinfo", headers=headers, **options)


async def subject(server, name=USER):
    """Return a person's id."""
    return (await user_store.find(server.db, name)).id


def refused(answer, status, error, scope="openid"):
    """Check that this is a refusal as RFC 6750 §3 has it."""
    challenge = answer.headers["WWW-Authenticate"]
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert challenge.startswith("Bearer ")
    told = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    assert (told["error"], told["scope"]) == (error, scope)
    assert "resource_metadata" not in told


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_each_scope_opens_its_own_claims(dsn, method):
    async with serving(dsn) as server:
        await users.set_email(server.db, USER, ADDRESS, verified=True)
        sub = {"sub": await subject(server)}
        named = {"name": USER, "preferred_username": USER}
        reached = {"email": ADDRESS, "email_verified": True}
        for scope, claims in {
            "openid": sub,
            "openid profile": sub | named,
            "openid email": sub | reached,
            EVERYTHING: sub | named | reached,
        }.items():
            tokens = await Flow(server).tokens(scope=scope)
            answer = await ask(server, tokens["access_token"], method)
            assert (answer.status_code, answer.json()) == (200, claims)
            assert answer.headers["Content-Type"].startswith("application/json")
            assert answer.headers["Cache-Control"] == "no-store"


async def test_what_nobody_vouches_for_is_told_as_such(dsn):
    async with serving(dsn) as server:
        await users.set_email(server.db, USER, ADDRESS, verified=False)
        token = (await Flow(server).tokens(scope=EVERYTHING))["access_token"]
        assert (await ask(server, token)).json()["email_verified"] is False
        await users.set_email(server.db, USER, None, verified=True)
        assert "email_verified" not in (await ask(server, token)).json()


async def test_each_token_tells_of_its_own_person(dsn):
    async with serving(dsn) as server:
        await add_user(server.services, "bob", PASSWORD)
        flow, seen = Flow(server), {}
        for name in (USER, "bob"):
            async with server.browser() as browser:
                await browser.open("/authorize", flow.parameters(scope=EVERYTHING))
                await browser.log_in(name, PASSWORD)
                code = (await browser.approve())["code"]
            token = (await flow.exchange(code)).json()["access_token"]
            seen[name] = (await ask(server, token)).json()
        for name, claims in seen.items():
            assert (claims["sub"], claims["name"]) == (await subject(server, name), name)


@pytest.mark.parametrize("scope", [None, "mcp.tools.call", "profile email"])
async def test_without_the_scope_openid_nothing_is_told(dsn, scope):
    async with serving(dsn) as server:
        token = (await Flow(server).tokens(scope=scope))["access_token"]
        refused(await ask(server, token), 403, "insufficient_scope")


async def test_a_token_that_was_refreshed_for_less_tells_less(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        tokens = await flow.tokens(scope=EVERYTHING)
        for scope, status in (("mcp.tools.call", 403), ("openid", 200)):
            tokens = (await flow.refresh(tokens["refresh_token"], scope=scope)).json()
            answer = await ask(server, tokens["access_token"])
            assert answer.status_code == status
        assert answer.json() == {"sub": await subject(server)}
        # Asked for out of habit, openid alone takes no access away.
        assert set(tokens["scope"].split()) == {"openid", "mcp.tools.call"}


ENDINGS = {
    "expired": "UPDATE oauth_access_tokens SET expires_at = created_at - interval '1s'",
    "revoked": "UPDATE oauth_access_tokens SET revoked_at = clock_timestamp()",
    "of a grant that has ended": "UPDATE mcp_sessions SET state = 'revoked', "
    "ended_at = clock_timestamp()",
    "for another resource": "UPDATE mcp_sessions SET resource = 'https://other.example/mcp'",
    "of somebody who is locked out": "UPDATE users SET disabled_at = clock_timestamp()",
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_token_tells_nothing_that_is(dsn, ending):
    async with serving(dsn) as server:
        token = (await Flow(server).tokens(scope=EVERYTHING))["access_token"]
        assert (await ask(server, token)).status_code == 200
        await server.db.execute(ENDINGS[ending])
        refused(await ask(server, token), 401, "invalid_token")


async def test_what_is_no_access_token_tells_nothing(dsn):
    async with serving(dsn) as server:
        tokens = await Flow(server).tokens(scope=EVERYTHING)
        for token in (tokens["refresh_token"], tokens["access_token"] + "x", "ä", "a b"):
            async with server.http() as http:
                headers = {"Authorization": f"Bearer {token}".encode()}
                refused(await http.get("/userinfo", headers=headers), 401, "invalid_token")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_token_counts_in_the_header_only(dsn, method):
    async with serving(dsn) as server:
        token = (await Flow(server).tokens(scope=EVERYTHING))["access_token"]
        forms = [{}, {"params": {"access_token": token}}]
        if method == "POST":
            forms.append({"data": {"access_token": token}})
        for form in forms:
            answer = await ask(server, None, method, **form)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == 'Bearer scope="openid"'


async def test_pages_of_configured_origins_may_ask(dsn):
    async with serving(dsn, {"cors": {"origins": [PAGE]}}) as server:
        token = (await Flow(server).tokens(scope=EVERYTHING))["access_token"]
        for origin, allowed in ((PAGE, PAGE), ("https://other.example", None)):
            headers = {"Origin": origin}
            for answer in (
                await ask(server, token, headers=headers),
                await ask(server, None, headers=headers),
                await ask(server, None, "OPTIONS", headers=headers),
            ):
                assert answer.headers.get("Access-Control-Allow-Origin") == allowed
                assert answer.headers["Access-Control-Expose-Headers"] == "WWW-Authenticate"
        preflight = await ask(server, None, "OPTIONS", headers={"Origin": PAGE})
        assert preflight.headers["Access-Control-Allow-Methods"] == "GET, POST"
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]


async def test_the_person_is_told_what_they_let_be_known(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        page = (await Flow(server).ask(browser, scope="openid profile email")).text
        for text in (
            "Recognize you by the id of your account",
            "Know your name",
            "Know your e-mail address",
            "Use the tools and data of this server on your behalf",
        ):
            assert text in page


@pytest.mark.proves("MD-06")
async def test_discovery_names_it_truly(dsn):
    async with serving(dsn) as server:
        await users.set_email(server.db, USER, ADDRESS, verified=True)
        token = (await Flow(server).tokens(scope=EVERYTHING))["access_token"]
        claims = (await ask(server, token)).json()
        for name in ("openid-configuration", "oauth-authorization-server"):
            async with server.http() as http:
                document = (await http.get(f"/.well-known/{name}")).json()
            assert document["userinfo_endpoint"] == f"{server.services.server.issuer}/userinfo"
            assert set(document["claims_supported"]) == set(claims)
            assert {"openid", "profile", "email"} <= set(document["scopes_supported"])

"""``/register``: a client makes itself known (RFC 7591), and then works like any other."""

import json
import re
from dataclasses import replace

import pytest
from e2e.registering import BODY, CHATGPT, KEY, LOOPBACK, post, refused, registration, without
from serving import Flow, basic, serving


@pytest.mark.proves("DC-01", "DC-05", "DC-06")
async def test_a_public_client_is_told_all_that_is_effective(dsn):
    async with serving(dsn) as server:
        answer = await post(server, BODY)
        told = answer.json()
        row = await server.db.one(
            "SELECT * FROM oauth_clients WHERE client_id = %(id)s", id=told["client_id"]
        )
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    assert re.fullmatch("client_[A-Za-z0-9_-]{43}", told.pop("client_id"))
    assert told.pop("client_id_issued_at") == int(row.created_at.timestamp())
    assert told == BODY
    assert (row.origin, row.auth_methods, row.client_secret_hash) == (
        "registration",
        ["none"],
        None,
    )


@pytest.mark.proves("DC-01")
async def test_a_client_that_says_little_gets_the_defaults_and_a_secret(dsn):
    async with serving(dsn) as server:
        told = (await post(server, {"redirect_uris": [LOOPBACK]})).json()
        stored = await server.db.one(
            "SELECT client_secret_hash AS h FROM oauth_clients WHERE client_id = %(id)s",
            id=told["client_id"],
        )
    assert told["token_endpoint_auth_method"] == "client_secret_basic"
    assert told["client_name"] == "127.0.0.1:4711"
    assert told["grant_types"] == ["authorization_code", "refresh_token"]
    assert told["response_types"] == ["code"]
    assert told["client_secret"].startswith("mcps_cs_")
    assert told["client_secret_expires_at"] == 0
    assert told["client_secret"] not in stored.h
    assert all(value not in (None, "", []) for value in told.values())
    assert "registration_client_uri" not in told
    assert "scope" not in told


@pytest.mark.parametrize("method", ["none", "client_secret_post"])
async def test_a_registered_client_goes_through_the_whole_flow(dsn, method):
    async with serving(dsn) as server:
        told = (await post(server, BODY | {"token_endpoint_auth_method": method})).json()
        flow = Flow(server, told["client_id"], told.get("client_secret"), LOOPBACK)
        tokens = await flow.tokens()
        assert (await flow.call_tool(tokens["access_token"])).status_code == 200
        again = (await flow.refresh(tokens["refresh_token"])).json()
        assert (await flow.call_tool(again["access_token"])).status_code == 200


@pytest.mark.proves("CA-07")
async def test_a_registered_client_authenticates_as_it_said(dsn):
    async with serving(dsn) as server:
        told = (await post(server, without("token_endpoint_auth_method"))).json()
        client_id, secret = told["client_id"], told["client_secret"]
        flow = Flow(server, client_id, secret, LOOPBACK)
        code = await flow.code()
        refusal = await flow.exchange(code)
        assert (refusal.status_code, refusal.json()["error"]) == (401, "invalid_client")
        header = basic(client_id, secret)
        answer = await replace(flow, secret=None).exchange(code, client_id=None, headers=header)
        assert answer.status_code == 200


@pytest.mark.proves("DC-01")
async def test_keys_are_kept_without_what_is_not_known(dsn):
    keys = {"keys": [KEY | {"x5t": "abc", "use": "sig"}]}
    body = without(token_endpoint_auth_method="private_key_jwt", jwks=keys)
    async with serving(dsn) as server:
        told = (await post(server, body)).json()
        assert told["jwks"] == {"keys": [KEY | {"use": "sig"}]}
        assert "client_secret" not in told
        uri = "https://chatgpt.com/oauth/jwks.json"
        body = without(token_endpoint_auth_method="private_key_jwt", jwks_uri=uri)
        assert (await post(server, body)).json()["jwks_uri"] == uri


@pytest.mark.proves("DC-03", "DC-04")
async def test_what_is_not_offered_is_left_out_and_what_is_not_known_ignored(dsn):
    more = {
        "grant_types": ["authorization_code", "client_credentials", "implicit"],
        "response_types": ["code", "token"],
        "software_statement": "e30.e30.",
        "client_uri": None,
        "logo_uri": "https://evil.example/pixel.png",
        "contacts": [],
        "client_id": "mine",
        "client_secret": "mine",
        "scope": "mcp.tools.call unknown openid phone offline_access",
    }
    async with serving(dsn) as server:
        told = (await post(server, BODY | more)).json()
        assert told["grant_types"] == ["authorization_code", "refresh_token"]
        assert told["response_types"] == ["code"]
        assert told["scope"] == "mcp.tools.call openid offline_access"
        assert told["client_id"] != "mine"
        assert {"software_statement", "logo_uri", "client_secret"}.isdisjoint(told)
        flow = Flow(server, told["client_id"], redirect_uri=LOOPBACK)
        answer = await flow.token(grant_type="client_credentials")
        assert answer.json()["error"] == "unsupported_grant_type"


async def test_by_default_answers_go_to_this_machine_or_to_a_known_client(dsn):
    cursor = [
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "http://localhost:8787/callback",
    ]
    good = [[CHATGPT], cursor, [LOOPBACK], [CHATGPT, LOOPBACK]]
    bad = [
        ["https://client.example/cb"],
        [CHATGPT, "https://client.example/cb"],
        [CHATGPT, *cursor],
    ]
    async with serving(dsn) as server:
        for uris in good:
            assert (await post(server, without(redirect_uris=uris))).status_code == 201
        for uris in bad:
            text = await refused(server, without(redirect_uris=uris), "invalid_redirect_uri")
            assert "oauth.clients.registration.redirects" in text
        rows = await server.db.rows(
            "SELECT redirect_uris, preset, refresh_reuse_window AS w FROM oauth_clients "
            "WHERE origin = 'registration'"
        )
    found = {tuple(row.redirect_uris): (row.preset, row.w and row.w.seconds) for row in rows}
    assert found == {
        (CHATGPT,): ("chatgpt", 60),
        tuple(cursor): (None, None),
        # Any program of this machine may be behind these: no preset vouches for them.
        (LOOPBACK,): (None, 60),
        (CHATGPT, LOOPBACK): (None, None),
    }


async def test_a_preset_that_is_not_enabled_lets_nobody_register(dsn):
    settings = {"oauth": {"clients": {"presets": ["claude"]}}}
    async with serving(dsn, settings) as server:
        await refused(server, without(redirect_uris=[CHATGPT]), "invalid_redirect_uri")
        assert (await post(server, BODY)).status_code == 201


async def test_with_any_every_https_redirect_uri_can_be_registered(dsn):
    async with serving(dsn, registration(redirects="any")) as server:
        body = without(redirect_uris=["https://client.example/cb"])
        assert (await post(server, body)).status_code == 201


@pytest.mark.proves("DC-10")
async def test_without_registration_there_is_nothing_to_be_found(dsn):
    path = "/.well-known/oauth-authorization-server"
    async with serving(dsn) as server, server.http() as http:
        assert (await http.get(path)).json()["registration_endpoint"] == (
            f"{server.services.server.issuer}/register"
        )
    async with serving(dsn, registration(enabled=False), with_user=False) as server:
        assert (await post(server, BODY)).status_code == 404
        async with server.http() as http:
            for document in (path, "/.well-known/openid-configuration"):
                assert "registration_endpoint" not in (await http.get(document)).json()


@pytest.mark.proves("TR-01")
async def test_other_methods_change_nothing(dsn):
    async with serving(dsn) as server, server.http() as http:
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            answer = await http.request(method, "/register")
            assert answer.status_code == 405
            assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


@pytest.mark.proves("TR-16")
async def test_a_configured_browser_based_client_can_register(dsn):
    origin = "http://localhost:6274"
    settings = {"cors": {"origins": [origin]}}
    async with serving(dsn, settings) as server:
        answer = await post(server, BODY, Origin=origin)
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        answer = await post(server, BODY, Origin="https://evil.example")
        assert "Access-Control-Allow-Origin" not in answer.headers
        async with server.http() as http:
            answer = await http.options("/register", headers={"Origin": origin})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Methods"]) == (204, "POST")


async def test_what_happened_is_recorded(dsn):
    async with serving(dsn) as server:
        told = (await post(server, without(token_endpoint_auth_method="client_secret_post"))).json()
        event = await server.db.one("SELECT * FROM auth_events WHERE event = 'client.registered'")
    assert event.client_id == told["client_id"]
    assert event.network == "127.0.0.1"
    assert event.details["client_name"] == "My Client"
    assert event.details["redirect_hosts"] == ["127.0.0.1:4711"]
    assert told["client_secret"] not in json.dumps(event.details)


@pytest.mark.proves("DC-10", "DC-11", "CO-01")
async def test_the_consent_page_believes_nothing_that_a_client_says_of_itself(dsn):
    name = "<img src=//evil.example> & Sons"
    more = {"logo_uri": "https://evil.example/logo.png", "client_uri": "javascript:alert(1)"}
    async with serving(dsn) as server, server.browser() as browser:
        for uri, verified in ((LOOPBACK, False), (CHATGPT, True)):
            told = (
                await post(server, without(client_name=name, redirect_uris=[uri], **more))
            ).json()
            page = await Flow(server, told["client_id"], redirect_uri=uri).ask(browser)
            shown = "ChatGPT" if verified else "&lt;img src=//evil.example&gt; &amp; Sons"
            assert f"Allow {shown} to use" in page.text
            assert "logo.png" not in page.text
            assert "javascript:" not in page.text
            assert ("not verified" not in page.text) is verified

"""Introspection (RFC 7662): who may ask, and what is told of which token."""

import time

import postgres
import pytest
from e2e.test_client_authentication import check_invalid_client
from serving import (
    CALLBACK,
    CLIENTS,
    PUBLIC_CLIENT,
    SECRET,
    SECRET_CLIENT,
    USER,
    Flow,
    basic,
    serving,
)
from signing import fresh, signing_client, signing_flow
from tables import unchanged

from mcpserve.oauth import clients

RESOURCE_SERVER = "resource-server"
INACTIVE = {"active": False}
SETTINGS = {
    "oauth": {
        "clients": {
            "configured": [
                *CLIENTS,
                signing_client(),
                {
                    "id": RESOURCE_SERVER,
                    "redirect_uris": [CALLBACK],
                    "secret": SECRET,
                    "introspection": True,
                },
            ]
        }
    }
}


def asking(server, client_id=RESOURCE_SERVER):
    return Flow(server, client_id=client_id, secret=SECRET)


async def told(flow, token, **form):
    """Return what a client is told of a token; how it is told is always the same."""
    answer = await flow.post("/introspect", token=token, **form)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"].startswith("application/json")
    return answer.json()


@pytest.mark.proves("IN-03")
async def test_an_active_access_token_is_described(dsn):
    async with serving(dsn, SETTINGS) as server:
        started = int(time.time())
        tokens = await Flow(server).tokens(scope="offline_access mcp.tools.call")
        ((subject,),) = postgres.query(dsn, "SELECT id::text FROM users")
        for _ in range(2):
            about = await told(asking(server), tokens["access_token"])
            issued = about.pop("iat")
            assert started <= issued <= time.time()
            assert abs(about.pop("exp") - issued - tokens["expires_in"]) <= 1
            assert about == {
                "active": True,
                "scope": tokens["scope"],
                "client_id": PUBLIC_CLIENT,
                "sub": subject,
                "username": USER,
                "token_type": "Bearer",
                "aud": server.resource,
                "iss": server.services.server.issuer,
            }
        assert (await Flow(server).call_mcp(tokens["access_token"])).status_code == 200


@pytest.mark.proves("IN-03")
async def test_the_scope_is_that_of_the_token(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        tokens = await flow.tokens(scope="offline_access mcp.tools.call")
        narrow = (await flow.refresh(tokens["refresh_token"], scope="mcp.tools.call")).json()
        about = await told(asking(server), narrow["access_token"])
        assert about["scope"] == "mcp.tools.call"


@pytest.mark.proves("IN-01")
async def test_a_secret_or_a_signature_is_needed(dsn):
    async with serving(dsn, SETTINGS) as server:
        token = (await Flow(server).tokens())["access_token"]
        nobody = {"client_id": None, "client_secret": None}
        flow = asking(server)
        with unchanged(dsn):
            for headers, form in (
                ({}, {"client_id": PUBLIC_CLIENT, "client_secret": None}),
                ({}, {"client_id": PUBLIC_CLIENT}),
                ({}, {"client_secret": None}),
                ({}, {"client_secret": "wrong"}),
                ({}, nobody),
                (basic(RESOURCE_SERVER, "wrong"), nobody),
                (basic(PUBLIC_CLIENT, ""), nobody),
                ({"Authorization": f"Bearer {token}"}, nobody),
                ({}, {"client_id": "nobody"}),
            ):
                answer = await flow.post("/introspect", headers=headers, token=token, **form)
                check_invalid_client(answer)
        assert (await told(flow, token))["active"]
        headers = basic(RESOURCE_SERVER, SECRET)
        assert (await told(flow, token, headers=headers, **nobody))["active"]


@pytest.mark.proves("IN-01", "CA-14")
async def test_a_signature_proves_who_asks(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = signing_flow(server)
        answer = await flow.exchange(await flow.code(), **fresh(server))
        token = answer.json()["access_token"]
        endpoint = f"{server.services.server.issuer}/introspect"
        for used in (fresh(server), fresh(server, aud=endpoint)):
            assert (await told(flow, token, **used))["active"]
            check_invalid_client(await flow.post("/introspect", token=token, **used))
        check_invalid_client(await flow.post("/revoke", token="x", **fresh(server, aud=endpoint)))


@pytest.mark.proves("IN-01", "IN-02")
async def test_other_clients_tokens_are_shown_only_to_whom_the_operator_chose(dsn):
    async with serving(dsn, SETTINGS) as server:
        tokens = await Flow(server).tokens()
        own = await Flow(server).confidential().tokens()
        plain = asking(server, SECRET_CLIENT)
        for token in (tokens["access_token"], tokens["refresh_token"]):
            assert await told(plain, token) == INACTIVE
        assert (await told(plain, own["access_token"]))["active"]
        assert (await told(asking(server), own["access_token"]))["active"]


@pytest.mark.proves("IN-03")
async def test_a_refresh_token_is_shown_to_its_own_client_alone(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server).confidential()
        tokens = await flow.tokens(scope="offline_access mcp.tools.call")
        about = await told(flow, tokens["refresh_token"])
        assert about["active"]
        assert (about["client_id"], about["scope"]) == (SECRET_CLIENT, tokens["scope"])
        assert "token_type" not in about
        assert await told(asking(server), tokens["refresh_token"]) == INACTIVE


@pytest.mark.proves("IN-02")
async def test_an_unknown_token_is_inactive(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = asking(server)
        code = await Flow(server).code()
        for token in (code, SECRET, "mcps_at_unknown", "x", "é", "a b", "a" * 10_000, '"\\', "{}"):
            assert await told(flow, token) == INACTIVE


DEATHS = {
    "expired token": "UPDATE oauth_access_tokens SET expires_at = clock_timestamp()",
    "revoked token": "UPDATE oauth_access_tokens SET revoked_at = clock_timestamp()",
    "revoked grant": ("UPDATE mcp_sessions SET state = 'revoked', ended_at = clock_timestamp()"),
    "compromised grant": (
        "UPDATE mcp_sessions SET state = 'compromised', ended_at = clock_timestamp()"
    ),
    "other audience": "UPDATE mcp_sessions SET resource = 'https://other.example/mcp'",
    "deleted token": "DELETE FROM oauth_access_tokens",
}


@pytest.mark.proves("IN-02")
@pytest.mark.parametrize("death", DEATHS)
async def test_what_is_refused_at_mcp_is_inactive(dsn, death):
    async with serving(dsn, SETTINGS) as server:
        token = (await Flow(server).tokens())["access_token"]
        assert (await told(asking(server), token))["active"]
        postgres.query(dsn, DEATHS[death])
        assert (await Flow(server).call_mcp(token)).status_code == 401
        assert await told(asking(server), token) == INACTIVE


@pytest.mark.proves("IN-02")
@pytest.mark.parametrize(
    "death",
    [
        "UPDATE oauth_refresh_tokens SET expires_at = clock_timestamp()",
        "UPDATE oauth_refresh_tokens SET revoked_at = clock_timestamp()",
        "UPDATE mcp_sessions SET state = 'compromised', ended_at = clock_timestamp()",
        "UPDATE mcp_sessions SET resource = 'https://other.example/mcp'",
    ],
)
async def test_a_dead_refresh_token_is_inactive(dsn, death):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server).confidential()
        token = (await flow.tokens())["refresh_token"]
        assert (await told(flow, token))["active"]
        postgres.query(dsn, death)
        assert await told(flow, token) == INACTIVE


@pytest.mark.proves("IN-02")
async def test_a_rotated_refresh_token_is_inactive_and_asking_is_no_reuse(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server).confidential()
        first = await flow.tokens()
        second = (await flow.refresh(first["refresh_token"])).json()
        with unchanged(dsn):
            assert await told(flow, first["refresh_token"]) == INACTIVE
        assert (await told(flow, second["refresh_token"]))["active"]
        assert (await flow.refresh(second["refresh_token"])).status_code == 200


@pytest.mark.proves("IN-02", "RV-08")
async def test_a_revocation_is_seen_at_once(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        tokens = await flow.tokens()
        await flow.post("/revoke", token=tokens["refresh_token"])
        assert await told(asking(server), tokens["access_token"]) == INACTIVE


@pytest.mark.proves("IN-01", "IN-02")
async def test_a_disabled_client_may_not_ask_and_has_no_tokens(dsn):
    async with serving(dsn, SETTINGS) as server:
        token = (await Flow(server).tokens())["access_token"]
        await clients.set_disabled(server.db, PUBLIC_CLIENT, disabled=True)
        assert await told(asking(server), token) == INACTIVE
        await clients.set_disabled(server.db, RESOURCE_SERVER, disabled=True)
        check_invalid_client(await asking(server).post("/introspect", token=token))


@pytest.mark.proves("IN-04")
async def test_the_token_is_needed(dsn):
    async with serving(dsn, SETTINGS, with_user=False) as server:
        for token in (None, "", ["x", "x"]):
            answer = await asking(server).post("/introspect", token=token)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
            assert answer.headers["cache-control"] == "no-store"
        assert await told(asking(server), "x", token_type_hint="unknown") == INACTIVE


@pytest.mark.proves("IN-04", "TR-01", "TR-02", "TR-07")
async def test_only_a_form_is_accepted(dsn):
    async with serving(dsn, SETTINGS, with_user=False) as server, server.http() as http:
        for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD"):
            answer = await http.request(method, "/introspect")
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")
        headers = basic(RESOURCE_SERVER, SECRET)
        for request in (
            {"json": {"token": "x"}},
            {"data": {"token": "x"}, "params": {"token": "x"}},
        ):
            answer = await http.post("/introspect", headers=headers, **request)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.proves("RL-01", "RL-03")
async def test_failures_are_limited_and_answers_are_not(dsn):
    limited = SETTINGS | {"limits": {"introspect": {"failures": 3}}}
    async with serving(dsn, limited, with_user=False) as server:
        flow = asking(server)
        for _ in range(5):
            assert await told(flow, "x") == INACTIVE
        for _ in range(3):
            check_invalid_client(await flow.post("/introspect", token="x", client_secret="wrong"))
        for secret in ("wrong", SECRET):
            answer = await flow.post("/introspect", token="x", client_secret=secret)
            assert (answer.status_code, answer.json()["error"]) == (429, "temporarily_unavailable")
        assert (await flow.post("/revoke", token="x")).status_code == 200

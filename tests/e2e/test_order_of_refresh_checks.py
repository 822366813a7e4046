"""A refresh with two faults: the earlier one is told, and only true reuse is held against anybody.

Whoever has an old token, but not all else that a refresh needs, must not be able to end a grant.
"""

import postgres
import pytest
from serving import CALLBACK, SECRET, SECRET_CLIENT, Flow, serving
from tables import unchanged

OTHER = {"client_id": "other-client", "client_secret": None}
CLIENTS = [
    {"id": SECRET_CLIENT, "redirect_uris": [CALLBACK], "secret": SECRET},
    {"id": "other-client", "redirect_uris": [CALLBACK]},
]
SETTINGS = {"oauth": {"clients": {"configured": CLIENTS}, "scopes": {"extra": "Something more"}}}
EXPIRE = "UPDATE oauth_refresh_tokens SET expires_at = clock_timestamp()"
REVOKE = "UPDATE mcp_sessions SET state = 'revoked', ended_at = clock_timestamp()"

NO_SECRET = {"client_secret": "wrong"}
WIDER = {"scope": "extra"}
ELSEWHERE = {"resource": "https://evil.example/mcp"}
# What is wrong with the request, what happened to the grant before, and what is told.
BEFORE_REUSE = {
    "wrong secret": (NO_SECRET, None, "invalid_client"),
    "another client": (OTHER, None, "invalid_grant"),
    "expired": ({}, EXPIRE, "invalid_grant"),
    "revoked": ({}, REVOKE, "invalid_grant"),
}
AFTER_REUSE = {"wider scope": WIDER, "another resource": ELSEWHERE}


def error(answer):
    return answer.json()["error"]


async def rotated(server):
    """Return the flow of a client, and a token of it that was used."""
    flow = Flow(server).confidential()
    token = (await flow.tokens())["refresh_token"]
    assert (await flow.refresh(token)).status_code == 200
    return flow, token


@pytest.mark.proves("RF-01")
@pytest.mark.parametrize("first", BEFORE_REUSE)
@pytest.mark.parametrize("second", ["reuse", *AFTER_REUSE])
async def test_what_is_checked_before_reuse_hides_it(dsn, first, second):
    form, death, told = BEFORE_REUSE[first]
    async with serving(dsn, SETTINGS) as server:
        flow, token = await rotated(server)
        if death:
            postgres.query(dsn, death)
        with unchanged(dsn):
            answer = await flow.refresh(token, **form | AFTER_REUSE.get(second, {}))
        assert error(answer) == told


@pytest.mark.proves("RF-01", "RF-04")
@pytest.mark.parametrize("second", AFTER_REUSE)
async def test_reuse_is_reuse_whatever_else_is_asked_for(dsn, second):
    async with serving(dsn, SETTINGS) as server:
        flow, token = await rotated(server)
        assert error(await flow.refresh(token, **AFTER_REUSE[second])) == "invalid_grant"
        assert postgres.query(dsn, "SELECT state FROM mcp_sessions") == [("compromised",)]


@pytest.mark.proves("RF-01")
async def test_the_scope_is_checked_before_the_resource(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server).confidential()
        token = (await flow.tokens())["refresh_token"]
        with unchanged(dsn):
            assert error(await flow.refresh("unknown", **WIDER, **ELSEWHERE)) == "invalid_grant"
            assert error(await flow.refresh(token, **WIDER, **ELSEWHERE)) == "invalid_scope"
            assert error(await flow.refresh(token, **ELSEWHERE)) == "invalid_target"
        assert (await flow.refresh(token)).status_code == 200

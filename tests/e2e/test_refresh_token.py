"""Using a refresh token: rotation, scope, resource, and what ends it."""

from dataclasses import replace

import postgres
import pytest
from serving import CALLBACK, PUBLIC_CLIENT, SECRET, SECRET_CLIENT, USER, Flow, serving
from tables import state, unchanged

from mcpserve.oauth import clients, users
from mcpserve.oauth.store import cleanup

OTHER = "other-client"
CLIENTS = [
    {"id": PUBLIC_CLIENT, "redirect_uris": [CALLBACK]},
    {"id": OTHER, "redirect_uris": [CALLBACK]},
    {"id": SECRET_CLIENT, "redirect_uris": [CALLBACK], "secret": SECRET},
]
SETTINGS = {"oauth": {"clients": {"configured": CLIENTS}, "scopes": {"extra": "Something more"}}}
BOTH = "extra mcp.tools.call"


def error(answer):
    return (answer.status_code, answer.json()["error"])


def grant_states(dsn):
    return sorted(state for (state,) in postgres.query(dsn, "SELECT state FROM mcp_sessions"))


@pytest.mark.proves("RF-01", "RF-09", "TK-05")
async def test_every_bad_token_gets_the_same_answer_and_changes_nothing(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        live, revoked, expired = await flow.tokens(), await flow.tokens(), await flow.tokens()
        rotated = await flow.tokens()
        await flow.refresh(rotated["refresh_token"])
        await flow.post("/revoke", token=revoked["refresh_token"])
        other = replace(flow, client_id=OTHER)
        answers = []
        with unchanged(dsn):
            answers.append(await flow.refresh("mcps_rt_unknown"))
            answers.append(await flow.refresh(live["access_token"]))
            answers.append(await flow.refresh(revoked["refresh_token"]))
            answers.append(await other.refresh(live["refresh_token"]))
            answers.append(await other.refresh(rotated["refresh_token"]))
            answers.append(await other.refresh(expired["refresh_token"]))
        postgres.query(dsn, "UPDATE oauth_refresh_tokens SET expires_at = clock_timestamp()")
        with unchanged(dsn):
            answers.append(await flow.refresh(expired["refresh_token"]))
            answers.append(await flow.refresh(rotated["refresh_token"]))
        assert {error(answer) for answer in answers} == {(400, "invalid_grant")}
        assert len({answer.content for answer in answers}) == 1
        assert grant_states(dsn) == ["active", "active", "active", "revoked"]


async def test_the_token_itself_is_needed(dsn):
    async with serving(dsn) as server:
        answer = await Flow(server).token(grant_type="refresh_token")
        assert error(answer) == (400, "invalid_request")


@pytest.mark.proves("RF-02", "RF-13")
async def test_each_refresh_gives_a_new_pair_and_the_old_access_token_runs_out(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        seen = [await flow.tokens()]
        for _ in range(3):
            seen.append((await flow.refresh(seen[-1]["refresh_token"])).json())
        assert len({tokens["refresh_token"] for tokens in seen}) == 4
        assert len({tokens["access_token"] for tokens in seen}) == 4
        for tokens in seen:
            assert (await flow.call_mcp(tokens["access_token"])).status_code == 200


@pytest.mark.proves("RF-03")
async def test_the_lineage_is_a_path_that_ends_when_its_grant_does(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        tokens = await flow.tokens()
        before = state(dsn)
        (root,) = postgres.query(dsn, "SELECT auth_time, expires_at FROM mcp_sessions")
        for _ in range(3):
            tokens = (await flow.refresh(tokens["refresh_token"])).json()
        lineage = """
            WITH RECURSIVE path AS (
                SELECT id, session_id, expires_at, rotated_at, 1 AS length
                FROM oauth_refresh_tokens WHERE parent_id IS NULL
                UNION ALL
                SELECT child.id, child.session_id, child.expires_at, child.rotated_at, length + 1
                FROM oauth_refresh_tokens child JOIN path ON child.parent_id = path.id
            )
            SELECT length, rotated_at IS NOT NULL, auth_time, p.expires_at
            FROM path p JOIN mcp_sessions s ON s.id = p.session_id ORDER BY length
        """
        assert postgres.query(dsn, lineage) == [
            (1, True, *root),
            (2, True, *root),
            (3, True, *root),
            (4, False, *root),
        ]
        assert len(state(dsn)["mcp_sessions"]) == len(before["mcp_sessions"]) == 1


@pytest.mark.proves("RF-03", "TK-02")
async def test_no_token_outlives_its_grant(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        tokens = await flow.tokens()
        soon = "expires_at = clock_timestamp() + interval '100 seconds'"
        postgres.query(dsn, f"UPDATE mcp_sessions SET {soon}")
        tokens = (await flow.refresh(tokens["refresh_token"])).json()
        assert 90 < tokens["expires_in"] <= 100
        postgres.query(dsn, "UPDATE oauth_refresh_tokens SET expires_at = clock_timestamp()")
        assert error(await flow.refresh(tokens["refresh_token"])) == (400, "invalid_grant")


@pytest.mark.proves("RF-04", "RF-05")
async def test_reuse_ends_the_grant_and_all_its_tokens(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        first = await flow.tokens()
        second = (await flow.refresh(first["refresh_token"])).json()
        third = (await flow.refresh(second["refresh_token"])).json()
        assert error(await flow.refresh(first["refresh_token"])) == (400, "invalid_grant")
        assert grant_states(dsn) == ["compromised"]
        live = "SELECT count(*) FROM {} WHERE revoked_at IS NULL"
        for table in ("oauth_refresh_tokens", "oauth_access_tokens"):
            assert postgres.query(dsn, live.format(table)) == [(0,)]
        for tokens in (first, second, third):
            answer = await flow.call_mcp(tokens["access_token"])
            assert answer.status_code == 401
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
            assert error(await flow.refresh(tokens["refresh_token"])) == (400, "invalid_grant")


@pytest.mark.proves("RF-05")
async def test_reuse_touches_no_other_grant(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        stolen = await flow.tokens()
        other = replace(flow, client_id=OTHER)
        neighbours = [(flow, await flow.tokens()), (other, await other.tokens())]
        await flow.refresh(stolen["refresh_token"])
        await flow.refresh(stolen["refresh_token"])
        neighbours.append((flow, await flow.tokens()))  # a new login
        assert grant_states(dsn) == ["active", "active", "active", "compromised"]
        for owner, tokens in neighbours:
            assert (await owner.call_mcp(tokens["access_token"])).status_code == 200
            assert (await owner.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.proves("RF-06")
async def test_a_refresh_may_ask_for_less_once(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        tokens = await flow.tokens(scope=BOTH)
        assert tokens["scope"] == BOTH
        narrow = (await flow.refresh(tokens["refresh_token"], scope="extra")).json()
        assert narrow["scope"] == "extra"
        assert (await flow.call_tool(narrow["access_token"])).status_code == 403
        whole = (await flow.refresh(narrow["refresh_token"])).json()
        assert whole["scope"] == BOTH
        assert (await flow.call_tool(whole["access_token"])).status_code == 200


@pytest.mark.proves("RF-06")
async def test_a_refresh_may_not_ask_for_more(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        tokens = await flow.tokens()
        with unchanged(dsn):
            for scope in ("extra", "mcp.tools.call extra", "offline_access", " ", 'a"'):
                answer = await flow.refresh(tokens["refresh_token"], scope=scope)
                assert error(answer) == (400, "invalid_scope"), scope
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.proves("RF-07", "RI-01")
async def test_a_refresh_may_name_its_resource_and_no_other(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        mine = server.services.server.resource
        tokens = await flow.tokens()
        with unchanged(dsn):
            for resource in ("https://evil.example/mcp", f"{mine}/x", "*", [mine, mine + "/x"]):
                answer = await flow.refresh(tokens["refresh_token"], resource=resource)
                assert error(answer) == (400, "invalid_target")
        assert (await flow.refresh(tokens["refresh_token"], resource=mine)).status_code == 200


@pytest.mark.proves("RF-08")
async def test_a_disabled_client_or_person_cannot_refresh(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow, other = Flow(server), Flow(server, client_id=OTHER)
        mine, others = await flow.tokens(), await other.tokens()
        await clients.set_disabled(server.db, PUBLIC_CLIENT, disabled=True)
        assert error(await flow.refresh(mine["refresh_token"])) == (401, "invalid_client")
        await users.set_disabled(server.db, USER, disabled=True)
        assert error(await other.refresh(others["refresh_token"])) == (400, "invalid_grant")
        # Enabling them does not bring back what was ended.
        await clients.set_disabled(server.db, PUBLIC_CLIENT, disabled=False)
        await users.set_disabled(server.db, USER, disabled=False)
        with unchanged(dsn):
            for owner, tokens in ((flow, mine), (other, others)):
                assert error(await owner.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
                assert (await owner.call_mcp(tokens["access_token"])).status_code == 401
        assert grant_states(dsn) == ["revoked", "revoked"]


@pytest.mark.proves("RF-10")
async def test_reuse_is_noticed_as_long_as_the_grant_lives(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        first = await flow.tokens()
        second = (await flow.refresh(first["refresh_token"])).json()
        postgres.query(
            dsn,
            """UPDATE oauth_refresh_tokens SET rotated_at = rotated_at - interval '29 days',
                   created_at = created_at - interval '29 days'""",
        )
        await cleanup.purge(server.db)
        assert error(await flow.refresh(first["refresh_token"])) == (400, "invalid_grant")
        assert grant_states(dsn) == ["compromised"]
        assert (await flow.call_mcp(second["access_token"])).status_code == 401


@pytest.mark.proves("RF-11")
async def test_a_refresh_works_before_and_after_the_access_token_expired(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        tokens = await flow.tokens()
        for left in ("5 minutes", "0 seconds", "-1 hour"):
            expiry = f"expires_at = clock_timestamp() + interval '{left}'"
            postgres.query(dsn, f"UPDATE oauth_access_tokens SET {expiry}")
            tokens = (await flow.refresh(tokens["refresh_token"])).json()
            assert (await flow.call_mcp(tokens["access_token"])).status_code == 200


@pytest.mark.proves("RF-12")
async def test_a_refresh_token_is_given_with_and_without_offline_access(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        for scope in ("mcp.tools.call", "mcp.tools.call offline_access"):
            tokens = await flow.tokens(scope=scope)
            assert tokens["scope"] == scope
            assert (await flow.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.proves("RI-04", "RF-01")
async def test_a_grant_of_another_public_url_needs_a_new_login(dsn):
    # Its new tokens would be refused at once, and the client would refresh for ever.
    elsewhere = {"server": {"public_url": "http://localhost:9"}}
    async with serving(dsn, elsewhere) as before:
        tokens = await Flow(before).tokens()
    async with serving(dsn, with_user=False) as server:
        flow = Flow(server)
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 401
        with unchanged(dsn):
            refused = await flow.refresh(tokens["refresh_token"])
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")

"""Revocation by clients (RFC 7009)."""

import postgres
import pytest
from serving import PUBLIC_CLIENT, SECRET, SECRET_CLIENT, Flow, basic, serving
from tables import unchanged


def error(answer):
    return (answer.status_code, answer.json()["error"])


def grant_states(dsn):
    return sorted(state for (state,) in postgres.query(dsn, "SELECT state FROM mcp_sessions"))


async def revoke(flow, token, **form):
    """Revoke a token and check the answer that there always is."""
    answer = await flow.post("/revoke", token=token, **form)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.proves("RV-01")
async def test_revoking_twice_is_as_good_as_once(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        tokens = await flow.tokens()
        for kind in ("access_token", "refresh_token"):
            await revoke(flow, tokens[kind])
            with unchanged(dsn):
                await revoke(flow, tokens[kind])


@pytest.mark.proves("RV-01")
async def test_an_unknown_or_malformed_token_is_revoked_already(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        tokens = await flow.tokens()
        with unchanged(dsn):
            for token in ("mcps_rt_unknown", "x", "é", "a b", "a" * 10_000, '"\\', "{}"):
                await revoke(flow, token)
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 200


@pytest.mark.proves("RV-02")
async def test_the_token_is_needed(dsn):
    async with serving(dsn) as server:
        with unchanged(dsn):
            for token in (None, ""):
                answer = await Flow(server).post("/revoke", token=token)
                assert error(answer) == (400, "invalid_request")


@pytest.mark.proves("RV-02")
async def test_the_client_must_prove_itself_first(dsn):
    async with serving(dsn) as server:
        flow = Flow(server).confidential()
        token = (await flow.tokens())["refresh_token"]
        with unchanged(dsn):
            for form in (
                {"client_secret": "wrong"},
                {"client_secret": None},
                {"client_id": None, "client_secret": None},
                {"client_id": "nobody"},
                {"client_id": PUBLIC_CLIENT},
            ):
                answer = await flow.post("/revoke", token=token, **form)
                assert error(answer) == (401, "invalid_client")
            # Before it is told that the token is missing.
            answer = await flow.post("/revoke", client_secret="wrong")
            assert error(answer) == (401, "invalid_client")
        assert (await flow.refresh(token)).status_code == 200


@pytest.mark.proves("RV-02")
async def test_every_method_of_the_token_endpoint_revokes(dsn):
    async with serving(dsn) as server:
        public, confidential = Flow(server), Flow(server).confidential()
        nobody = {"client_id": None, "client_secret": None}
        await revoke(public, (await public.tokens())["refresh_token"])
        await revoke(confidential, (await confidential.tokens())["refresh_token"])
        token = (await confidential.tokens())["refresh_token"]
        await revoke(confidential, token, headers=basic(SECRET_CLIENT, SECRET), **nobody)
        assert grant_states(dsn) == ["revoked", "revoked", "revoked"]


@pytest.mark.proves("RV-03")
async def test_a_wrong_hint_does_not_matter(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        for hint in ("", "refresh_token", "access_token", "id_token", "é"):
            tokens = await flow.tokens()
            await revoke(flow, tokens["access_token"], token_type_hint=hint)
            assert (await flow.call_mcp(tokens["access_token"])).status_code == 401
            await revoke(flow, tokens["refresh_token"], token_type_hint=hint)
            refused = await flow.refresh(tokens["refresh_token"])
            assert error(refused) == (400, "invalid_grant")


@pytest.mark.proves("RV-04", "RV-07")
@pytest.mark.parametrize("generation", [0, 1, 2])
async def test_a_refresh_token_of_any_age_ends_its_grant(dsn, generation):
    async with serving(dsn) as server:
        flow = Flow(server)
        others = await flow.tokens()
        lineage = [await flow.tokens()]
        for _ in range(2):
            lineage.append((await flow.refresh(lineage[-1]["refresh_token"])).json())
        await revoke(flow, lineage[generation]["refresh_token"])
        assert grant_states(dsn) == ["active", "revoked"]
        with unchanged(dsn):
            for tokens in lineage:
                assert (await flow.call_mcp(tokens["access_token"])).status_code == 401
                refused = await flow.refresh(tokens["refresh_token"])
                assert error(refused) == (400, "invalid_grant")
        assert (await flow.call_mcp(others["access_token"])).status_code == 200
        assert (await flow.refresh(others["refresh_token"])).status_code == 200


@pytest.mark.proves("RV-05")
async def test_an_access_token_ends_alone(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        first = await flow.tokens()
        second = (await flow.refresh(first["refresh_token"])).json()
        await revoke(flow, first["access_token"])
        assert (await flow.call_mcp(first["access_token"])).status_code == 401
        assert (await flow.call_mcp(second["access_token"])).status_code == 200
        assert grant_states(dsn) == ["active"]
        assert (await flow.refresh(second["refresh_token"])).status_code == 200


@pytest.mark.proves("RV-06")
async def test_the_token_of_another_client_is_refused_and_lives(dsn):
    async with serving(dsn) as server:
        owner, other = Flow(server), Flow(server).confidential()
        rotated = await owner.tokens()
        tokens = (await owner.refresh(rotated["refresh_token"])).json()
        with unchanged(dsn):
            for token in (
                tokens["access_token"],
                tokens["refresh_token"],
                rotated["refresh_token"],
            ):
                assert error(await other.post("/revoke", token=token)) == (400, "invalid_grant")
        assert (await owner.call_mcp(tokens["access_token"])).status_code == 200
        assert (await owner.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.proves("RF-04")
async def test_a_compromised_grant_stays_compromised(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        first = await flow.tokens()
        second = (await flow.refresh(first["refresh_token"])).json()
        await flow.refresh(first["refresh_token"])
        with unchanged(dsn):
            await revoke(flow, second["refresh_token"])
            await revoke(flow, second["access_token"])
        assert grant_states(dsn) == ["compromised"]


@pytest.mark.proves("RV-08")
async def test_another_server_of_the_same_database_knows_at_once(dsn):
    origin = {"server": {"public_url": "http://localhost:3000"}}
    async with serving(dsn, origin) as one, serving(dsn, origin, with_user=False) as two:
        flow, elsewhere = Flow(one), Flow(two)
        tokens = await flow.tokens()
        assert (await elsewhere.call_mcp(tokens["access_token"])).status_code == 200
        await revoke(flow, tokens["access_token"])
        assert (await elsewhere.call_mcp(tokens["access_token"])).status_code == 401
        tokens = (await elsewhere.refresh(tokens["refresh_token"])).json()
        await revoke(flow, tokens["refresh_token"])
        assert (await elsewhere.call_mcp(tokens["access_token"])).status_code == 401
        assert error(await elsewhere.refresh(tokens["refresh_token"])) == (400, "invalid_grant")

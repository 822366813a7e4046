"""Exchanging an authorization code."""

from dataclasses import replace

import postgres
import pytest
from locks import race
from postgres_proxy import proxy
from serving import CALLBACK, PUBLIC_CLIENT, SECRET, SECRET_CLIENT, USER, Flow, serving
from tables import state, unchanged

from mcpserve import crypto
from mcpserve.oauth import clients, users
from mcpserve.oauth.store import cleanup

OTHER = "other-client"
CLIENTS = [
    {"id": PUBLIC_CLIENT, "redirect_uris": [CALLBACK, f"{CALLBACK}/2"]},
    {"id": OTHER, "redirect_uris": [CALLBACK]},
    {"id": SECRET_CLIENT, "redirect_uris": [CALLBACK], "secret": SECRET},
]
SETTINGS = {"oauth": {"clients": {"configured": CLIENTS}, "scopes": {"extra": "Something more"}}}
LATER = "UPDATE oauth_authorization_codes SET used_at = used_at - interval '10 s'"
EXPIRE = "UPDATE oauth_authorization_codes SET expires_at = clock_timestamp()"


def error(answer):
    return (answer.status_code, answer.json()["error"])


def grant_states(dsn):
    return sorted(state for (state,) in postgres.query(dsn, "SELECT state FROM mcp_sessions"))


@pytest.mark.proves("AC-01", "TK-05")
async def test_every_bad_code_gets_the_same_answer(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        code, spent = await flow.code(), await flow.code()
        tokens = (await flow.exchange(spent)).json()
        await flow.post("/revoke", token=tokens["refresh_token"])
        answers = []
        with unchanged(dsn):
            answers.append(await flow.exchange("mcps_ac_unknown"))
            answers.append(await flow.exchange(tokens["access_token"]))
            answers.append(await flow.exchange(spent))  # its grant was revoked
            answers.append(await replace(flow, client_id=OTHER).exchange(code))
            answers.append(await flow.exchange(code, redirect_uri=f"{CALLBACK}/2"))
            answers.append(await flow.exchange(code, code_verifier="w" * 43))
        await users.set_disabled(server.db, USER, disabled=True)
        with unchanged(dsn):
            answers.append(await flow.exchange(code))
        await users.set_disabled(server.db, USER, disabled=False)
        postgres.query(dsn, EXPIRE)
        with unchanged(dsn):
            answers.append(await flow.exchange(code))
        assert {error(answer) for answer in answers} == {(400, "invalid_grant")}
        assert len({answer.content for answer in answers}) == 1
        assert grant_states(dsn) == ["revoked"]


@pytest.mark.proves("AC-01")
async def test_a_disabled_client_cannot_exchange(dsn):
    async with serving(dsn) as server:
        code = await Flow(server).code()
        await clients.set_disabled(server.db, PUBLIC_CLIENT, disabled=True)
        with unchanged(dsn):
            assert error(await Flow(server).exchange(code)) == (401, "invalid_client")


@pytest.mark.proves("AC-02")
async def test_the_code_itself_is_needed(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        code = await flow.code()
        with unchanged(dsn):
            assert error(await flow.exchange(code, code=None)) == (400, "invalid_request")


@pytest.mark.proves("AC-03", "AC-06")
async def test_the_verifier_must_be_the_one_of_the_challenge(dsn):
    wrong = [None, "w" * 43, "v" * 42, "v" * 44, "v" * 129, "V" * 43]
    wrong += ["v" * 42 + end for end in " +é"]
    wrong += [crypto.pkce_s256("v" * 43)]  # the challenge itself
    async with serving(dsn) as server:
        flow = Flow(server)
        code = await flow.code()
        with unchanged(dsn):
            for verifier in wrong:
                answer = await flow.exchange(code, code_verifier=verifier)
                assert error(answer) == (400, "invalid_grant"), verifier
                postgres.query(dsn, "UPDATE oauth_authorization_codes SET failures = 0")
        assert (await flow.exchange(code)).status_code == 200


@pytest.mark.proves("AC-03")
async def test_every_verifier_of_the_standard_works(dsn):
    async with serving(dsn) as server:
        for verifier in ("a" * 43, "Z" * 128, "-._~" + "0" * 40):
            assert await Flow(server, verifier=verifier).tokens()


@pytest.mark.proves("AC-03")
async def test_an_impossible_verifier_never_works(dsn):
    async with serving(dsn) as server:
        for verifier in ("v" * 42, "v" * 129, "v" * 42 + "+"):
            flow = Flow(server, verifier=verifier)
            answer = await flow.exchange(await flow.code())
            assert error(answer) == (400, "invalid_grant")


@pytest.mark.proves("AC-04")
async def test_the_redirect_uri_may_be_left_out_but_not_be_another(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        code = await flow.code()
        with unchanged(dsn):
            for uri in (f"{CALLBACK}/2", f"{CALLBACK}/", CALLBACK.upper(), "http://localhost/"):
                assert error(await flow.exchange(code, redirect_uri=uri)) == (400, "invalid_grant")
        assert (await flow.exchange(code, redirect_uri=None)).status_code == 200
        assert (await flow.exchange(await flow.code())).status_code == 200


@pytest.mark.proves("AC-05", "RI-01", "RI-02", "RI-03")
async def test_the_resource_cannot_become_another(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        mine = server.services.server.resource
        code = await flow.code()
        with unchanged(dsn):
            for resource in ("https://evil.example/mcp", f"{mine}/x", "mcp", f"{mine}#x", "*"):
                answer = await flow.exchange(code, resource=resource)
                assert error(answer) == (400, "invalid_target")
            answer = await flow.exchange(code, resource=[mine, "https://evil.example"])
            assert error(answer) == (400, "invalid_target")
        for resource in (mine, f"{mine}/", mine.replace("http", "HTTP"), None):
            answer = await flow.exchange(code, resource=resource)
            assert answer.status_code == 200
            code = await flow.code(resource=None)


@pytest.mark.proves("AC-06")
async def test_five_failures_cost_the_code_and_nothing_else(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        patient, code = await flow.code(), await flow.code()
        tokens = await flow.tokens()
        for _ in range(4):
            await flow.exchange(patient, code_verifier=None)
        assert (await flow.exchange(patient)).status_code == 200
        for _ in range(5):
            await flow.exchange(code, code_verifier=None)
        with unchanged(dsn):
            assert error(await flow.exchange(code)) == (400, "invalid_grant")
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 200


@pytest.mark.proves("AC-06", "AC-08", "CA-11")
async def test_what_others_get_wrong_is_no_failure_of_the_code(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server).confidential()
        code = await flow.code()
        for _ in range(6):
            await flow.exchange(code, client_secret="wrong")
            await Flow(server).exchange(code, code_verifier=None)
            await flow.exchange(code, resource="https://evil.example")
        assert (await flow.exchange(code)).status_code == 200


@pytest.mark.proves("AC-06")
async def test_failures_are_counted_without_end(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        code = await flow.code()
        postgres.query(dsn, "UPDATE oauth_authorization_codes SET failures = 32767")
        for _ in range(2):
            answer = await flow.exchange(code, code_verifier=None)
            assert error(answer) == (400, "invalid_grant")


@pytest.mark.proves("AC-07")
async def test_a_replay_by_the_owner_ends_the_grant(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        others = await flow.tokens()
        code = await flow.code()
        first = (await flow.exchange(code)).json()
        second = (await flow.refresh(first["refresh_token"])).json()
        postgres.query(dsn, LATER)
        assert error(await flow.exchange(code)) == (400, "invalid_grant")
        assert grant_states(dsn) == ["active", "compromised"]
        for tokens in (first, second):
            assert (await flow.call_mcp(tokens["access_token"])).status_code == 401
        assert error(await flow.refresh(second["refresh_token"])) == (400, "invalid_grant")
        assert (await flow.call_mcp(others["access_token"])).status_code == 200
        assert (await flow.refresh(others["refresh_token"])).status_code == 200
        assert await flow.tokens()


@pytest.mark.proves("AC-10")
async def test_who_asks_twice_is_refused_and_keeps_what_it_got(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        code = await flow.code()
        tokens = (await flow.exchange(code)).json()
        with unchanged(dsn):
            for _ in range(3):
                assert error(await flow.exchange(code)) == (400, "invalid_grant")
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 200
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.proves("AC-07", "AC-12", "TR-14")
async def test_an_exchange_whose_answer_was_lost_with_the_database_needs_a_new_login(dsn):
    # No window makes up for this: whoever asks again is refused, and nothing worse.
    async with proxy(dsn) as network, serving(network.dsn) as server:
        flow = Flow(server)
        code = await flow.code()
        network.cut_after = b"COMMIT\0"
        assert error(await flow.exchange(code)) == (503, "temporarily_unavailable")
        assert error(await flow.exchange(code)) == (400, "invalid_grant")
        assert grant_states(dsn) == ["active"]
        assert await flow.tokens()


@pytest.mark.proves("AC-08")
async def test_a_replay_by_anybody_else_ends_nothing(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server).confidential()
        code = await flow.code()
        tokens = (await flow.exchange(code)).json()
        with unchanged(dsn):
            for form in (
                {"code_verifier": "w" * 43},
                {"code_verifier": None},
                {"redirect_uri": f"{CALLBACK}/2"},
                {"client_id": PUBLIC_CLIENT, "client_secret": None},
            ):
                assert error(await flow.exchange(code, **form)) == (400, "invalid_grant")
            answer = await flow.exchange(code, client_secret="wrong")
            assert error(answer) == (401, "invalid_client")
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 200
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.proves("AC-09")
async def test_a_replay_is_noticed_as_long_as_the_grant_lives(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        code = await flow.code()
        tokens = (await flow.exchange(code)).json()
        postgres.query(
            dsn,
            """UPDATE oauth_authorization_codes SET expires_at = expires_at - interval '29 days',
                   used_at = used_at - interval '29 days'""",
        )
        await cleanup.purge(server.db)
        assert error(await flow.exchange(code)) == (400, "invalid_grant")
        assert grant_states(dsn) == ["compromised"]
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 401


@pytest.mark.proves("AC-10")
async def test_of_many_exchanges_at_once_one_wins_and_keeps_what_it_won(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        code = await flow.code()
        lock = "SELECT 1 FROM oauth_authorization_codes FOR UPDATE"
        answers = await race(dsn, lock, *(flow.exchange(code) for _ in range(8)))
        answers.sort(key=lambda answer: answer.status_code)
        winner, *losers = answers
        assert winner.status_code == 200
        assert {error(answer) for answer in losers} == {(400, "invalid_grant")}
        assert grant_states(dsn) == ["active"]
        assert (await flow.call_mcp(winner.json()["access_token"])).status_code == 200
        assert (await flow.refresh(winner.json()["refresh_token"])).status_code == 200


@pytest.mark.proves("AC-11")
async def test_the_scope_of_an_exchange_is_that_of_the_consent(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        for scope in ("extra", "mcp.tools.call extra", "nonsense", '"'):
            answer = await flow.exchange(await flow.code(), scope=scope)
            assert answer.json()["scope"] == "mcp.tools.call"


@pytest.mark.proves("AC-12")
async def test_an_exchange_that_was_cut_off_leaves_nothing(dsn):
    async with proxy(dsn) as network, serving(network.dsn) as server:
        flow = Flow(server)
        code = await flow.code()
        before = state(dsn)
        network.cut_before = b"COMMIT\0"
        answer = await flow.exchange(code)
        assert error(answer) == (503, "temporarily_unavailable")
        assert state(dsn) == before
        assert (await flow.exchange(code)).status_code == 200

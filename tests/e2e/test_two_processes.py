"""Two processes share nothing but the database, and a client cannot tell which of them it met."""

import asyncio
import itertools
import json
from dataclasses import replace

import postgres
import pytest
from e2e.pair import started_pair
from e2e.registering import register
from serving import CALLBACK, CLIENTS, PASSWORD, PUBLIC_CLIENT, USER, Flow
from signing import SIGNING_CLIENT, assertion, proof, signing_client

PATIENT, STRICT, CLUMSY = "patient", "strict", "clumsy"
LIMIT = 6
CONFIGURED = [
    *CLIENTS,
    {"id": PATIENT, "redirect_uris": [CALLBACK], "refresh_reuse_window": "60s"},
    {"id": STRICT, "redirect_uris": [CALLBACK], "refresh_reuse_window": "0s"},
    {"id": CLUMSY, "redirect_uris": [CALLBACK]},
    signing_client(),
]


LATER = """
    UPDATE oauth_authorization_codes SET used_at = used_at - interval '1 minute'
    WHERE used_at IS NOT NULL RETURNING 1
"""


@pytest.fixture(scope="module")
def dsn(cluster, template):
    """The database of both."""
    with postgres.new_database(cluster, template=template) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def pair(dsn, tmp_path_factory):
    """The two, for all tests of this file."""
    sections = {
        "oauth": {"clients": {"configured": CONFIGURED}},
        "limits": {"token": {"failures": LIMIT}},
    }
    with started_pair(tmp_path_factory.mktemp("pair"), dsn, **sections) as pair:
        yield pair


@pytest.fixture(params=[0, 1], ids=["first to second", "second to first"])
def ways(request, pair):
    """Flows through one of them and through the other."""

    def ways(client_id=PUBLIC_CLIENT):
        one, other = (Flow(process, client_id=client_id) for process in pair.processes)
        return (other, one) if request.param else (one, other)

    return ways


def pair_of(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"], answer.json()["refresh_token"]


def error(answer):
    return answer.status_code, answer.json()["error"]


async def works(flow, access_token):
    answer = await flow.call_mcp(access_token)
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


@pytest.mark.parametrize("turn", [0, 1])
async def test_every_step_may_be_at_the_other_process(pair, turn):
    for _ in range(turn):  # Begin with the other one.
        async with pair.http() as http:
            await http.get("/healthz")
    met = pair.balancer.served
    before, flow = len(met), Flow(pair)
    async with pair.browser() as browser:
        await browser.open("/authorize", flow.parameters())
        await browser.log_in(USER, PASSWORD)
        code = (await browser.approve())["code"]
    tokens = pair_of(await flow.exchange(code))
    assert await works(flow, tokens[0])
    assert not await works(flow, tokens[1])
    access, _ = pair_of(await flow.refresh(tokens[1]))
    assert (await flow.call_tool(access)).json()["result"]["content"][0]["text"] == "2"
    places, steps = zip(*met[before:], strict=True)
    assert steps[:7] == (
        "GET /authorize",
        "GET /consent",
        "GET /login",
        "POST /login",
        "GET /consent",
        "POST /authorize/decision",
        "POST /token",
    )
    assert all(place != following for place, following in itertools.pairwise(places))


async def test_what_a_person_unticks_at_one_is_refused_by_the_other_at_the_next_call(ways):
    here, there = ways()
    token = (await here.tokens())["access_token"]
    assert (await there.call_tool(token)).json()["result"]["isError"] is False
    async with here.server.browser() as browser:
        await browser.open("/connections")
        await browser.log_in(USER, PASSWORD)
        for tools in ([], ["calculator"]):
            await browser.submit(0, "save", tool=tools)
            refused = (await there.call_tool(token)).json()["result"]["isError"]
            listed = (await there.call_mcp(token, "tools/list")).json()["result"]["tools"]
            assert (refused, [shown["name"] for shown in listed]) == (not tools, tools)


async def test_a_client_that_registered_at_one_is_known_at_the_other(ways):
    here, there = ways()
    client_id = await register(here.server, "http://127.0.0.1/cb")
    flow = replace(there, client_id=client_id, redirect_uri="http://127.0.0.1:4000/cb")
    tokens = await flow.tokens()
    assert await works(here, tokens["access_token"])


@pytest.mark.proves("CC-02", "CC-05")
async def test_inside_the_window_the_other_process_repeats_the_answer(ways):
    here, there = ways(PATIENT)
    token = (await here.tokens())["refresh_token"]
    first = pair_of(await here.refresh(token))
    assert pair_of(await there.refresh(token)) == first
    assert await works(here, first[0])
    # And with both at once.
    answers = await asyncio.gather(*(flow.refresh(first[1]) for flow in (here, there) * 5))
    assert len({pair_of(answer) for answer in answers}) == 1


@pytest.mark.proves("RF-04", "CC-05")
async def test_without_a_window_reuse_at_the_other_process_ends_the_grant(ways):
    here, there = ways(STRICT)
    token = (await here.tokens())["refresh_token"]
    first = pair_of(await here.refresh(token))
    assert error(await there.refresh(token)) == (400, "invalid_grant")
    for flow in (here, there):
        assert not await works(flow, first[0])
        assert error(await flow.refresh(first[1])) == (400, "invalid_grant")


@pytest.mark.proves("RV-08", "RV-04")
async def test_what_is_revoked_at_one_is_dead_at_the_other_at_the_next_request(ways):
    here, there = ways()
    tokens = await here.tokens()
    assert await works(there, tokens["access_token"])
    assert (await here.post("/revoke", token=tokens["refresh_token"])).status_code == 200
    assert not await works(there, tokens["access_token"])
    assert error(await there.refresh(tokens["refresh_token"])) == (400, "invalid_grant")


@pytest.mark.proves("RV-08", "CC-05")
async def test_under_load_nothing_that_starts_after_the_answer_to_a_revocation_is_accepted(ways):
    # Red when a request may wait for a lookup that was under way before it came.
    here, there = ways()
    ended, kept = [await here.tokens() for _ in range(2)]
    revoked, told = asyncio.Event(), []

    async def keep_calling(flow, tokens):
        request = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        headers = {
            "Authorization": f"Bearer {tokens['access_token']}",
            "MCP-Protocol-Version": "2025-11-25",
        }
        async with flow.server.http(headers=headers) as http:
            lates = 0
            while lates < 5:
                late = revoked.is_set()
                lates += late
                answer = await http.post("/mcp", json=request)
                told.append((tokens is kept, late, answer.status_code))

    async with asyncio.TaskGroup() as group:
        for flow in (here, there):
            for tokens in [ended] * 6 + [kept] * 2:
                group.create_task(keep_calling(flow, tokens))
        while len(told) < 60:
            await asyncio.sleep(0.001)
        assert (await here.post("/revoke", token=ended["refresh_token"])).status_code == 200
        revoked.set()
    seen = set(told)
    assert {status for good, _, status in seen if good} == {200}
    assert (False, False, 200) in seen
    assert {status for good, late, status in seen if late and not good} == {401}


@pytest.mark.proves("AC-07", "CC-05")
async def test_a_code_that_comes_again_at_the_other_process_ends_its_grant(dsn, ways):
    here, there = ways()
    code = await here.code()
    access, refresh = pair_of(await here.exchange(code))
    assert error(await there.exchange(code)) == (400, "invalid_grant")
    assert await works(here, access)  # Who asks twice at once has not lost anything.
    postgres.query(dsn, LATER)
    assert error(await there.exchange(code)) == (400, "invalid_grant")
    assert not await works(here, access)
    assert error(await here.refresh(refresh)) == (400, "invalid_grant")


@pytest.mark.proves("AC-10", "CC-05")
async def test_one_of_many_exchanges_at_both_processes_succeeds(ways):
    here, there = ways()
    code = await here.code()
    answers = await asyncio.gather(*(flow.exchange(code) for flow in (here, there) * 5))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 9


@pytest.mark.proves("CA-14")
async def test_an_assertion_that_was_used_at_one_is_refused_at_the_other(pair, ways):
    here, there = ways(SIGNING_CLIENT)
    used = proof(assertion(pair.url))
    assert (await here.post("/revoke", token="x", **used)).status_code == 200
    assert error(await there.post("/revoke", token="x", **used)) == (401, "invalid_client")
    fresh = proof(assertion(pair.url))
    answers = await asyncio.gather(
        *(flow.post("/revoke", token="x", **fresh) for flow in (here, there) * 3)
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 5


@pytest.mark.proves("RL-04")
async def test_failures_at_both_count_together(dsn, ways):
    here, there = ways(CLUMSY)
    postgres.query(dsn, "DELETE FROM rate_limits RETURNING 1")
    guesses = [await flow.refresh("mcps_rt_guess") for flow in (here, there) * (LIMIT // 2)]
    assert [guess.status_code for guess in guesses] == [400] * LIMIT
    for flow in (here, there):
        assert (await flow.refresh("mcps_rt_guess")).status_code == 429
    # Nobody else is kept out by that.
    assert await works(
        here, (await replace(there, client_id=PUBLIC_CLIENT).tokens())["access_token"]
    )


@pytest.mark.proves("CL-01")
async def test_what_is_spent_is_deleted_once(cluster, template, tmp_path):
    spent = 3000
    with postgres.new_database(cluster, template=template) as dsn:
        postgres.query(
            dsn,
            f"""INSERT INTO rate_limits (digest, failures, expires_at)
                SELECT sha256(n::text::bytea), 1, now() - interval '1 day'
                FROM generate_series(1, {spent}) AS n
                RETURNING 1""",
        )
        cleanup = {"enabled": True, "interval": "1s"}
        with started_pair(tmp_path, dsn, user=False, cleanup=cleanup) as pair:
            async with asyncio.timeout(30):
                while postgres.query(dsn, "SELECT count(*) FROM rate_limits") != [(0,)]:
                    await asyncio.sleep(0.05)
    lines = [json.loads(line) for p in pair.processes for line in p.log.splitlines()]
    assert sum(line.get("rate_limits", 0) for line in lines) == spent
    assert not [line for line in lines if line["level"] in ("warning", "error")]

"""Processes that are killed in the middle of something, and what the other one makes of it."""

import asyncio
import signal
from contextlib import ExitStack, closing

import httpx
import postgres
import psycopg2
import pytest
from e2e.pair import started_pair
from e2e.process import started
from locks import waiting
from serving import CALLBACK, PASSWORD, USER, Flow

PATIENT, STRICT = "patient", "strict"
CLIENTS = [
    {"id": PATIENT, "redirect_uris": [CALLBACK], "refresh_reuse_window": "60s"},
    {"id": STRICT, "redirect_uris": [CALLBACK], "refresh_reuse_window": "0s"},
]
SECTIONS = {"oauth": {"clients": {"configured": CLIENTS}}}
TOGETHER = 30


@pytest.fixture
def pair(dsn, tmp_path):
    """The two of one test."""
    with started_pair(tmp_path, dsn, **SECTIONS) as pair:
        yield pair


def kill(process):
    """End a process as a machine does that loses its power."""
    process.signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def tokens_of(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"], answer.json()["refresh_token"]


def states(dsn):
    return [state for (state,) in postgres.query(dsn, "SELECT state FROM mcp_sessions")]


async def until_lost(request):
    """Return the answer, or nothing if the server was gone before it came."""
    try:
        return await request
    except httpx.TransportError:
        return None


async def test_whoever_is_in_the_middle_goes_on_after_both_were_killed(pair):
    running = list(pair.processes)
    with ExitStack() as stack:

        def restart():
            for process in running:
                kill(process)
            running[:] = [stack.enter_context(started(process.config)) for process in running]

        flow = Flow(pair, client_id=STRICT)
        async with pair.browser() as browser:
            await browser.open("/authorize", flow.parameters())
            restart()
            await browser.log_in(USER, PASSWORD)
            code = (await browser.approve())["code"]
        _, refresh = tokens_of(await flow.exchange(code))
        restart()
        access, _ = tokens_of(await flow.refresh(refresh))
        assert (await flow.call_mcp(access)).status_code == 200
        assert (await flow.exchange(code)).status_code == 400


@pytest.mark.proves("CC-02", "CC-05", "CC-08")
async def test_refreshes_that_die_with_a_process_cost_nobody_the_grant(dsn, pair):
    doomed, other = pair.processes
    flow, spare = Flow(pair, client_id=PATIENT), Flow(other, client_id=PATIENT)
    tokens = [(await flow.tokens())["refresh_token"] for _ in range(3)]
    requests = [
        asyncio.create_task(until_lost(flow.refresh(token)))
        for _ in range(TOGETHER // len(tokens))
        for token in tokens
    ]
    # Some are done by now, some are in the database, and some have not come that far.
    await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
    kill(doomed)
    pair.balancer.addresses.remove(doomed.address)
    answers = await asyncio.gather(*requests)
    assert None in answers
    for number, token in enumerate(tokens):
        told = {tokens_of(a) for a in answers[number :: len(tokens)] if a is not None}
        again = tokens_of(await spare.refresh(token))
        assert told <= {again}
        assert (await spare.call_mcp(again[0])).status_code == 200
        tokens_of(await spare.refresh(again[1]))
    assert states(dsn) == ["active"] * len(tokens)


@pytest.mark.proves("CC-08", "RF-04")
@pytest.mark.parametrize("written", [False, True])
async def test_without_a_window_only_a_refresh_that_was_written_costs_the_grant(dsn, pair, written):
    doomed, other = (Flow(process, client_id=STRICT) for process in pair.processes)
    token = (await other.tokens())["refresh_token"]
    if written:
        tokens_of(await doomed.refresh(token))
        kill(doomed.server)
    else:
        with closing(psycopg2.connect(dsn)) as blocker, blocker.cursor() as cursor:
            cursor.execute("SELECT FROM mcp_sessions FOR UPDATE")
            lost = asyncio.create_task(until_lost(doomed.refresh(token)))
            await waiting(dsn, 1)
            kill(doomed.server)
            assert await lost is None
    again = await other.refresh(token)
    assert (again.status_code, states(dsn)) == (
        (400, ["compromised"]) if written else (200, ["active"])
    )

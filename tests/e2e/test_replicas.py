"""Replicas behind HAProxy and pgbouncer share only the database, and every request may change."""

import asyncio
import contextlib
import itertools
import json
import signal

import postgres
import pytest
import wheels
import yaml
from e2e import replicas
from e2e.process import end, invoke, open_folder, started, until
from e2e.registering import register
from mcp_client import McpClient, events
from serving import CALLBACK, CLIENTS, PASSWORD, USER, Flow

from mcpserve import notices
from mcpserve.db import Database

STRICT, PATIENT, CLUMSY = "strict", "patient", "clumsy"
LIMIT = 6
FEW = {"failures": LIMIT}
CONFIGURED = [
    *CLIENTS,
    {"id": STRICT, "redirect_uris": [CALLBACK], "refresh_reuse_window": "0s"},
    {"id": PATIENT, "redirect_uris": [CALLBACK], "refresh_reuse_window": "60s"},
    {"id": CLUMSY, "redirect_uris": [CALLBACK]},
]
STREAMS = '''
from mcpserve import ToolContext, hookimpl, tool

@tool
async def count(ctx: ToolContext) -> int:
    """Report three steps."""
    for step in range(3):
        await ctx.progress(step + 1, 3)
    return 3

@hookimpl
def mcpserve_tools():
    return [count]
'''
SPENT = 3000
INSERT_SPENT = f"""
    INSERT INTO rate_limits (digest, failures, expires_at)
    SELECT sha256(n::text::bytea), 1, now() - interval '1 day' FROM generate_series(1, {SPENT}) AS n
"""
USED_KEYS = f"""
    SELECT key_id FROM oauth_refresh_tokens t JOIN mcp_sessions s ON s.id = t.session_id
    WHERE s.client_id = '{PATIENT}' AND key_id IS NOT NULL ORDER BY rotated_at
"""
REMAINING = "SELECT count(*) FROM rate_limits WHERE expires_at < now()"
ERAS = pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])


@pytest.fixture(scope="module")
def dsn(cluster, template):
    """The database of both, past pgbouncer."""
    with postgres.new_database(cluster, template=template) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def site(dsn, tmp_path_factory):
    """The replicas, for all tests of this file."""
    replicas.require_programs()
    folder = tmp_path_factory.mktemp("wheels")
    wheel = wheels.write(folder, "streams", "1.0", plugins=["streams"], source=STREAMS)
    wheels.unpack(wheel, folder / "plugins")
    with replicas.site(
        dsn,
        folder / "plugins",
        oauth={"clients": {"configured": CONFIGURED}},
        limits={"token": FEW, "login": FEW},
        cleanup={"enabled": True, "interval": "1s"},
        plugins={"calculator": {}, "streams": {}},
    ) as site:
        yield site


def pair_of(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"], answer.json()["refresh_token"]


def error(answer):
    return answer.status_code, answer.json()["error"]


async def works(flow, access_token):
    answer = await flow.call_mcp(access_token)
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


def lines_of(process):
    return [json.loads(line) for line in process.log.splitlines()]


@pytest.mark.proves("CC-05", "RV-08", "RF-04")
@pytest.mark.parametrize("turn", [0, 1])
async def test_each_request_of_a_login_and_what_follows_it_meets_the_other_replica(site, turn):
    async with site.http() as http:
        for _ in range(turn):  # Begin with the other one.
            await http.get("/healthz")
        before = len(site.served)
        described = await http.get("/.well-known/oauth-protected-resource/mcp")
        assert described.json() == {**described.json(), "resource": site.resource}
        metadata = (await http.get("/.well-known/oauth-authorization-server")).json()
        assert metadata["issuer"] == site.url
    client_id = await register(site, "http://127.0.0.1/cb")
    flow = Flow(site, client_id=client_id, redirect_uri="http://127.0.0.1:4000/cb")
    async with site.browser() as browser:
        await browser.open("/authorize", flow.parameters())
        assert (await browser.log_in(USER, "wrong battery staple")).status_code == 401
        await browser.log_in(USER, PASSWORD)
        code = (await browser.approve())["code"]
    first = pair_of(await flow.exchange(code))
    assert await works(flow, first[0])
    second = pair_of(await flow.refresh(first[1]))
    assert [await works(flow, second[0]) for _ in range(2)] == [True, True]
    third = pair_of(await flow.refresh(second[1]))
    # The oldest comes again: somebody has a copy.
    assert error(await flow.refresh(first[1])) == (400, "invalid_grant")
    assert [await works(flow, token) for token in (first[0], second[0], third[0])] == [False] * 3
    assert error(await flow.refresh(third[1])) == (400, "invalid_grant")
    # Without this, what HAProxy writes may not be there yet.
    until(lambda: len(site.served) >= before + 21)
    names, steps = zip(*site.served[before:], strict=True)
    assert steps == (
        "GET /.well-known/oauth-protected-resource/mcp",
        "GET /.well-known/oauth-authorization-server",
        "POST /register",
        "GET /authorize",
        "GET /consent",
        "GET /login",
        "POST /login",
        "POST /login",
        "GET /consent",
        "POST /authorize/decision",
        "POST /token",
        "POST /mcp",
        "POST /token",
        "POST /mcp",
        "POST /mcp",
        "POST /token",
        "POST /token",
        "POST /mcp",
        "POST /mcp",
        "POST /mcp",
        "POST /token",
    )
    assert all(name != following for name, following in itertools.pairwise(names))


@ERAS
@pytest.mark.proves("RV-08", "RV-04")
async def test_what_is_revoked_is_refused_by_the_other_replica_at_its_very_next_request(
    site, modern
):
    flow = Flow(site)
    tokens = await flow.tokens()
    client = McpClient(site, tokens["access_token"], modern)
    for _ in range(4):  # Both have seen it, and would remember it if they remembered anything.
        answer = await client.call("calculator", expression="1 + 1")
        assert answer.json()["result"]["content"][0]["text"] == "2"
    before = len(site.served)
    assert (await flow.post("/revoke", token=tokens["refresh_token"])).status_code == 200
    assert [(await client.call("calculator")).status_code for _ in range(2)] == [401, 401]
    until(lambda: len(site.served) >= before + 3)
    revoked, first, second = [name for name, _ in site.served[before:]]
    assert (first, second) == ({"one": "two", "two": "one"}[revoked], revoked)


@ERAS
async def test_event_streams_come_through_step_by_step_from_both_replicas(site, modern):
    token = (await Flow(site).tokens())["access_token"]
    client = McpClient(site, token, modern)
    for _ in range(2):
        *steps, answer = events(await client.call("count", 7))
        assert [step["params"]["progress"] for step in steps] == [1, 2, 3]
        assert answer["result"]["content"][0]["text"] == "3"


@pytest.mark.proves("RL-04")
async def test_failures_count_over_both_and_only_for_the_address_that_haproxy_saw(site):
    flow = Flow(site, client_id=CLUMSY)
    form = {"grant_type": "refresh_token", "refresh_token": "mcps_rt_guess", "client_id": CLUMSY}

    async def guess(source, claimed):
        async with site.http(source=source, headers={"X-Forwarded-For": claimed}) as http:
            return (await http.post("/token", data=form)).status_code

    claims = [f"192.0.2.{number}" for number in range(LIMIT + 2)]
    statuses = [await guess("127.0.0.2", claimed) for claimed in claims]
    assert statuses == [400] * LIMIT + [429] * 2
    assert await guess("127.0.0.3", "127.0.0.2") == 400
    assert await works(flow, (await flow.tokens())["access_token"])
    told = [line for each in site.replicas for line in lines_of(each)]
    seen = {line.get("from") for line in told if line["message"] == "POST /token 429"}
    assert seen == {"127.0.0.2"}


@pytest.mark.proves("RL-04", "LG-07")
async def test_wrong_passwords_count_over_both(site):
    async with site.browser() as browser:
        await browser.open("/authorize", Flow(site).parameters())
        statuses = [(await browser.log_in("bob", "wrong")).status_code for _ in range(LIMIT + 1)]
    assert statuses == [401] * LIMIT + [429]


@pytest.mark.proves("CC-02", "CC-05")
async def test_a_new_key_is_used_by_both_at_once_and_the_old_one_still_repeats(site, dsn):
    flow = Flow(site, client_id=PATIENT)
    token = (await flow.tokens())["refresh_token"]
    first = pair_of(await flow.refresh(token))
    added = await asyncio.to_thread(invoke, site.replicas[0].config, "key", "add")
    assert added.exit_code == 0, added.stderr
    assert [pair_of(await flow.refresh(token)) for _ in range(2)] == [first] * 2
    for _ in site.replicas:
        other = (await flow.tokens())["refresh_token"]
        pair_of(await flow.refresh(other))
    old, *new = [key_id for (key_id,) in postgres.query(dsn, USED_KEYS)]
    assert old != new[0] == new[1]
    assert new[0] in added.stdout


@pytest.mark.proves("CL-01")
async def test_what_is_spent_is_deleted_once_though_all_clean_up_at_once(site, dsn):
    logged = [len(lines_of(each)) for each in site.replicas]
    postgres.query(dsn, INSERT_SPENT)
    by_hand = await asyncio.to_thread(invoke, site.replicas[0].config, "cleanup")
    assert by_hand.exit_code == 0, by_hand.stderr
    async with asyncio.timeout(30):
        while postgres.query(dsn, REMAINING) != [(0,)]:
            await asyncio.sleep(0.05)
    lines = [
        line
        for each, start in zip(site.replicas, logged, strict=True)
        for line in lines_of(each)[start:]
    ]
    assert sum(line.get("rate_limits", 0) for line in lines) <= SPENT
    assert not [line for line in lines if line["level"] in ("warning", "error")]


async def test_many_at_once_share_the_connections_of_pgbouncer(site, dsn):
    flow = Flow(site)
    token = (await flow.tokens())["access_token"]
    answers = await asyncio.gather(*(flow.call_tool(token) for _ in range(40)))
    assert {answer.json()["result"]["content"][0]["text"] for answer in answers} == {"2"}
    assert len(postgres.backends(dsn)) <= replicas.POOL


async def test_no_statement_leaves_anything_behind_in_a_session_of_pgbouncer(site, dsn):
    await Flow(site).tokens()
    # What a server listened to, to find that it hears nothing, is a name that nobody uses again.
    left = """
        SELECT current_setting('statement_timeout') AS statement_timeout,
               current_setting('lock_timeout') AS lock_timeout,
               (SELECT count(*) FROM pg_prepared_statements) AS prepared,
               (SELECT count(*) FROM pg_listening_channels() AS channel
                WHERE channel NOT LIKE 'mcpserve_echo_%') AS channels"""
    async with Database.connect(site.pooled) as db, asyncio.TaskGroup() as group:
        tasks = [group.create_task(db.row(left)) for _ in range(40)]
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    assert {tuple(task.result()) for task in tasks} == {("0", "0", 0, 0)}
    assert postgres.query(dsn, locks) == [(0,)]


async def test_commands_cannot_be_heard_which_is_said_once_and_a_signal_does_the_same(
    site, monkeypatch
):
    monkeypatch.setattr(notices, "ECHO_TIMEOUT", 0.3)
    for command in ("reload", "plan"):
        refused = await asyncio.to_thread(invoke, site.replicas[0].config, command)
        assert refused.exit_code == 2, refused.output
        assert refused.stderr.startswith("error: database.url: there is a pool of transactions")
        assert "SIGHUP" in refused.stderr
    for each in site.replicas:
        warned = [line["message"] for line in lines_of(each) if "database.url" in line["message"]]
        assert len(warned) == 1
        settings = yaml.safe_load(each.config.read_text())
        each.config.write_text(yaml.safe_dump({**settings, "mcp": {"name": "renamed"}}))
        each.signal(signal.SIGHUP)
        until(lambda each=each: "reloaded, generation 2" in each.log)


@pytest.fixture
def session_pool(dsn):
    replicas.require_programs()
    with open_folder() as folder, replicas.pgbouncer(folder, dsn, mode="session") as pooled:
        yield pooled


async def test_a_pool_of_sessions_lets_commands_be_heard(session_pool):
    async with (
        Database.connect(session_pool) as db,
        contextlib.aclosing(db.notices("news")) as heard,
    ):
        assert await anext(heard) is None
        await db.notify("news", "hello")
        assert await anext(heard) == "hello"


async def test_a_replica_that_stops_and_one_that_comes_cost_no_request(site):
    # The last test: one of the two is another process afterwards.
    flow, leaving = Flow(site), site.replicas[1]
    token = (await flow.tokens())["access_token"]
    over, statuses = asyncio.Event(), []

    async def keep_calling():
        while not over.is_set():
            statuses.append((await flow.call_tool(token)).status_code)

    def served(name):
        return sum(at == name for at, _ in site.served)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(keep_calling())
        await asyncio.to_thread(end, leaving.popen)
        before = served("two")
        with contextlib.ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, started(leaving.config))
            await asyncio.to_thread(until, lambda: served("two") > before)
            over.set()
    assert leaving.wait() == 0
    assert set(statuses) == {200}

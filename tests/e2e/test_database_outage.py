"""Without the database: 503 for everybody, nothing half-written, and no restart needed after."""

import asyncio
from contextlib import closing

import postgres
import psycopg2
import pytest
from locks import waiting
from postgres_proxy import proxy
from serving import Flow, serving
from tables import unchanged

LOCK = "SELECT 1 FROM mcp_sessions FOR UPDATE"


def check_unavailable(answer):
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["cache-control"] == "no-store"
    # Either would make a client throw away its tokens or start a login.
    assert "www-authenticate" not in answer.headers
    assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.proves("TR-14")
async def test_connections_that_died_while_idle_cost_no_request(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        tokens = await flow.tokens()
        await asyncio.gather(*(server.db.row("SELECT pg_sleep(0.05)") for _ in range(3)))
        assert len(postgres.backends(dsn)) > 1
        code = await flow.code()
        postgres.hang_up_on_everybody_else(dsn)
        assert (await flow.exchange(code)).status_code == 200
        postgres.hang_up_on_everybody_else(dsn)
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200
        postgres.hang_up_on_everybody_else(dsn)
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 200
        postgres.hang_up_on_everybody_else(dsn)
        revoked = await flow.post("/revoke", token=tokens["refresh_token"])
        assert revoked.status_code == 200
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 401


@pytest.mark.proves("TR-14")
async def test_a_connection_that_dies_inside_a_transaction_leaves_nothing(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        tokens = await flow.tokens()
        with unchanged(dsn), closing(psycopg2.connect(dsn)) as blocker:
            with blocker.cursor() as cursor:
                cursor.execute(LOCK)
            requests = [
                asyncio.create_task(flow.refresh(tokens["refresh_token"])),
                asyncio.create_task(flow.post("/revoke", token=tokens["refresh_token"])),
            ]
            await waiting(dsn, 2)
            postgres.query(
                dsn,
                """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'""",
            )
            for answer in await asyncio.gather(*requests):
                check_unavailable(answer)
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.proves("TR-14", "RV-09")
async def test_programs_are_told_to_come_back(dsn):
    async with proxy(dsn) as network, serving(network.dsn) as server, server.http() as http:
        flow, confidential = Flow(server), Flow(server).confidential()
        code, tokens = await flow.code(), await flow.tokens()
        with unchanged(dsn):
            await network.stop()
            check_unavailable(await flow.exchange(code))
            check_unavailable(await flow.refresh(tokens["refresh_token"]))
            check_unavailable(await confidential.exchange(code))
            check_unavailable(await confidential.token(client_secret="wrong"))
            check_unavailable(await flow.post("/token", client_id=None))  # to be counted
            check_unavailable(await flow.post("/revoke", token=tokens["refresh_token"]))
            check_unavailable(await flow.call_mcp(tokens["access_token"]))
            as_json = {"Accept": "application/json"}
            authorize = http.get("/authorize", params=flow.parameters(), headers=as_json)
            check_unavailable(await authorize)
        await network.start()
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 200
        assert (await flow.exchange(code)).status_code == 200
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.proves("TR-14", "AZ-R11")
async def test_people_are_shown_a_page(dsn):
    async with proxy(dsn) as network, serving(network.dsn) as server, server.browser() as browser:
        flow = Flow(server)
        await browser.open("/authorize", flow.parameters())
        login = browser.shown.url
        await network.stop()
        pages = [
            await browser.log_in("alice", "x"),
            await browser.open(str(login)),
            await browser.open("/authorize", flow.parameters()),
            await browser.open("/consent", {"request": "x"}),
        ]
        for page in pages:
            assert page.status_code == 503
            assert int(page.headers["retry-after"]) > 0
            assert page.headers["content-type"].startswith("text/html")
            assert page.headers["cache-control"] == "no-store"
            assert "Not available right now" in page.text
            assert "psycopg2" not in page.text
        await network.start()
        await browser.open(str(login))
        await browser.log_in("alice", "correct horse battery")
        assert (await flow.exchange((await browser.approve())["code"])).status_code == 200


async def test_what_needs_no_database_goes_on(dsn):
    async with proxy(dsn) as network, serving(network.dsn) as server, server.http() as http:
        assert (await http.get("/readyz")).status_code == 200
        await network.stop()
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/.well-known/oauth-authorization-server")).status_code == 200
        assert (await http.post("/mcp", json={})).status_code == 401
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["database"]) == (503, "unavailable")
        await network.start()
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["database"]) == (200, "ok")


@pytest.mark.proves("TR-14", "CC-08")
async def test_a_lock_or_a_connection_that_is_not_freed_in_time_is_given_up(dsn):
    one_connection = {"database": {"pool_size": 1}}
    async with serving(dsn) as server, serving(dsn, one_connection, with_user=False) as full:
        flow = Flow(server)
        tokens = await flow.tokens()
        with unchanged(dsn):
            async with full.db.transaction() as tx:
                await tx.execute(LOCK)
                answers = await asyncio.gather(
                    flow.refresh(tokens["refresh_token"]),
                    Flow(full).call_mcp(tokens["access_token"]),
                )
        for answer in answers:
            check_unavailable(answer)
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200
        assert (await Flow(full).call_mcp(tokens["access_token"])).status_code == 401


@pytest.mark.proves("TR-14", "RV-09")
async def test_a_primary_that_became_a_standby_is_not_written_to(dsn, cluster):
    async with serving(dsn) as server:
        flow = Flow(server)
        code, tokens = await flow.code(), await flow.tokens()
        name = postgres.query(dsn, "SELECT current_database()")[0][0]
        switch = f"ALTER DATABASE {name} SET default_transaction_read_only = "
        postgres.query(cluster, switch + "on")
        postgres.hang_up_on_everybody_else(dsn)
        with unchanged(dsn):
            check_unavailable(await flow.exchange(code))
            check_unavailable(await flow.refresh(tokens["refresh_token"]))
            check_unavailable(await flow.post("/revoke", token=tokens["refresh_token"]))
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 200
        postgres.query(cluster, switch + "off")
        postgres.hang_up_on_everybody_else(dsn)
        assert (await flow.exchange(code)).status_code == 200
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200


FAILURES = {
    "deadlock": "40P01",
    "serialization": "40001",
    "disk full": "53100",
    "out of memory": "53200",
    "cancelled": "57014",
    "shutting down": "57P01",
    "broken disk": "58030",
    "read-only": "25006",
    "internal error": "XX000",
    "corrupted": "XX001",
}
FAIL = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'it fails' USING ERRCODE = '{code}'; END $$;
CREATE CONSTRAINT TRIGGER fails AFTER INSERT ON oauth_access_tokens {when}
    FOR EACH ROW EXECUTE FUNCTION fail();
"""


@pytest.mark.proves("TR-14", "AC-12")
@pytest.mark.parametrize("when", ["", "DEFERRABLE INITIALLY DEFERRED"], ids=["", "at COMMIT"])
@pytest.mark.parametrize("failure", FAILURES)
async def test_whatever_the_database_fails_with_is_no_refusal(dsn, failure, when):
    async with serving(dsn, {"oauth": {"refresh_reuse_window": "30s"}}) as server:
        flow = Flow(server)
        code, tokens = await flow.code(), await flow.tokens()
        with unchanged(dsn):
            postgres.query(dsn, FAIL.format(code=FAILURES[failure], when=when))
            check_unavailable(await flow.exchange(code))
            check_unavailable(await flow.refresh(tokens["refresh_token"]))
            postgres.query(dsn, "DROP FUNCTION fail CASCADE")
        assert (await flow.exchange(code)).status_code == 200
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.proves("TR-14", "CC-08")
@pytest.mark.parametrize(
    "lock",
    [
        "LOCK TABLE oauth_authorization_codes, mcp_sessions",
        "SELECT 1 FROM oauth_authorization_codes FOR UPDATE; " + LOCK,
        "SELECT 1 FROM oauth_authorization_codes FOR UPDATE; SELECT 1 FROM server_keys FOR UPDATE",
    ],
    ids=["tables", "rows", "code and key"],
)
async def test_neither_code_nor_token_is_spent_by_waiting_for_a_lock(dsn, lock):
    async with serving(dsn, {"oauth": {"refresh_reuse_window": "30s"}}) as server:
        flow = Flow(server)
        code, tokens = await flow.code(), await flow.tokens()
        with unchanged(dsn), closing(psycopg2.connect(dsn)) as blocker:
            with blocker.cursor() as cursor:
                cursor.execute(lock)
            for answer in await asyncio.gather(
                flow.exchange(code), flow.refresh(tokens["refresh_token"])
            ):
                check_unavailable(answer)
            blocker.rollback()
        assert (await flow.exchange(code)).status_code == 200
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.proves("TR-14")
async def test_without_a_free_connection_nothing_is_refused(dsn):
    settings = {"database": {"pool_size": 1}, "server": {"public_url": "http://localhost:3000"}}
    async with (
        serving(dsn, settings) as server,
        serving(dsn, settings, with_user=False) as full,
    ):
        code, tokens = await Flow(server).code(), await Flow(server).tokens()
        with unchanged(dsn):
            async with full.db.transaction():
                answers = await asyncio.gather(
                    Flow(full).exchange(code), Flow(full).refresh(tokens["refresh_token"])
                )
        for answer in answers:
            check_unavailable(answer)
        assert (await Flow(full).exchange(code)).status_code == 200
        assert (await Flow(full).refresh(tokens["refresh_token"])).status_code == 200

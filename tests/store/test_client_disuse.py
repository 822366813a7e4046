"""Clients that nobody here keeps go when nobody uses them: exactly those, and from under nobody."""

import asyncio
from datetime import timedelta

import pytest
from store import acts, lab
from store.checks import (
    deadlocks,
    is_kept,
    one_client_exchanges_many_codes,
    whoever_began_is_not_forgotten,
)
from store.interleave import Watched, ended_or_blocked
from store.naive import GATE

from mcpserve.errors import PageError
from mcpserve.oauth.store import cleanup, clients
from mcpserve.settings import RegistrationSettings, Settings

DAY = 24 * 60 * 60
# What keeps a client: what is left of it, and what the row says.
LEFT = {
    "a grant": """INSERT INTO mcp_sessions
        (client_id, user_id, scopes, resource, auth_time, expires_at, state, ended_at)
        SELECT 'client-0', id, '{a}', 'r', clock_timestamp(),
               clock_timestamp() - interval '1 day', 'revoked', clock_timestamp() FROM users""",
    "a code": """INSERT INTO oauth_authorization_codes
        (digest, client_id, user_id, redirect_uri, scopes, resource, code_challenge, auth_time,
         expires_at)
        SELECT sha256('c'::bytea), 'client-0', id, 'u', '{a}', 'r', repeat('c', 43),
               clock_timestamp(), clock_timestamp() + interval '1 minute' FROM users""",
    "a request": """INSERT INTO authorization_requests
        (digest, browser_session_id, client_id, redirect_uri, scopes, resource, code_challenge,
         expires_at)
        SELECT sha256('r'::bytea), id, 'client-0', 'u', '{a}', 'r', repeat('c', 43),
               clock_timestamp() + interval '1 minute' FROM browser_sessions""",
}
KEPT = {
    "configured": "origin = 'config'",
    "added by command": "origin = 'cli'",
    "disabled": "disabled_at = clock_timestamp()",
}


async def settle(db, **ages):
    """Let times of the client be so many seconds ago."""
    for column, seconds in ages.items():
        await db.execute(
            f"UPDATE oauth_clients SET {column} = clock_timestamp() - %(age)s",
            age=timedelta(seconds=seconds),
        )


async def left(db):
    """Return how many clients there are."""
    return (await db.one("SELECT count(*) AS n FROM oauth_clients")).n


@pytest.mark.proves("DC-08", "CL-02")
@pytest.mark.parametrize("origin", ["registration", "metadata_document"])
@pytest.mark.parametrize(("column", "kept"), [("created_at", DAY), ("last_used_at", 90 * DAY)])
async def test_a_client_that_nobody_uses_goes_to_the_second(dsn, origin, column, kept):
    digest = "sha256('d'::bytea)" if origin == "metadata_document" else "NULL"
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await acts.leave_client(db)
        await db.execute(
            f"UPDATE oauth_clients SET origin = '{origin}', document_digest = {digest}"
        )
        await settle(db, **({"created_at": 400 * DAY} | {column: kept - 2}))
        assert (await cleanup.purge(db))["oauth_clients"] == 0
        await settle(db, **{column: kept + 1})
        assert (await cleanup.purge(db))["oauth_clients"] == 1
        assert await left(db) == 0
        event = await db.one("SELECT * FROM auth_events WHERE event = 'client.deleted'")
        assert (event.client_id, event.details["origin"]) == ("client-0", origin)
        assert event.details["ever_used"] is (column == "last_used_at")


@pytest.mark.proves("DC-08")
async def test_the_settings_say_how_long(dsn):
    registration = {"unused_lifetime": "1h", "idle_lifetime": "2d"}
    settings = Settings.model_validate({"oauth": {"clients": {"registration": registration}}})
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(2))
        for number in range(2):
            await acts.leave_client(db, number)
        await settle(db, created_at=2 * 60 * 60)
        await db.execute(
            """UPDATE oauth_clients SET last_used_at = clock_timestamp() - interval '47 hours'
               WHERE client_id = 'client-1'"""
        )
        assert (await cleanup.purge(db, settings))["oauth_clients"] == 1
        assert (await clients.find(db, "client-1")) is not None
        await settle(db, last_used_at=3 * DAY)
        assert (await cleanup.purge(db, settings))["oauth_clients"] == 1


@pytest.mark.proves("DC-08")
@pytest.mark.parametrize("what", LEFT)
async def test_a_client_of_which_something_is_left_stays(dsn, what):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await acts.leave_client(db)
        await db.execute(LEFT[what])
        assert (await cleanup.purge(db))["oauth_clients"] == 0
        await acts.leave_client(db)
        assert (await cleanup.purge(db))["oauth_clients"] == 1


@pytest.mark.proves("DC-08")
@pytest.mark.parametrize("what", KEPT)
async def test_a_client_that_somebody_decided_about_stays(dsn, what):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await acts.leave_client(db)
        await db.execute(f"UPDATE oauth_clients SET {KEPT[what]}")
        assert (await cleanup.purge(db))["oauth_clients"] == 0
        assert await left(db) == 1


@pytest.mark.proves("CL-01")
async def test_many_clients_go_in_batches(dsn):
    numbers = range(2 * clients.BATCH + 1)
    async with lab.opened(dsn) as db:
        await lab.populate(db, numbers)
        for table in ("mcp_sessions", "oauth_authorization_codes", "authorization_requests"):
            await db.execute(f"DELETE FROM {table}")
        await db.execute("UPDATE oauth_clients SET origin = 'registration'")
        await settle(db, created_at=2 * DAY)
        assert await acts.delete_clients(db) == {"oauth_clients": clients.BATCH}
        assert await left(db) == clients.BATCH + 1
        assert (await cleanup.purge(db))["oauth_clients"] == clients.BATCH + 1
        assert await left(db) == 0


@pytest.mark.proves("DC-08", "CL-03")
async def test_a_login_that_begins_is_kept_or_refused_but_never_forgotten(dsn):
    async with lab.opened(dsn) as db:
        asked = await whoever_began_is_not_forgotten(db, acts.delete_clients)
    # Both happened, so there was a race.
    assert {type(result) for result in asked} == {str, PageError}
    assert deadlocks(dsn) == 0


class Gated(Watched):
    """A transaction in which looking for clients waits at a gate, after it began to look."""

    async def _statement(self, sql, params, read):
        looks = f"(SELECT pg_advisory_xact_lock({GATE})::text) = '' AND disabled_at IS NULL"
        gated = sql.replace("disabled_at IS NULL", looks) if "SKIP LOCKED" in sql else sql
        return await super()._statement(gated, params, read)


async def pass_by(*_):
    """Watch nothing."""


@pytest.mark.proves("DC-08", "CL-03")
async def test_a_login_that_begins_while_clients_are_looked_for_is_kept(dsn):
    # In one statement this is lost: test_naive_is_red.py.
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await acts.leave_client(db)
        async with db.transaction() as gate, db.transaction() as tx:
            await gate.execute(f"SELECT pg_advisory_xact_lock({GATE})")
            deletion = asyncio.create_task(
                cleanup.delete_clients(Gated(tx, pass_by), RegistrationSettings())
            )
            await ended_or_blocked(db, deletion)
            assert not deletion.done()
            request_id = await acts.ask(db)
            # Opens the gate.
            await gate.execute("ROLLBACK AND CHAIN")
            assert await deletion == {"oauth_clients": 0}
        assert await is_kept(db, request_id)


@pytest.mark.proves("DC-08", "CL-03")
async def test_a_client_with_which_a_login_is_being_kept_is_left_to_the_next_run(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await acts.leave_client(db)
        async with db.transaction() as tx:
            await tx.execute(LEFT["a request"])
            # Whoever waited for the lock would then delete what it had not seen.
            async with asyncio.timeout(5):
                assert await acts.delete_clients(db) == {"oauth_clients": 0}
        assert (await clients.find(db, "client-0")) is not None


@pytest.mark.proves("DC-08")
async def test_an_exchange_makes_a_client_a_used_one(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        assert (await clients.find(db, "client-0")).last_used_at is None
        await acts.exchange(db)
        first = (await clients.find(db, "client-0")).last_used_at
        assert first is not None
        await acts.refresh(db)
        assert (await clients.find(db, "client-0")).last_used_at == first


@pytest.mark.proves("CC-04")
async def test_the_people_of_one_client_do_not_wait_for_each_other_forever(dsn):
    async with lab.opened(dsn) as db:
        await one_client_exchanges_many_codes(db)
    assert deadlocks(dsn) == 0

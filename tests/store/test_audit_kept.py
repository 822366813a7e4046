"""The record only grows: nobody changes it, and only what is old goes."""

from contextlib import closing
from datetime import timedelta

import psycopg2
import pytest
from postgres import query
from store import acts, lab
from store.events import old, recorded

from mcpserve.oauth.store import cleanup
from mcpserve.settings import CleanupSettings, Settings

LAST_MONTH = f"{old(days=29)}; {old('login.succeeded', days=31)}"


@pytest.mark.proves("AD-03")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE auth_events SET network = '192.0.2.2'",
        "UPDATE auth_events SET at = at - interval '1 year'",
        "UPDATE auth_events SET details = '{}' WHERE event = 'login.succeeded'",
        "DELETE FROM auth_events",
        "DELETE FROM auth_events WHERE event = 'login.failed'",
        "TRUNCATE auth_events",
        "WITH gone AS (DELETE FROM auth_events RETURNING 1) SELECT count(*) FROM gone",
        """INSERT INTO auth_events (id, event) OVERRIDING SYSTEM VALUE SELECT min(id), 'x'
           FROM auth_events ON CONFLICT (id) DO UPDATE SET event = excluded.event""",
    ],
)
def test_even_the_owner_of_the_table_cannot_change_it(dsn, statement):
    query(dsn, LAST_MONTH)
    before = query(dsn, "SELECT * FROM auth_events ORDER BY id")
    assert query(
        dsn, "SELECT tableowner = current_user FROM pg_tables WHERE tablename LIKE 'auth%'"
    )
    with pytest.raises(psycopg2.errors.RaiseException, match="never changed"):
        query(dsn, statement)
    assert query(dsn, "SELECT * FROM auth_events ORDER BY id") == before


@pytest.mark.proves("AD-03")
async def test_an_event_goes_when_it_is_older_than_it_is_kept_and_no_sooner(dsn):
    for days in (364, 366):
        query(dsn, old(days=days))
    async with lab.opened(dsn) as db:
        assert (await cleanup.purge(db))["auth_events"] == 1
        assert len(recorded(dsn)) == 1
        short = Settings(cleanup=CleanupSettings(events_kept=timedelta(days=30)))
        assert (await cleanup.purge(db, short))["auth_events"] == 1
        assert (await cleanup.purge(db, short))["auth_events"] == 0


@pytest.mark.proves("AD-03")
async def test_cleanup_at_the_shortest_time_leaves_what_must_stay(dsn):
    query(dsn, LAST_MONTH)
    short = Settings(cleanup=CleanupSettings(events_kept=timedelta(days=30)))
    async with lab.opened(dsn) as db:
        assert (await cleanup.purge(db, short))["auth_events"] == 1
    assert recorded(dsn) == [("login.failed", {})]


async def test_many_old_events_go_in_batches(dsn):
    query(
        dsn,
        f"""{old(days=400)};
            INSERT INTO auth_events (at, event) SELECT at, event FROM auth_events,
                generate_series(1, 2500)""",
    )
    async with lab.opened(dsn) as db:
        assert (await cleanup.purge(db))["auth_events"] == 2501


async def test_the_story_outlives_the_grant(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await acts.refresh(db)
        await acts.make_old(db)
        assert (await cleanup.purge(db))["mcp_sessions"] == 1
    assert recorded(dsn) == [("token.refreshed", {})]


def test_the_index_serves_the_cleanup_and_the_story(dsn):
    # As many as a busy server writes in a day.
    query(
        dsn,
        """INSERT INTO auth_events (event, grant_id, client_id)
           SELECT 'token.refreshed', gen_random_uuid(), 'c' FROM generate_series(1, 20000)""",
    )
    query(dsn, "ANALYZE auth_events")
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        for condition, index in (
            ("at < statement_timestamp() - interval '365 days' ORDER BY at LIMIT 1000", "_at"),
            (
                "grant_id BETWEEN '0b6f0000-0000-0000-0000-000000000000' AND "
                "'0b6fffff-ffff-ffff-ffff-ffffffffffff'",
                "_grant_id",
            ),
        ):
            cursor.execute(f"EXPLAIN SELECT * FROM auth_events WHERE {condition}")
            plan = "\n".join(row for (row,) in cursor.fetchall())
            assert f"auth_events{index}" in plan

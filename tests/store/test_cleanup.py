"""Deleting what is spent: exactly that, in batches, by one at a time, and unnoticed."""

import asyncio
from contextlib import closing

import psycopg2
import pytest
from postgres import hang_up_on_everybody_else, query
from store import acts, lab
from store.interleave import Watched

from mcpserve.errors import DatabaseUnavailable
from mcpserve.oauth import grants
from mcpserve.oauth.store import cleanup

DAY = 24 * 60 * 60
GRANT = "id = (SELECT session_id FROM oauth_authorization_codes WHERE digest = sha256('used-0'))"
CODE = "digest = sha256('code-0')"
# What ages, by which column, and the seconds that it is kept.
KEPT = {
    "expired code": ("oauth_authorization_codes", "expires_at", 0),
    "expired access token": ("oauth_access_tokens", "expires_at", DAY),
    "revoked access token": ("oauth_access_tokens", "revoked_at", DAY),
    "expired grant": ("mcp_sessions", "expires_at", 7 * DAY),
    "ended grant": ("mcp_sessions", "ended_at", 7 * DAY),
    "authorization request": ("authorization_requests", "expires_at", 0),
    "browser session": ("browser_sessions", "expires_at", 0),
    "setup link": ("setup_links", "expires_at", 0),
    "client assertion": ("oauth_client_assertions", "expires_at", 0),
    "rate limit": ("rate_limits", "expires_at", 0),
}
ONLY = {"oauth_authorization_codes": "used_at IS NULL"}


async def age(db, table, column, seconds):
    """Let rows be spent ``seconds`` ago; a grant that ended was revoked."""
    state = ", state = 'revoked'" if column == "ended_at" else ""
    await db.execute(
        f"""UPDATE {table} SET {column} = clock_timestamp() - %(seconds)s * interval '1 s' {state}
            WHERE {ONLY.get(table, "true")}""",
        seconds=seconds,
    )


async def count(db, table):
    """Return how many rows there are of those that age."""
    where = ONLY.get(table, "true")
    return (await db.one(f"SELECT count(*) AS n FROM {table} WHERE {where}")).n


async def fill_the_rest(db):
    """Add what populate() leaves out."""
    await db.execute(
        """INSERT INTO setup_links (digest, expires_at)
           VALUES (sha256('link'::bytea), clock_timestamp() + interval '1 hour')"""
    )
    await db.execute("INSERT INTO rate_limits SELECT digest, 1, expires_at FROM setup_links")
    await db.execute(
        "INSERT INTO oauth_client_assertions SELECT digest, expires_at FROM setup_links"
    )


GO_ALONG = {"mcp_sessions": {"oauth_refresh_tokens"}}


@pytest.mark.proves("CL-01", "CL-02")
@pytest.mark.parametrize("what", KEPT)
async def test_what_is_spent_goes_to_the_second(dsn, what):
    table, column, kept = KEPT[what]
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await fill_the_rest(db)
        # Two seconds, because one may pass in here.
        await age(db, table, column, kept - 2)
        counts = await cleanup.purge(db)
        assert set(counts.values()) == {0}
        assert await count(db, table) == 1
        await age(db, table, column, kept + 1)
        counts = await cleanup.purge(db)
        gone = {name for name, number in counts.items() if number}
        assert gone == {table} | GO_ALONG.get(table, set())
        assert await count(db, table) == 0


@pytest.mark.proves("CL-02")
async def test_nothing_that_lives_is_deleted(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(3))
        await fill_the_rest(db)
        await acts.refresh_in_window(db, 0)
        await acts.revoke(db, 1)
        before = await everything(db)
        await cleanup.purge(db)
        assert await everything(db) == before


async def everything(db):
    """Return how many rows each table has."""
    tables = await db.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {table: (await db.one(f"SELECT count(*) AS n FROM {table}")).n for (table,) in tables}


@pytest.mark.proves("RF-10", "CL-02")
async def test_a_token_that_was_rotated_long_ago_stays_while_its_grant_can_live(dsn):
    # Reuse is found however late it comes.
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await acts.refresh(db)
        await db.execute(
            """UPDATE oauth_refresh_tokens SET created_at = created_at - interval '29 days',
                   rotated_at = rotated_at - interval '29 days'
               WHERE rotated_at IS NOT NULL"""
        )
        await cleanup.purge(db)
        await lab.outcome(acts.refresh(db))
        assert await lab.state(db) == "compromised"


@pytest.mark.proves("AC-09")
async def test_a_code_that_was_used_long_ago_stays_while_its_grant_can_live(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await db.execute(
            """UPDATE oauth_authorization_codes SET used_at = used_at - interval '29 days',
                   expires_at = expires_at - interval '29 days' WHERE used_at IS NOT NULL"""
        )
        await cleanup.purge(db)
        await lab.outcome(acts.replay(db))
        assert await lab.state(db) == "compromised"


@pytest.mark.proves("RF-10")
async def test_a_family_goes_as_a_whole_and_takes_no_other_with_it(dsn):
    tables = (
        "mcp_sessions",
        "oauth_authorization_codes",
        "oauth_refresh_tokens",
        "oauth_access_tokens",
    )
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(2))
        untouched = await everything(db)
        await lab.populate(db, range(10, 11))
        token = f"rt-{10}"
        for _ in range(5):
            answer = await grants.refresh_token(
                db, lab.issuance(), lab.client(10), lab.refresh_form(token)
            )
            token = answer["refresh_token"]
        await acts.make_old(db, 10)
        counts = await cleanup.purge(db)
        assert (counts["mcp_sessions"], counts["oauth_refresh_tokens"]) == (1, 6)
        after = await everything(db)
        # The unused code of number 10 is of no grant yet.
        expected = {table: untouched[table] for table in tables}
        expected["oauth_authorization_codes"] += 1
        assert {table: after[table] for table in tables} == expected


async def add_codes(db, number):
    """Add that many codes that have expired."""
    await db.execute(
        """INSERT INTO oauth_authorization_codes (digest, client_id, user_id, redirect_uri, scopes,
               resource, code_challenge, auth_time, expires_at)
           SELECT sha256(i::text::bytea), client_id, user_id, redirect_uri, scopes, resource,
                  code_challenge, auth_time, clock_timestamp() - interval '1 s'
           FROM generate_series(1, %(number)s) i,
               (SELECT * FROM oauth_authorization_codes WHERE used_at IS NULL LIMIT 1) code""",
        number=number,
    )


BATCH = cleanup.DELETED[0].batch


@pytest.mark.proves("CL-01")
async def test_more_than_a_batch_goes_in_batches(dsn):
    deleted = []

    async def hook(_, sql, __):
        if "DELETE FROM oauth_authorization_codes" in sql:
            deleted.append(sql)

    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await add_codes(db, 2 * BATCH + 1)
        counts = await cleanup.purge(Watched(db, hook))
        assert counts["oauth_authorization_codes"] == 2 * BATCH + 1
        assert len(deleted) == 4
        assert await count(db, "oauth_authorization_codes") == 1
        # A lock of the session would stay with the connection, and that with the pool.
        assert await db.rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'") == []


@pytest.mark.proves("CL-01")
async def test_a_process_that_dies_half_way_leaves_the_rest_and_no_lock(dsn):
    batches = 0

    async def hook(_, sql, __):
        nonlocal batches
        if "DELETE FROM oauth_authorization_codes" in sql:
            batches += 1
            if batches == 2:
                await asyncio.to_thread(hang_up_on_everybody_else, dsn)

    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await add_codes(db, 2 * BATCH + 1)
        with pytest.raises(DatabaseUnavailable):
            await cleanup.purge(Watched(db, hook))
        assert await count(db, "oauth_authorization_codes") == BATCH + 2
        counts = await cleanup.purge(db)
        assert counts["oauth_authorization_codes"] == BATCH + 1


@pytest.mark.proves("CL-01")
async def test_whoever_comes_second_leaves_it_to_the_first(dsn):
    # One runner at a time.
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await add_codes(db, 1)
        async with db.transaction() as tx:
            assert (await tx.one(cleanup.LOCK)).mine
            assert await cleanup.purge(db) is None
            assert await count(db, "oauth_authorization_codes") == 2
        assert (await cleanup.purge(db))["oauth_authorization_codes"] == 1


@pytest.mark.proves("CL-01")
async def test_of_many_at_once_one_comes_to_the_end(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(50))
        for number in range(50):
            await acts.make_old(db, number)
        await add_codes(db, 20)
        results = await asyncio.gather(*(cleanup.purge(db) for _ in range(5)))
        assert any(result is not None for result in results)
        assert await count(db, "mcp_sessions") == 0
        assert await count(db, "oauth_authorization_codes") == 50


@pytest.mark.proves("CL-03")
async def test_what_somebody_works_on_is_left_to_the_next_run(dsn):
    # Cleaning up waits for nobody.
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(2))
        await acts.make_old(db, 0)
        await acts.make_old(db, 1)
        with closing(psycopg2.connect(dsn)) as other, other.cursor() as cursor:
            cursor.execute("SELECT id FROM mcp_sessions WHERE client_id = 'client-0' FOR UPDATE")
            async with asyncio.timeout(5):
                assert (await cleanup.purge(db))["mcp_sessions"] == 1
        assert (await cleanup.purge(db))["mcp_sessions"] == 1


@pytest.mark.proves("SE-04")
async def test_the_salt_of_a_closed_window_goes_and_that_of_an_open_one_stays(dsn):
    # With it and the old token the new ones could be computed.
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(2))
        await acts.refresh_in_window(db, 0)
        open_one = await acts.refresh_in_window(db, 1)
        query(
            dsn,
            """UPDATE oauth_refresh_tokens SET reusable_until = clock_timestamp() - interval '1 s'
               WHERE digest = sha256('rt-0'::bytea)""",
        )
        await cleanup.purge(db)
        salts = query(dsn, "SELECT digest FROM oauth_refresh_tokens WHERE salt IS NOT NULL")
        [(kept,)] = query(dsn, "SELECT sha256('rt-1'::bytea)")
        assert [bytes(digest) for (digest,) in salts] == [bytes(kept)]
        again = await acts.refresh_in_window(db, 1)
        assert again["refresh_token"] == open_one["refresh_token"]


# How a grant got into a state, and what may be asked of it afterwards.
SITUATIONS = {
    "alive": (),
    "rotated": (acts.refresh,),
    "rotated in a window": (acts.refresh_in_window,),
    "revoked": (acts.revoke,),
    "compromised": (acts.replay,),
    "revoked long ago": (acts.revoke, acts.make_old),
    "expired long ago": (acts.make_old,),
    "rotated and expired long ago": (acts.refresh, acts.make_old),
}
QUESTIONS = (
    acts.use,
    acts.refresh,
    acts.refresh_in_window,
    acts.replay,
    acts.exchange,
    acts.revoke,
    acts.approve,
)


def told(result):
    """Return what a client hears, without what is random."""
    if isinstance(result, dict):
        return sorted(result)
    return type(result), getattr(result, "description", None)


@pytest.mark.proves("CL-02")
@pytest.mark.parametrize("situation", SITUATIONS)
async def test_cleaning_up_changes_no_answer(dsn, situation):
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(2 * len(QUESTIONS)))
        for number in range(2 * len(QUESTIONS)):
            for act in SITUATIONS[situation]:
                await lab.outcome(act(db, number))
        before = [told(await lab.outcome(ask(db, number))) for number, ask in enumerate(QUESTIONS)]
        await cleanup.purge(db)
        after = [
            told(await lab.outcome(ask(db, number)))
            for number, ask in enumerate(QUESTIONS, len(QUESTIONS))
        ]
        assert after == before

"""Every statement that the server sends finds its rows by an index, however many there are."""

from datetime import timedelta

import pytest
from postgres import query
from store import acts, lab, statements
from store.interleave import Watched

from mcpserve import crypto
from mcpserve.batching import MOST_KEYS
from mcpserve.oauth.store import (
    assertions,
    bearer,
    browsers,
    clients,
    codes,
    documents,
    events,
    grants,
    keys,
    users,
)
from mcpserve.ratelimit import Limit

PEOPLE = 1000
SIZES = {"people": PEOPLE, "grants": 10, "tokens": 3, "short": 20_000, "resource": lab.RESOURCE}

SMALL = {"server_keys", "setup_links"}
"""Tables that stay small, however much the server is used."""

GROWING = f"""
    SELECT relname FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
      AND relname NOT IN ('schema_migrations', {", ".join(f"'{name}'" for name in SMALL)})"""

MOST_COST = 400
"""In pages that are read one after the other; the table of grants has twice as many here."""

LISTS = {"clients.py:find_all", "grants.py:find_all", "users.py:find_all"}
"""What operators read as a whole."""

ANYBODY = {"users.py:exist", "users.py:replace_setup_link", "users.py:setup_link_is_good"}
"""What looks whether there is a user, and ends with the first one."""

DIGEST = crypto.digest("at-7")
LONG = timedelta(days=1)
EVERYTHING = (
    acts.refresh,
    acts.refresh_in_window,
    acts.exchange,
    acts.replay,
    acts.revoke,
    acts.revoke_access,
    acts.revoke_all_of_user,
    acts.replace_key,
    acts.start,
    acts.enable_client,
    acts.disable_client,
    acts.enable_user,
    acts.change_password,
    acts.log_in,
    acts.log_out,
    acts.ask,
    acts.approve,
    acts.seed,
    acts.use,
    acts.narrow,
    acts.disconnect,
    acts.disable_user,
    acts.purge,
)
"""Act number N happens to number N."""


async def the_rest(db):
    """Call what no act does."""
    limit = Limit("token", lab.PATIENT)
    await limit.fail(db, "somebody")
    await limit.check(db, "somebody")
    await limit.give_back(db, "somebody")
    await limit.forget(db, "somebody")
    await bearer.is_revoked(db, DIGEST)
    await bearer.find_live(db, DIGEST, resource=lab.RESOURCE)
    await browsers.create_session(db, crypto.digest("new browser"))
    await clients.find_some(db, ["client-1", "client-2"])
    await clients.find_all(db)
    await documents.save(db, "https://client.example/1", "{}", lifetime=LONG)
    await documents.find(db, "https://client.example/1")
    grant = await db.one("SELECT id, user_id FROM mcp_sessions WHERE client_id = 'client-9'")
    await events.find_grants(db, grant.id.replace("-", "")[:6])
    await events.of_grant(db, grant.id)
    await events.now(db)
    await grants.find(db, grant.id)
    await grants.find_active(db, grant.user_id)
    await grants.find_all(db, active_only=True)
    await keys.find(db, "none")
    await keys.needs(db)
    await users.create(db, "somebody", lab.OLD_HASH)
    await users.find_enabled(db, grant.user_id)
    await users.find_all(db)
    await users.exist(db)
    await users.replace_setup_link(db, DIGEST)
    await users.setup_link_is_good(db, DIGEST)
    async with db.transaction() as tx:
        now = await keys.ends_at(tx, timedelta(0))
        await keys.is_over(tx, now)
        await assertions.use(tx, DIGEST, expires=now + 60, issued=now, not_before=now)
        await clients.has_room(tx, 0)
        await codes.count_failure(tx, crypto.digest("code-9"))
        await users.lock_email(tx, "a@b.example")
        await users.set_email(tx, "user-9", "a@b.example", verified=True)
        await users.take_setup_link(tx, DIGEST)


class Plans:
    """How PostgreSQL would answer each statement that is sent."""

    def __init__(self):
        self.places = statements.places()
        self.sent = set()
        self.tables = set()
        self.slow = []

    async def look(self, db, sql, params):
        """Look at a statement that is about to be sent."""
        place = statements.sent_from(self.places)
        self.sent.add(place)
        if place is not None and not sql.startswith("LOCK"):
            await self.judge(db, place, sql, params)

    async def judge(self, db, place, sql, params, *, most=MOST_COST):
        """Note what is slow in the plan of a statement."""
        (((answer,),),) = await db.rows(f"EXPLAIN (FORMAT JSON) {sql}", **params)
        plan = answer["Plan"]
        scans = [scan for scan in statements.scans(plan) if scan["Relation Name"] not in SMALL]
        self.tables |= {scan["Relation Name"] for scan in scans}
        if place.name in LISTS:
            return
        if plan["Total Cost"] > most:
            self.slow.append(f"{place}: {plan['Total Cost']}")
        for scan in scans:
            if place.name not in ANYBODY and not statements.looks_up(scan):
                self.slow.append(f"{place}: {statements.describe(scan)}")


@pytest.mark.proves("SE-02")
async def test_every_statement_finds_its_rows_by_an_index(dsn):
    plans = Plans()
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(PEOPLE))
        async with db.transaction(unlimited=True) as tx:
            await tx.execute(statements.GROW.format(**SIZES))
        await db.execute("ANALYZE")
        watched = Watched(db, plans.look)
        for number, act in enumerate(EVERYTHING):
            await lab.outcome(act(watched, number))
            # Once more, for reuse and replay.
            await lab.outcome(act(watched, number))
        await the_rest(watched)
        together = {
            "keys": [crypto.digest(f"at-{n}") for n in range(MOST_KEYS)],
            "resource": lab.RESOURCE,
        }
        place = statements.Place("bearer.py", "find_principal", 0, 0)
        await plans.judge(db, place, bearer.PRINCIPALS, together, most=10 * MOST_KEYS)
    assert plans.slow == [], "\n".join(plans.slow)
    assert [str(place) for place in plans.places if place not in plans.sent] == []
    assert plans.tables == {name for (name,) in query(dsn, GROWING)}

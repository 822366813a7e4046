"""What must come out of a race, whoever runs in it."""

import time

from postgres import backends, query
from store import acts, lab
from store.interleave import at_once, every_order

from mcpserve.errors import InvalidGrant

NUMBERS = range(40)
"""More than any action has statements."""


def deadlocks(dsn):
    """Return how many deadlocks the server found; backends tell when they end."""
    deadline = time.monotonic() + 10
    while backends(dsn) and time.monotonic() < deadline:
        time.sleep(0.01)
    [(count,)] = query(
        dsn, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    return count


async def every_order_ends_well(db, race, *, swapped=False):
    """Let the two meet at every step, with rows of their own."""
    first, second, prepare, states = race
    if swapped:
        first, second = second, first
    numbers = range(100, 140) if swapped else NUMBERS
    await lab.populate(db, numbers)
    outcomes = await every_order(db, first, second, numbers=numbers, prepare=prepare)
    assert outcomes
    assert {await lab.state(db, number) for number in numbers[: len(outcomes)]} <= states
    assert await lab.broken(db) == []


async def fifty_uses_compromise(db, refresh):
    """Check that of fifty uses of one token one wins, and wins nothing in the end."""
    results = await at_once(50, lambda: refresh(db, 0))
    answers = [result for result in results if isinstance(result, dict)]
    assert len(answers) == 1
    assert [type(result) for result in results].count(InvalidGrant) == 49
    assert await lab.state(db) == "compromised"
    assert await lab.broken(db) == []
    return answers[0]


async def two_uses_compromise(db, refresh):
    """Check that of two uses in any order one wins, and wins nothing in the end."""
    await lab.populate(db, NUMBERS)
    outcomes = await every_order(db, refresh, refresh, numbers=NUMBERS)
    assert len(outcomes) >= 3
    for both in outcomes:
        assert sorted(type(result).__name__ for result in both) == ["InvalidGrant", "dict"]
    for number in NUMBERS[: len(outcomes)]:
        assert await lab.state(db, number) == "compromised"
    assert await lab.broken(db) == []


async def one_exchange_wins(db, exchange, count):
    """Check that a code yields tokens once."""
    results = await at_once(count, lambda: exchange(db, 0))
    assert [type(result) for result in results].count(dict) == 1
    assert [type(result) for result in results].count(InvalidGrant) == count - 1
    made = await db.one("SELECT count(*) AS n FROM mcp_sessions")
    assert made.n == 2
    assert await lab.broken(db) == []


async def nobody_logs_in_with_the_old_password(db, log_in):
    """Check that no browser is logged in with a password that was changed meanwhile."""
    await lab.populate(db, NUMBERS)
    outcomes = await every_order(
        db, log_in, acts.change_password, numbers=NUMBERS, prepare=acts.log_out
    )
    assert len(outcomes) >= 3
    sessions = await db.one(
        """SELECT count(*) AS n FROM browser_sessions b JOIN users u ON u.id = b.user_id
           WHERE u.password_hash <> %(old)s""",
        old=lab.OLD_HASH,
    )
    assert sessions.n == 0


async def whoever_is_disabled_stays_disabled(db, disable_client):
    """Check that seeding, which writes a client as it was read, enables nobody."""
    other_numbers = range(100, 140)
    await lab.populate(db, NUMBERS)
    await lab.populate(db, other_numbers)
    one = await every_order(db, acts.seed, disable_client, numbers=NUMBERS)
    other = await every_order(db, disable_client, acts.seed, numbers=other_numbers)
    disabled = await db.one(
        """SELECT count(*) AS n FROM oauth_clients
           WHERE disabled_at IS NOT NULL AND client_name = 'new'"""
    )
    assert disabled.n == len(one) + len(other)

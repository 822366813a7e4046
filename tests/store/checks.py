"""What must come out of a race, whoever runs in it."""

import asyncio
import time

from postgres import backends, query
from store import acts, lab
from store.interleave import at_once, every_order

from mcpserve import crypto
from mcpserve.errors import InvalidGrant, PageError
from mcpserve.oauth import grants

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


async def fifty_uses_get_one_pair(db, refresh):
    """Check that fifty uses of one token in its window have one answer and one successor."""
    results = await at_once(50, lambda: refresh(db, 0))
    assert len({(result["access_token"], result["refresh_token"]) for result in results}) == 1
    assert await lab.works(db, results[0]["access_token"])
    assert await lab.state(db) == "active"
    rows = await db.one(
        """SELECT (SELECT count(*) FROM oauth_refresh_tokens) AS refresh,
                  (SELECT count(*) FROM oauth_access_tokens) AS access"""
    )
    assert (rows.refresh, rows.access) == (2, 2)


async def a_late_repeat_compromises(db, refresh):
    """Check that the database's clock closes the window, a second after its end."""
    await refresh(db, 0)
    await db.execute(
        "UPDATE oauth_refresh_tokens SET reusable_until = clock_timestamp() - interval '1 s'"
        " WHERE rotated_at IS NOT NULL"
    )
    assert type(await lab.outcome(refresh(db, 0))) is InvalidGrant
    assert await lab.state(db) == "compromised"


async def nothing_old_can_be_derived(db, refresh):
    """Check that a token's salt goes when its successor is used, though the window is open."""
    answer = await refresh(db, 0)
    await refresh(db, 0, token=answer["refresh_token"])
    assert await lab.broken(db) == []


async def every_answer_can_be_repeated(db, refresh, replace_key, *, swapped=False):
    """Check that a key is retired with the regular command only when no answer needs it."""
    numbers = range(100, 140) if swapped else NUMBERS

    async def repeat_the_last(db, number):
        if number > numbers[0]:
            assert await refresh(db, number - 1)
        await acts.close_windows(db)

    await lab.populate(db, numbers)
    both = (replace_key, refresh) if swapped else (refresh, replace_key)
    assert await every_order(db, *both, numbers=numbers, prepare=repeat_the_last)


async def one_key_is_made(db, start):
    """Check that of many processes that start at once one makes the first key."""
    await at_once(10, lambda: start(db, 0))
    assert (await db.one("SELECT count(*) AS n FROM server_keys")).n == 1


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


async def whoever_began_is_not_forgotten(db, delete_clients):
    """Check that a request that was kept stays, whenever disused clients are deleted."""
    other_numbers = range(100, 140)
    await lab.populate(db, NUMBERS)
    await lab.populate(db, other_numbers)
    one = await every_order(
        db, delete_clients, acts.ask, numbers=NUMBERS, prepare=acts.leave_client
    )
    other = await every_order(
        db, acts.ask, delete_clients, numbers=other_numbers, prepare=acts.leave_client
    )
    asked = [second for _, second in one] + [first for first, _ in other]
    assert {type(result) for result in asked} <= {str, PageError}
    for request_id in filter(lambda result: isinstance(result, str), asked):
        assert await is_kept(db, request_id)
    return asked


async def is_kept(db, request_id):
    """Whether an authorization request waits."""
    return await db.row(
        "SELECT 1 FROM authorization_requests WHERE digest = %(digest)s",
        digest=crypto.digest(request_id),
    )


async def one_client_exchanges_many_codes(db, count=20):
    """Check that the people of one client do not get in each other's way."""
    await lab.populate(db)
    await db.execute(
        """INSERT INTO oauth_authorization_codes
               (digest, client_id, user_id, redirect_uri, scopes, resource, code_challenge,
                auth_time, expires_at)
           SELECT sha256(convert_to('code-' || n, 'UTF8')), client_id, user_id, redirect_uri,
                  scopes, resource, code_challenge, auth_time, expires_at
           FROM oauth_authorization_codes, generate_series(1, %(last)s) n WHERE used_at IS NULL""",
        last=count - 1,
    )
    calls = (
        grants.authorization_code(db, lab.issuance(), lab.client(), lab.code_form(f"code-{n}"))
        for n in range(count)
    )
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for error in filter(lambda answer: isinstance(answer, Exception), answers):
        raise error

"""The checks of test_races.py find naive code broken; so they can find the real code broken."""

from functools import partial

import pytest
from psycopg2 import errors
from store import acts, lab, naive
from store.checks import (
    every_order_ends_well,
    fifty_uses_compromise,
    nobody_logs_in_with_the_old_password,
    one_exchange_wins,
    two_uses_compromise,
    whoever_is_disabled_stays_disabled,
)
from store.interleave import gate, nothing

from mcpserve.errors import DatabaseConflict

WITHOUT_CONSTRAINTS = """
ALTER TABLE oauth_refresh_tokens DROP CONSTRAINT oauth_refresh_tokens_parent_id_key;
DROP INDEX oauth_refresh_tokens_live;
"""


async def most_successors(db):
    """Return the largest number of refresh tokens that came of one."""
    row = await db.one(
        """SELECT max(n) AS n FROM (
               SELECT count(*) AS n FROM oauth_refresh_tokens
               WHERE parent_id IS NOT NULL GROUP BY parent_id) forks"""
    )
    return row.n


async def test_a_code_that_is_looked_at_without_a_lock_is_exchanged_again_and_again(dsn):
    async with lab.opened(dsn, pool_size=40) as db:
        await lab.populate(db)
        exchange = partial(naive.exchange_without_lock, pause=gate(10))
        with pytest.raises(AssertionError, match="10 == 1"):
            await one_exchange_wins(db, exchange, 10)


@pytest.mark.parametrize("disable", [acts.disable_client, acts.disable_user])
async def test_an_exchange_without_locks_leaves_a_grant_of_somebody_disabled(dsn, disable):
    async with lab.opened(dsn) as db:
        with pytest.raises(AssertionError, match="active grant of the disabled"):
            await every_order_ends_well(
                db, (naive.exchange_without_lock, disable, nothing, {"revoked"})
            )


@pytest.mark.parametrize("refresh", [naive.refresh_without_lock, naive.refresh_with_joined_lock])
async def test_a_fork_of_the_lineage_is_stopped_by_the_schema(dsn, refresh):
    # CC-06. To the client this is a 500, but there is no fork.
    async with lab.opened(dsn) as db:
        with pytest.raises(errors.UniqueViolation):
            await two_uses_compromise(db, refresh)
        assert await most_successors(db) == 1


@pytest.mark.parametrize("refresh", [naive.refresh_without_lock, naive.refresh_with_joined_lock])
async def test_without_the_constraints_the_lineage_forks(dsn, refresh):
    async with lab.opened(dsn) as db:
        async with db.transaction() as tx:
            await tx.execute(WITHOUT_CONSTRAINTS)
        with pytest.raises(AssertionError, match=r"\['dict', 'dict'\] == "):
            await two_uses_compromise(db, refresh)
        assert await most_successors(db) == 2


async def test_fifty_uses_without_a_lock_are_stopped_by_the_schema_too(dsn):
    async with lab.opened(dsn, pool_size=40) as db:
        await lab.populate(db)
        with pytest.raises(errors.UniqueViolation):
            await fifty_uses_compromise(db, partial(naive.refresh_without_lock, pause=gate(40)))
        assert await most_successors(db) == 1


async def test_an_error_raised_inside_the_transaction_takes_the_revocation_back(dsn):
    async with lab.opened(dsn) as db:
        with pytest.raises(AssertionError, match="'active' == 'compromised'"):
            await two_uses_compromise(db, naive.refresh_raising_inside)


async def test_a_revocation_without_the_lock_of_the_grant_leaves_live_tokens(dsn):
    async with lab.opened(dsn) as db:
        race = (acts.refresh, naive.revoke_without_lock, nothing, {"revoked"})
        with pytest.raises(AssertionError, match="live access token of a revoked grant"):
            await every_order_ends_well(db, race, swapped=True)


async def test_locks_in_opposite_orders_are_a_deadlock(dsn):
    # CC-07
    async with lab.opened(dsn) as db:
        race = (naive.approve_request_first, acts.disable_user, nothing, {"revoked"})
        with pytest.raises(DatabaseConflict, match="deadlock detected"):
            await every_order_ends_well(db, race)


async def test_a_password_that_was_right_a_moment_ago_opens_a_session(dsn):
    async with lab.opened(dsn) as db:
        with pytest.raises(AssertionError):
            await nobody_logs_in_with_the_old_password(db, naive.log_in_without_second_look)


async def test_a_client_that_is_disabled_out_of_turn_is_enabled_by_seeding(dsn):
    async with lab.opened(dsn) as db:
        with pytest.raises(AssertionError):
            await whoever_is_disabled_stays_disabled(db, naive.disable_client_out_of_turn)

"""The checks of test_races.py find naive code broken; so they can find the real code broken."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from psycopg2 import errors
from store import acts, lab, naive
from store.checks import (
    a_late_repeat_compromises,
    every_answer_can_be_repeated,
    every_order_ends_well,
    fifty_uses_compromise,
    fifty_uses_get_one_pair,
    is_kept,
    nobody_logs_in_with_the_old_password,
    nothing_old_can_be_derived,
    one_client_exchanges_many_codes,
    one_exchange_wins,
    one_key_is_made,
    two_uses_compromise,
    whoever_began_is_not_forgotten,
    whoever_is_disabled_stays_disabled,
)
from store.interleave import ended_or_blocked, gate, nothing

from mcpserve.errors import DatabaseConflict, InvalidGrant
from mcpserve.oauth.store import browsers

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


@pytest.mark.proves("CC-06")
@pytest.mark.parametrize("refresh", [naive.refresh_without_lock, naive.refresh_with_joined_lock])
async def test_a_fork_of_the_lineage_is_stopped_by_the_schema(dsn, refresh):
    # To the client this is a 500, but there is no fork.
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


async def test_what_was_decided_before_the_lock_fails_after_it(dsn):
    async with lab.opened(dsn, pool_size=40) as db:
        await lab.populate(db)
        with pytest.raises(LookupError, match="no row"):
            await fifty_uses_get_one_pair(
                db, partial(naive.refresh_decided_before_lock, pause=gate(50))
            )


async def test_a_machine_whose_clock_is_late_leaves_the_window_open(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        late = partial(
            naive.refresh_by_own_clock, clock=lambda: datetime.now(UTC) - timedelta(hours=1)
        )
        with pytest.raises(AssertionError, match="dict"):
            await a_late_repeat_compromises(db, late)


async def test_a_salt_that_is_not_cleared_yields_the_whole_chain(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        with pytest.raises(AssertionError, match="salt of a token whose successor was used"):
            await nothing_old_can_be_derived(db, naive.refresh_keeping_salts)


async def test_a_key_that_was_chosen_before_may_be_retired_when_it_is_used(dsn):
    async with lab.opened(dsn) as db:
        with pytest.raises(InvalidGrant, match="the key that its answer was derived with"):
            await every_answer_can_be_repeated(
                db, naive.refresh_with_remembered_key, acts.replace_key
            )


async def test_processes_that_start_without_a_lock_make_a_key_each(dsn):
    async with lab.opened(dsn, pool_size=20) as db:
        with pytest.raises(AssertionError, match="10 == 1"):
            await one_key_is_made(db, partial(naive.start_without_lock, pause=gate(10)))


async def test_a_client_that_is_looked_at_without_a_lock_takes_a_request_along(dsn):
    async with lab.opened(dsn) as db:
        with pytest.raises(AssertionError):
            await whoever_began_is_not_forgotten(db, naive.delete_clients_without_lock)


async def test_one_statement_deletes_a_client_together_with_what_it_did_not_see(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await acts.leave_client(db)
        async with db.transaction() as tx:
            await tx.execute(f"SELECT pg_advisory_xact_lock({naive.GATE})")
            deletion = asyncio.create_task(naive.delete_clients_in_one_statement(db))
            await ended_or_blocked(db, deletion)
            request_id = await acts.ask(db)
            assert await is_kept(db, request_id)
        await deletion
        assert not await is_kept(db, request_id)


async def test_two_exchanges_that_share_the_lock_of_their_client_are_a_deadlock(dsn, monkeypatch):
    monkeypatch.setattr(browsers, "lock_enabled_client", naive.share_enabled_client)
    async with lab.opened(dsn) as db:
        with pytest.raises(DatabaseConflict, match="deadlock detected"):
            await one_client_exchanges_many_codes(db)

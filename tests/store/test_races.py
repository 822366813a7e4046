"""Requests that meet: of whatever happens at the same time, the database ends in one order.

That checks.py finds naive code broken is shown by test_naive_is_red.py.
"""

import asyncio
import random

import pytest
from store import acts, lab
from store.checks import (
    NUMBERS,
    a_late_repeat_compromises,
    deadlocks,
    every_answer_can_be_repeated,
    every_order_ends_well,
    fifty_uses_compromise,
    fifty_uses_get_one_pair,
    nobody_logs_in_with_the_old_password,
    nothing_old_can_be_derived,
    one_exchange_wins,
    one_key_is_made,
    two_uses_compromise,
    whoever_is_disabled_stays_disabled,
)
from store.interleave import every_order, nothing, rounds

from mcpserve.errors import InvalidGrant
from mcpserve.oauth import grants

DUE = {None, "active"}
"""Deleted, or left to the next run because it was locked."""
# Two actions, how the grant is made ready for them, and how it may be afterwards.
MAIN_RACES = {
    "refresh and revoke": (acts.refresh, acts.revoke, nothing, {"revoked"}),
    "refresh and code replay": (acts.refresh, acts.replay, nothing, {"compromised"}),
    "refresh and client disabled": (acts.refresh, acts.disable_client, nothing, {"revoked"}),
    "refresh and user disabled": (acts.refresh, acts.disable_user, nothing, {"revoked"}),
    "late refresh and cleanup": (acts.refresh, acts.purge, acts.make_old, DUE),
    "exchange and client disabled": (acts.exchange, acts.disable_client, nothing, {"revoked"}),
    "exchange and user disabled": (acts.exchange, acts.disable_user, nothing, {"revoked"}),
    "approve and approve": (acts.approve, acts.approve, nothing, {"active"}),
}
RACES = MAIN_RACES | {
    "refresh and refresh": (acts.refresh, acts.refresh, nothing, {"compromised"}),
    "refresh in a window and revoke": (acts.refresh_in_window, acts.revoke, nothing, {"revoked"}),
    "refresh in a window and cleanup": (acts.refresh_in_window, acts.purge, nothing, {"active"}),
    "refresh in a window and key replaced": (
        acts.refresh_in_window,
        acts.replace_key,
        acts.close_windows,
        {"active"},
    ),
    "keys retired and key replaced": (acts.retire_keys, acts.replace_key, acts.add_key, {"active"}),
    "refresh and access token revoked": (acts.refresh, acts.revoke_access, nothing, {"active"}),
    "refresh and everything revoked": (acts.refresh, acts.revoke_everything, nothing, {"revoked"}),
    "refresh and cleanup": (acts.refresh, acts.purge, nothing, {"active"}),
    "replay and user disabled": (
        acts.replay,
        acts.disable_user,
        nothing,
        {"compromised", "revoked"},
    ),
    "late replay and cleanup": (acts.replay, acts.purge, acts.make_old, DUE | {"compromised"}),
    "late revocation and cleanup": (acts.revoke, acts.purge, acts.make_old, DUE | {"revoked"}),
    "revoke and user disabled": (acts.revoke, acts.disable_user, nothing, {"revoked"}),
    "client and user disabled": (acts.disable_client, acts.disable_user, nothing, {"revoked"}),
    "client disabled and user revoked": (
        acts.disable_client,
        acts.revoke_all_of_user,
        nothing,
        {"revoked"},
    ),
    "approve and user disabled": (acts.approve, acts.disable_user, nothing, {"revoked"}),
    "approve and client disabled": (acts.approve, acts.disable_client, nothing, {"revoked"}),
    "approve and another password": (acts.approve, acts.change_password, nothing, {"active"}),
    "approve and log out": (acts.approve, acts.log_out, nothing, {"active"}),
    "log in and user disabled": (acts.log_in, acts.disable_user, acts.log_out, {"revoked"}),
    "log in and another password": (acts.log_in, acts.change_password, acts.log_out, {"active"}),
    "new request and user disabled": (acts.ask, acts.disable_user, nothing, {"revoked"}),
    "seeding and client disabled": (acts.seed, acts.disable_client, nothing, {"revoked"}),
}


@pytest.mark.proves("CC-04", "CC-07", "CL-03")
@pytest.mark.parametrize("race", RACES)
async def test_every_order_of_steps_ends_well(dsn, race):
    async with lab.opened(dsn) as db:
        await every_order_ends_well(db, RACES[race], swapped=False)
        await every_order_ends_well(db, RACES[race], swapped=True)
    assert deadlocks(dsn) == 0


@pytest.mark.proves("CC-04", "CL-03")
@pytest.mark.parametrize("race", MAIN_RACES)
async def test_a_hundred_rounds_end_well(dsn, race):
    first, second, prepare, states = MAIN_RACES[race]
    numbers = range(100)
    async with lab.opened(dsn) as db:
        await lab.populate(db, numbers)
        await rounds(db, first, second, numbers=numbers, prepare=prepare)
        assert {await lab.state(db, number) for number in numbers} <= states
        assert await lab.broken(db) == []
    assert deadlocks(dsn) == 0


@pytest.mark.proves("RF-04")
async def test_the_second_use_compromises_the_grant_whenever_it_begins(dsn):
    async with lab.opened(dsn) as db:
        await two_uses_compromise(db, acts.refresh)


@pytest.mark.proves("CC-01")
async def test_fifty_uses_of_one_refresh_token_compromise_the_grant(dsn):
    async with lab.opened(dsn, pool_size=40) as db:
        await lab.populate(db)
        won = await fifty_uses_compromise(db, acts.refresh)
        assert not await lab.works(db, won["access_token"])
        with pytest.raises(InvalidGrant):
            await grants.refresh_token(
                db,
                lab.issuance(),
                lab.client(),
                lab.refresh_form(won["refresh_token"]),
            )
    assert deadlocks(dsn) == 0


@pytest.mark.proves("CC-02")
async def test_fifty_uses_inside_the_window_get_one_and_the_same_pair(dsn):
    async with lab.opened(dsn, pool_size=40) as db:
        await lab.populate(db)
        await fifty_uses_get_one_pair(db, acts.refresh_in_window)
    assert deadlocks(dsn) == 0


@pytest.mark.proves("CC-03")
async def test_the_same_pair_is_refused_once_the_window_is_over(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await a_late_repeat_compromises(db, acts.refresh_in_window)


@pytest.mark.proves("CC-03")
async def test_a_successor_that_is_used_closes_the_window_of_its_parent(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await nothing_old_can_be_derived(db, acts.refresh_in_window)


@pytest.mark.proves("CC-02")
async def test_a_key_that_is_replaced_meanwhile_takes_no_answer_away(dsn):
    async with lab.opened(dsn) as db:
        for swapped in (False, True):
            await every_answer_can_be_repeated(
                db, acts.refresh_in_window, acts.replace_key, swapped=swapped
            )
    assert deadlocks(dsn) == 0


@pytest.mark.proves("CC-03")
async def test_a_grandparent_is_refused_inside_the_window(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        second = (await acts.refresh_in_window(db))["refresh_token"]
        await grants.refresh_token(
            db,
            lab.issuance(window=60),
            lab.client(),
            lab.refresh_form(second),
        )
        with pytest.raises(InvalidGrant):
            await acts.refresh_in_window(db)
        assert await lab.state(db) == "compromised"
        assert await lab.broken(db) == []


@pytest.mark.proves("AD-01")
async def test_processes_that_start_at_once_make_one_key(dsn):
    async with lab.opened(dsn, pool_size=20) as db:
        await one_key_is_made(db, acts.start)


@pytest.mark.proves("CC-02", "CC-06")
async def test_fifty_uses_of_parent_and_child_at_once_leave_a_path(dsn):
    # Whoever is first decides, but there is never a second successor.
    async with lab.opened(dsn, pool_size=20) as db:
        await lab.populate(db)
        child = (await acts.refresh_in_window(db))["refresh_token"]

        async def use(token):
            return await lab.outcome(
                grants.refresh_token(
                    db,
                    lab.issuance(window=60),
                    lab.client(),
                    lab.refresh_form(token),
                )
            )

        results = await asyncio.gather(*(use(token) for token in ["rt-0", child] * 25))
        assert {type(result) for result in results} <= {dict, InvalidGrant}
        assert (await db.one("SELECT count(*) AS n FROM oauth_refresh_tokens")).n <= 3
        assert await lab.broken(db) == []


@pytest.mark.proves("AC-10")
@pytest.mark.parametrize("count", [2, 10, 50])
async def test_simultaneous_exchanges_of_one_code_have_one_winner(dsn, count):
    async with lab.opened(dsn, pool_size=40) as db:
        await lab.populate(db)
        await one_exchange_wins(db, acts.exchange, count)
    assert deadlocks(dsn) == 0


@pytest.mark.proves("AC-10")
async def test_an_exchange_that_follows_at_once_does_not_compromise_the_grant(dsn):
    # In whatever order their steps come, or one after the other: a client that asked twice.
    async with lab.opened(dsn) as db:
        await lab.populate(db, NUMBERS)
        outcomes = await every_order(db, acts.exchange, acts.exchange, numbers=NUMBERS)
        assert all(
            sorted(type(result).__name__ for result in both) == ["InvalidGrant", "dict"]
            for both in outcomes
        )
        states = [await lab.state(db, number, code="code") for number in range(len(outcomes))]
        assert set(states) == {"active"}
        assert await lab.broken(db) == []


@pytest.mark.proves("AC-07", "AC-10")
@pytest.mark.parametrize(("seconds", "state"), [(9, "active"), (11, "compromised")])
async def test_ten_seconds_after_its_use_a_code_is_replayed(dsn, seconds, state):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await acts.exchange(db)
        await db.execute(
            "UPDATE oauth_authorization_codes SET used_at = used_at - %(ago)s * interval '1 s'",
            ago=seconds,
        )
        with pytest.raises(InvalidGrant):
            await acts.exchange(db)
        assert await lab.state(db, code="code") == state


@pytest.mark.proves("CO-04")
async def test_of_two_approvals_in_any_order_one_mints_a_code(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db, NUMBERS)
        outcomes = await every_order(db, acts.approve, acts.approve, numbers=NUMBERS)
        assert all(
            sorted(type(result).__name__ for result in both) == ["PageError", "str"]
            for both in outcomes
        )


@pytest.mark.parametrize("leave", [acts.log_out, acts.change_password])
async def test_an_approval_that_is_told_to_the_client_has_a_code(dsn, leave):
    other_numbers = range(100, 140)
    async with lab.opened(dsn) as db:
        await lab.populate(db, NUMBERS)
        await lab.populate(db, other_numbers)
        before = (await db.one("SELECT count(*) AS n FROM oauth_authorization_codes")).n
        one = await every_order(db, acts.approve, leave, numbers=NUMBERS)
        other = await every_order(db, leave, acts.approve, numbers=other_numbers)
        approved = [mine for both in one + other for mine in both if isinstance(mine, str)]
        after = (await db.one("SELECT count(*) AS n FROM oauth_authorization_codes")).n
        # And one when approve() had no statement left to be disturbed at.
        assert after - before == len(approved) + 1 > 1


async def test_a_password_that_was_changed_meanwhile_opens_no_session(dsn):
    async with lab.opened(dsn) as db:
        await nobody_logs_in_with_the_old_password(db, acts.log_in)


@pytest.mark.proves("AD-01")
async def test_a_client_that_is_disabled_while_it_is_seeded_stays_disabled(dsn):
    async with lab.opened(dsn) as db:
        await whoever_is_disabled_stays_disabled(db, acts.disable_client)


@pytest.mark.proves("CC-07")
async def test_in_a_storm_of_everything_nobody_waits_for_ever(dsn):
    # No two writers lock in opposite orders, nor three.
    chance = random.Random(7)
    people = range(3)
    actions = [*dict.fromkeys(act for race in RACES.values() for act in race[:2])]
    actions += [acts.enable_client, acts.enable_user]
    deck = [(act, number) for act in actions for number in people] * 6
    chance.shuffle(deck)

    async def play(db):
        while deck:
            act, number = deck.pop()
            await lab.outcome(act(db, number))

    async with lab.opened(dsn) as db:
        await lab.populate(db, people)
        await asyncio.gather(*(play(db) for _ in range(8)))
        assert await lab.broken(db) == []
    assert deadlocks(dsn) == 0

"""Requests that meet: of whatever happens at the same time, the database ends in one order.

That checks.py finds naive code broken is shown by test_naive_is_red.py.
"""

import asyncio
import random

import pytest
from store import acts, lab
from store.checks import (
    NUMBERS,
    deadlocks,
    every_order_ends_well,
    fifty_uses_compromise,
    nobody_logs_in_with_the_old_password,
    one_exchange_wins,
    two_uses_compromise,
    whoever_is_disabled_stays_disabled,
)
from store.interleave import at_once, every_order, nothing, rounds

from mcpserve.errors import InvalidGrant
from mcpserve.oauth import grants

DUE = {None, "active"}
"""Deleted, or left to the next run because it was locked."""
# Two actions, how the grant is made ready for them, and how it may be afterwards.
MAIN_RACES = {  # CC-04
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


@pytest.mark.parametrize("race", RACES)
async def test_every_order_of_steps_ends_well(dsn, race):
    # CC-04, CC-07
    async with lab.opened(dsn) as db:
        await every_order_ends_well(db, RACES[race], swapped=False)
        await every_order_ends_well(db, RACES[race], swapped=True)
    assert deadlocks(dsn) == 0


@pytest.mark.parametrize("race", MAIN_RACES)
async def test_a_hundred_rounds_end_well(dsn, race):
    # CC-04
    first, second, prepare, states = MAIN_RACES[race]
    numbers = range(100)
    async with lab.opened(dsn) as db:
        await lab.populate(db, numbers)
        await rounds(db, first, second, numbers=numbers, prepare=prepare)
        assert {await lab.state(db, number) for number in numbers} <= states
        assert await lab.broken(db) == []
    assert deadlocks(dsn) == 0


async def test_the_second_use_compromises_the_grant_whenever_it_begins(dsn):
    async with lab.opened(dsn) as db:
        await two_uses_compromise(db, acts.refresh)


async def test_fifty_uses_of_one_refresh_token_compromise_the_grant(dsn):
    # CC-01
    async with lab.opened(dsn, pool_size=40) as db:
        await lab.populate(db)
        won = await fifty_uses_compromise(db, acts.refresh)
        assert not await lab.works(db, won["access_token"])
        with pytest.raises(InvalidGrant):
            await grants.refresh_token(
                db,
                lab.settings(),
                lab.client(),
                lab.refresh_form(won["refresh_token"]),
                resource=lab.RESOURCE,
            )
    assert deadlocks(dsn) == 0


async def test_fifty_uses_inside_the_window_get_one_and_the_same_pair(dsn):
    # CC-02
    async with lab.opened(dsn, pool_size=40) as db:
        await lab.populate(db)
        results = await at_once(50, lambda: acts.refresh_in_window(db))
        assert len({(result["access_token"], result["refresh_token"]) for result in results}) == 1
        assert await lab.works(db, results[0]["access_token"])
        assert await lab.state(db) == "active"
        rows = await db.one(
            """SELECT (SELECT count(*) FROM oauth_refresh_tokens) AS refresh,
                      (SELECT count(*) FROM oauth_access_tokens) AS access"""
        )
        assert (rows.refresh, rows.access) == (2, 2)
    assert deadlocks(dsn) == 0


async def test_the_same_pair_is_refused_once_the_window_is_over(dsn):
    # CC-03
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await acts.refresh_in_window(db)
        await db.execute(
            "UPDATE oauth_refresh_tokens SET reusable_until = clock_timestamp() - interval '1 s'"
            " WHERE rotated_at IS NOT NULL"
        )
        with pytest.raises(InvalidGrant):
            await acts.refresh_in_window(db)
        assert await lab.state(db) == "compromised"


async def test_a_grandparent_is_refused_inside_the_window(dsn):
    # CC-03
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        second = (await acts.refresh_in_window(db))["refresh_token"]
        await grants.refresh_token(
            db,
            lab.settings(window=60),
            lab.client(),
            lab.refresh_form(second),
            resource=lab.RESOURCE,
        )
        with pytest.raises(InvalidGrant):
            await acts.refresh_in_window(db)
        assert await lab.state(db) == "compromised"
        assert await lab.broken(db) == []


async def test_fifty_uses_of_parent_and_child_at_once_leave_a_path(dsn):
    # CC-02, CC-06: whoever is first decides, but there is never a second successor.
    async with lab.opened(dsn, pool_size=20) as db:
        await lab.populate(db)
        child = (await acts.refresh_in_window(db))["refresh_token"]

        async def use(token):
            return await lab.outcome(
                grants.refresh_token(
                    db,
                    lab.settings(window=60),
                    lab.client(),
                    lab.refresh_form(token),
                    resource=lab.RESOURCE,
                )
            )

        results = await asyncio.gather(*(use(token) for token in ["rt-0", child] * 25))
        assert {type(result) for result in results} <= {dict, InvalidGrant}
        assert (await db.one("SELECT count(*) AS n FROM oauth_refresh_tokens")).n <= 3
        assert await lab.broken(db) == []


@pytest.mark.parametrize("count", [2, 10, 50])
async def test_simultaneous_exchanges_of_one_code_have_one_winner(dsn, count):
    # AC-10
    async with lab.opened(dsn, pool_size=40) as db:
        await lab.populate(db)
        await one_exchange_wins(db, acts.exchange, count)
    assert deadlocks(dsn) == 0


async def test_exchanges_that_overlap_do_not_compromise_the_grant(dsn):
    # AC-10. Who looked at the code before it was used is a client that asked twice.
    async with lab.opened(dsn) as db:
        await lab.populate(db, NUMBERS)
        outcomes = await every_order(db, acts.exchange, acts.exchange, numbers=NUMBERS)
        assert all(
            sorted(type(result).__name__ for result in both) == ["InvalidGrant", "dict"]
            for both in outcomes
        )
        states = [await lab.state(db, number, code="code") for number in range(len(outcomes))]
        assert states == ["compromised"] + ["active"] * (len(outcomes) - 1)


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


async def test_a_client_that_is_disabled_while_it_is_seeded_stays_disabled(dsn):
    # AD-01
    async with lab.opened(dsn) as db:
        await whoever_is_disabled_stays_disabled(db, acts.disable_client)


async def test_in_a_storm_of_everything_nobody_waits_for_ever(dsn):
    # CC-07: no two writers lock in opposite orders, nor three.
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

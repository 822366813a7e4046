"""The races of test_races.py between two processes: nothing is shared but the database."""

import time

import pytest
from store import acts, lab
from store.processes import let_meet

ROUNDS = range(100)
DUE = {None, "active"}
RACES = {
    "refresh and revoke": ("refresh", "revoke", {"revoked"}),
    "refresh in a window and revoke": ("refresh_in_window", "revoke", {"revoked"}),
    "refresh and code replay": ("refresh", "replay", {"compromised"}),
    "refresh and client disabled": ("refresh", "disable_client", {"revoked"}),
    "refresh and user disabled": ("refresh", "disable_user", {"revoked"}),
    "late refresh and cleanup": ("refresh", "purge", DUE),
    "exchange and user disabled": ("exchange", "disable_user", {"revoked"}),
}


@pytest.mark.proves("CC-01", "CC-05")
async def test_fifty_uses_from_two_processes_compromise_the_grant(dsn, workers):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        let_meet(workers, dsn, ["log_out"], ["log_out"])  # so that both are connected
        uses = ["refresh"] + [0] * 25
        results = let_meet(workers, dsn, uses, uses)
        [won] = [result for result in results if isinstance(result, dict)]
        assert sorted(map(str, results))[:49] == ["InvalidGrant"] * 49
        assert await lab.state(db) == "compromised"
        assert await lab.broken(db) == []
        assert not await lab.works(db, won["access_token"])


@pytest.mark.proves("CC-02", "CC-05")
async def test_fifty_uses_inside_the_window_get_one_pair_from_two_processes(dsn, workers):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        let_meet(workers, dsn, ["log_out"], ["log_out"])
        uses = ["refresh_in_window"] + [0] * 25
        results = let_meet(workers, dsn, uses, uses)
        assert len({(result["access_token"], result["refresh_token"]) for result in results}) == 1
        assert await lab.state(db) == "active"
        assert (await db.one("SELECT count(*) AS n FROM oauth_refresh_tokens")).n == 2


@pytest.mark.proves("CC-02", "CC-05")
async def test_a_key_that_another_process_replaces_takes_no_answer_away(dsn, workers):
    async with lab.opened(dsn) as db:
        numbers = ROUNDS[:40]
        await lab.populate(db, numbers)
        for number in numbers:
            workers[0].order(dsn, "refresh_in_window", number)
            time.sleep(number % 10 / 2000)
            workers[1].order(dsn, "replace_key", number)
            [answer], _ = workers[0].results(), workers[1].results()
            again = await acts.refresh_in_window(db, number)
            assert again["refresh_token"] == answer["refresh_token"]
            await acts.close_windows(db)
        assert await lab.broken(db) == []


@pytest.mark.proves("CC-05")
async def test_two_processes_that_start_at_once_make_one_key(dsn, workers):
    async with lab.opened(dsn) as db:
        starts = ["start"] + [0] * 5
        assert let_meet(workers, dsn, starts, starts) == [None] * 10
        assert (await db.one("SELECT count(*) AS n FROM server_keys")).n == 1


@pytest.mark.proves("AC-10", "CC-05")
async def test_one_of_two_processes_exchanges_a_code(dsn, workers):
    async with lab.opened(dsn) as db:
        await lab.populate(db, ROUNDS)
        for number in ROUNDS:
            results = let_meet(workers, dsn, ["exchange", number], ["exchange", number])
            assert sorted(isinstance(result, dict) for result in results) == [False, True]
            assert "InvalidGrant" in results
        assert await lab.broken(db) == []


@pytest.mark.proves("CC-04", "CC-05", "CL-03")
@pytest.mark.parametrize("race", RACES)
async def test_a_hundred_rounds_of_two_processes_end_well(dsn, workers, race):
    first, second, states = RACES[race]
    async with lab.opened(dsn) as db:
        await lab.populate(db, ROUNDS)
        for number in ROUNDS:
            if second == "purge":
                await acts.make_old(db, number)
            workers[0].order(dsn, first, number)
            time.sleep(number % 10 / 2000)
            workers[1].order(dsn, second, number)
            for result in workers[0].results() + workers[1].results():
                assert isinstance(result, dict | int | None) or result == "InvalidGrant"
        assert {await lab.state(db, number) for number in ROUNDS} <= states
        assert await lab.broken(db) == []

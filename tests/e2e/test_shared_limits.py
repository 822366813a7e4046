"""Two servers of one database count failures together."""

import asyncio

import pytest
from serving import PASSWORD, USER, Flow, serving

LIMIT = 6
FEW = {"failures": LIMIT}
SETTINGS = {"limits": {"token": FEW, "login": FEW}}


async def guess(flow):
    return (await flow.refresh("mcps_rt_guess")).status_code


@pytest.mark.proves("RL-04")
async def test_failures_at_one_server_count_at_the_other(dsn):
    async with serving(dsn, SETTINGS) as one, serving(dsn, SETTINGS, with_user=False) as two:
        here, there = Flow(one), Flow(two)
        for _ in range(LIMIT // 2):
            assert [await guess(here), await guess(there)] == [400, 400]
        assert [await guess(here), await guess(there)] == [429, 429]


@pytest.mark.proves("RL-04")
async def test_of_many_failures_at_once_as_many_are_told_as_are_allowed(dsn):
    async with serving(dsn, SETTINGS) as one, serving(dsn, SETTINGS, with_user=False) as two:
        flows = [Flow(one), Flow(two)] * LIMIT
        statuses = await asyncio.gather(*map(guess, flows))
        assert sorted(statuses) == [400] * LIMIT + [429] * LIMIT


@pytest.mark.proves("RL-04", "LG-07")
async def test_a_name_that_is_locked_at_one_server_is_locked_at_the_other(dsn):
    async with (
        serving(dsn, SETTINGS) as one,
        serving(dsn, SETTINGS, with_user=False) as two,
        one.browser() as here,
        two.browser() as there,
    ):
        for browser, server in ((here, one), (there, two)):
            await browser.open("/authorize", Flow(server).parameters())
        for _ in range(LIMIT):
            assert (await here.log_in(USER, "wrong battery staple")).status_code == 401
        assert (await there.log_in(USER, PASSWORD)).status_code == 429

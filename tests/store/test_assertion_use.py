"""Using up an assertion: its times, judged by the database, and that it is good once."""

import asyncio

import pytest
from postgres import query

from mcpserve.crypto import digest
from mcpserve.db import Database
from mcpserve.oauth.store import assertions

NOW = "SELECT extract(epoch FROM clock_timestamp())::float AS now"


async def use(db, jti="a", *, now=None, expires=60.0, issued=0.0, not_before=0.0):
    """Use an assertion, all times in seconds from now."""
    now = now or (await db.one(NOW)).now
    async with db.transaction() as tx:
        return await assertions.use(
            tx,
            digest(jti),
            expires=now + expires,
            issued=now + issued,
            not_before=now + not_before,
        )


@pytest.mark.proves("CA-14")
@pytest.mark.parametrize(
    ("times", "good"),
    [
        ({"expires": 1}, True),
        ({"expires": 0}, False),
        ({"expires": -1}, False),
        ({"expires": 599}, True),
        ({"expires": 600}, True),
        ({"expires": 602}, False),
        ({"expires": 602, "issued": -60}, False),
        ({"expires": 630, "issued": 31}, True),
        ({"expires": 630, "issued": 28}, False),
        ({"issued": -86400}, True),
        ({"issued": 59}, True),
        ({"issued": 62}, False),
        ({"not_before": 59}, True),
        ({"not_before": 62}, False),
        ({"issued": 1200, "expires": 1210}, False),
    ],
)
async def test_an_assertion_is_good_for_ten_minutes_at_most(dsn, times, good):
    async with Database.connect(dsn) as db:
        assert await use(db, **times) is good
        assert await use(db) is not good  # Only a good one is used up.


@pytest.mark.proves("CA-14")
async def test_of_many_at_once_one_is_good(dsn):
    async with Database.connect(dsn) as db:
        now = (await db.one(NOW)).now
        for number in range(20):
            used = await asyncio.gather(*(use(db, f"{number}", now=now) for _ in range(20)))
            assert sorted(used) == [False] * 19 + [True]


@pytest.mark.proves("CA-14", "CL-01")
async def test_it_is_remembered_until_it_cannot_be_good_any_more(dsn):
    async with Database.connect(dsn) as db:
        assert await use(db, expires=30)
        (seconds,) = query(
            dsn,
            """SELECT extract(epoch FROM expires_at - clock_timestamp())
               FROM oauth_client_assertions""",
        )[0]
        assert 85 < seconds <= 90

"""Races on purpose: hold a lock until every request that is meant to race waits for it."""

import asyncio
from collections.abc import Coroutine
from contextlib import closing
from typing import Any

import postgres
import psycopg2

WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def waiting(dsn: str, number: int) -> None:
    """Return once this many statements wait for a lock."""
    async with asyncio.timeout(5):
        while postgres.query(dsn, WAITING) != [(number,)]:
            await asyncio.sleep(0.01)


async def race(dsn: str, lock: str, *racers: Coroutine[Any, Any, Any]) -> list[Any]:
    """Start all racers behind the row locks that ``lock`` takes; return their results."""
    with closing(psycopg2.connect(dsn)) as blocker, blocker.cursor() as cursor:
        cursor.execute(lock)
        tasks = [asyncio.create_task(racer) for racer in racers]
        await waiting(dsn, len(tasks))
        blocker.rollback()
        return await asyncio.gather(*tasks)

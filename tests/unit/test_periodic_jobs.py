"""Jobs that run at an interval: whatever happens to one run, there is a next."""

import asyncio
import logging

import pytest

from mcpserve import jobs
from mcpserve.errors import DatabaseTimeout, DatabaseUnavailable

FAILURES = {
    "the database is away": (DatabaseUnavailable("no"), "put off"),
    "the database is slow": (DatabaseTimeout("no"), "put off"),
    "a mistake": (RuntimeError("no"), "failed and will be tried again"),
    "cancelled": (asyncio.CancelledError(), None),
}


@pytest.mark.proves("CL-01")
@pytest.mark.parametrize("what", FAILURES)
async def test_a_run_that_fails_is_not_the_last(caplog, what):
    failure, told = FAILURES[what]
    runs = asyncio.Semaphore(0)

    async def job():
        runs.release()
        raise failure

    with jobs.every(0.01, job):
        async with asyncio.timeout(5):
            for _ in range(3):
                await runs.acquire()
    logged = [record.getMessage() for record in caplog.records if record.name == "mcpserve.jobs"]
    assert all(told in message for message in logged)
    assert bool(logged) == (told is not None)


@pytest.mark.proves("CL-01")
async def test_a_run_that_takes_long_is_not_overtaken():
    running, most, runs = 0, 0, asyncio.Semaphore(0)

    async def job():
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        runs.release()

    with jobs.every(0.01, job):
        async with asyncio.timeout(5):
            for _ in range(3):
                await runs.acquire()
    assert most == 1


async def test_the_first_run_is_at_once_and_the_last_is_given_up_at_the_end(caplog):
    caplog.set_level(logging.DEBUG, "mcpserve")
    begun, ended = asyncio.Event(), asyncio.Event()

    async def job():
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with jobs.every(3600, job):
        async with asyncio.timeout(5):
            await begun.wait()
    async with asyncio.timeout(5):
        await ended.wait()
    assert caplog.records == []

"""What is told through the database: heard by whoever listens, also after a broken connection."""

import asyncio
import contextlib
import time

import postgres
import pytest

from mcpserve import control, notices
from mcpserve.db import Database

CHANNEL = "a_channel"

END = f"""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE application_name = '{notices.listener(CHANNEL)}'"""


async def test_what_is_told_is_heard_in_its_order(dsn):
    async with Database.connect(dsn) as db, contextlib.aclosing(db.notices(CHANNEL)) as heard:
        assert await anext(heard) is None
        assert await db.listeners(CHANNEL) == 1
        texts = ["a", "é" * (notices.MOST_BYTES // 2), "{}"]
        for text in texts:
            await db.notify(CHANNEL, text)
        async with asyncio.timeout(10):
            assert [await anext(heard) for _ in texts] == texts


async def test_a_listener_whose_connection_breaks_says_so_and_listens_again(dsn, monkeypatch):
    monkeypatch.setattr(notices, "FIRST_PAUSE", 0.01)
    async with Database.connect(dsn) as db, contextlib.aclosing(db.notices(CHANNEL)) as heard:
        await anext(heard)
        postgres.query(dsn, END)
        async with asyncio.timeout(10):
            assert await anext(heard) is None
            await db.notify(CHANNEL, "again")
            assert await anext(heard) == "again"


async def test_a_connection_that_is_quiet_for_long_is_tried(dsn, monkeypatch):
    monkeypatch.setattr(notices, "QUIET", 0.01)
    async with Database.connect(dsn) as db, contextlib.aclosing(db.notices(CHANNEL)) as heard:
        await anext(heard)
        texts = [str(number) for number in range(50)]
        async with asyncio.timeout(10):
            for text in texts:
                waiting = asyncio.ensure_future(anext(heard))
                # So that some come just when the connection is tried.
                await asyncio.sleep(0.012)
                await db.notify(CHANNEL, text)
                assert await waiting == text


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(control, "HEARD_TIMEOUT", 0.3)
    monkeypatch.setattr(control, "ANSWER_TIMEOUT", 1.0)


@contextlib.asynccontextmanager
async def answering(db, *everybody):
    tasks = [asyncio.create_task(control.answer(db, handlers)) for handlers in everybody]
    while await db.listeners(control.CHANNEL) < len(everybody):
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def answer_of(value, seconds=0.0):
    async def handler():
        await asyncio.sleep(seconds)
        return {"value": value}

    return {"do it": handler}


async def test_answers_of_any_length_come_from_everybody(dsn):
    long = 'é"\\' * 20_000
    async with (
        Database.connect(dsn) as db,
        answering(db, answer_of("short"), answer_of(long, 0.05)),
    ):
        got = [answer.content["value"] async for answer in control.ask(db, "do it")]
        assert got == ["short", long]


async def test_who_does_not_answer_in_time_is_told(dsn, quick):
    began = time.monotonic()
    async with (
        Database.connect(dsn) as db,
        answering(db, answer_of("short"), answer_of("late", 30)),
    ):
        got = [(answer.process, answer.content) async for answer in control.ask(db, "do it")]
    assert got == [(control.process_name(), {"value": "short"}), (control.process_name(), None)]
    assert time.monotonic() - began < 10


async def test_a_server_that_is_stuck_is_told(dsn, quick):
    async with Database.connect(dsn) as db, contextlib.aclosing(db.notices(control.CHANNEL)) as it:
        await anext(it)
        got = [(answer.process, answer.content) async for answer in control.ask(db, "do it")]
    assert got == [("a server", None)]


async def test_where_nobody_serves_nobody_is_waited_for(dsn):
    async with Database.connect(dsn) as db:
        assert [answer async for answer in control.ask(db, "do it")] == []


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "no json",
        "[]",
        "{}",
        '{"do": "do it"}',
        '{"do": ["do it"], "answer": "mcpserve_answers_"}',
        '{"do": "do it", "answer": "somewhere else"}',
    ],
)
async def test_what_is_no_command_is_passed_over(dsn, payload):
    async with Database.connect(dsn) as db, answering(db, answer_of("still here")):
        await db.notify(control.CHANNEL, payload)
        got = [answer.content async for answer in control.ask(db, "do it")]
        assert got == [{"value": "still here"}]

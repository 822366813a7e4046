"""Documents are fetched when needed, once for all who wait, and kept while they are good."""

import asyncio
import gc
import json
from dataclasses import dataclass
from datetime import timedelta

import pytest

from mcpserve.db import Database
from mcpserve.errors import DatabaseError, DocumentError, FetchError, RateLimited
from mcpserve.oauth import documents
from mcpserve.oauth.documents import Documents
from mcpserve.oauth.store import cleanup

URL = "https://client.example/client.json"


@dataclass
class Answer:
    """What a host says."""

    body: bytes
    lifetime: timedelta | None = None


class Host:
    """Answers in turn; the last answer stays. An exception is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.is_asked = asyncio.Event()

    async def get_json(self, url):
        self.asked.append(url)
        self.is_asked.set()
        await self.answering.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def answer(number, lifetime=None):
    return Answer(json.dumps({"number": number}).encode(), lifetime)


def read(document):
    if not isinstance(document, dict) or "number" not in document:
        raise DocumentError("no number")
    return document["number"]


def text(document):
    return json.dumps(document)


AWAY = FetchError("away")


async def let_pass(db, *, seconds):
    """Let all copies be that much older."""
    await db.execute(
        """UPDATE oauth_documents
           SET fetched_at = fetched_at - %(age)s, fresh_until = fresh_until - %(age)s""",
        age=timedelta(seconds=seconds),
    )


@pytest.mark.proves("CM-03")
@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [(None, 3600), (0, 60), (59, 60), (61, 61), (86399, 86399), (86401, 86400), (10**9, 86400)],
)
async def test_a_copy_is_fresh_for_as_long_as_it_was_said_within_limits(dsn, lifetime, seconds):
    said = None if lifetime is None else timedelta(seconds=lifetime)
    host = Host(answer(1, said), answer(2))
    async with Database.connect(dsn) as db:
        found = Documents(host)
        assert await found.get(db, URL, read) == 1
        kept = await db.one("SELECT fresh_until - fetched_at AS lifetime FROM oauth_documents")
        assert round(kept.lifetime.total_seconds()) == seconds
        await let_pass(db, seconds=seconds - 5)
        assert await found.get(db, URL, read) == 1
        await let_pass(db, seconds=6)
        assert await found.get(db, URL, read) == 2
    assert len(host.asked) == 2


async def test_another_process_uses_the_same_copy(dsn):
    async with Database.connect(dsn) as db:
        assert await Documents(Host(answer(1))).get(db, URL, read) == 1
        other = Host(answer(2))
        assert await Documents(other).get(db, URL, read) == 1
    assert other.asked == []


@pytest.mark.proves("CM-03")
@pytest.mark.parametrize("bad", [AWAY, Answer(b"{}"), Answer(b"{"), Answer(b'"\xff"')])
async def test_a_failure_leaves_the_last_good_copy(dsn, bad):
    host = Host(answer(1), bad, answer(3))
    async with Database.connect(dsn) as db:
        found = Documents(host, pause=0)
        assert await found.get(db, URL, read) == 1
        await let_pass(db, seconds=7200)
        assert await found.get(db, URL, read) == 1
        assert await found.get(db, URL, read) == 3


@pytest.mark.parametrize("bad", [AWAY, Answer(b"{}"), Answer(b"{"), Answer(b'"\xff"')])
async def test_without_a_good_copy_a_failure_is_an_error_and_nothing_is_kept(dsn, bad):
    async with Database.connect(dsn) as db:
        with pytest.raises(DocumentError):
            await Documents(Host(bad)).get(db, URL, read)
        assert await db.rows("SELECT FROM oauth_documents") == []


async def test_what_failed_is_not_asked_for_until_some_time_has_passed(dsn):
    host = Host(AWAY, answer(2))
    async with Database.connect(dsn) as db:
        found = Documents(host, pause=0.2)
        for _ in range(3):
            with pytest.raises(DocumentError):
                await found.get(db, URL, read)
        assert len(host.asked) == 1
        await asyncio.sleep(0.25)
        assert await found.get(db, URL, read) == 2


async def test_another_url_is_asked_for_although_one_failed(dsn):
    host = Host(AWAY, answer(2))
    async with Database.connect(dsn) as db:
        found = Documents(host)
        with pytest.raises(DocumentError):
            await found.get(db, URL, read)
        assert await found.get(db, URL + "l", read) == 2


async def test_few_failures_are_remembered(dsn, monkeypatch):
    monkeypatch.setattr(documents, "MAX_FAILURES", 3)
    host = Host(AWAY)
    async with Database.connect(dsn) as db:
        found = Documents(host)
        for number in [1, 2, 3, 4, 4, 3, 2, 1]:
            with pytest.raises(DocumentError):
                await found.get(db, f"{URL}{number}", read)
    assert [url[-1] for url in host.asked] == ["1", "2", "3", "4", "1"]


async def test_a_refetch_looks_again_but_not_within_a_minute(dsn):
    host = Host(answer(1), answer(2), AWAY)
    async with Database.connect(dsn) as db:
        found = Documents(host)
        assert await found.get(db, URL, read) == 1
        await let_pass(db, seconds=55)
        assert await found.get(db, URL, read, refetch=True) == 1
        await let_pass(db, seconds=6)
        assert await found.get(db, URL, read, refetch=True) == 2
        await let_pass(db, seconds=61)
        assert await found.get(db, URL, read, refetch=True) == 2
    assert len(host.asked) == 3


@pytest.mark.proves("CM-03")
async def test_all_who_ask_at_once_share_one_fetch(dsn):
    host = Host(answer(1), answer(2))
    async with Database.connect(dsn) as db:
        found = Documents(host)
        assert await asyncio.gather(*(found.get(db, URL, read) for _ in range(20))) == [1] * 20
        await let_pass(db, seconds=7200)
        assert await asyncio.gather(*(found.get(db, URL, read) for _ in range(20))) == [2] * 20
    assert len(host.asked) == 2


async def test_all_who_wait_for_a_host_that_is_away_wait_once(dsn):
    host = Host(AWAY)
    async with Database.connect(dsn) as db:
        found = Documents(host)
        failures = await asyncio.gather(
            *(found.get(db, URL, read) for _ in range(20)), return_exceptions=True
        )
    assert {type(failure) for failure in failures} == {DocumentError}
    assert len(host.asked) == 1


async def test_who_was_first_may_hang_up_and_the_others_get_the_document(dsn):
    host = Host(answer(1))
    host.answering.clear()
    async with Database.connect(dsn) as db:
        found = Documents(host)
        first = asyncio.create_task(found.get(db, URL, read))
        await host.is_asked.wait()
        second = asyncio.create_task(found.get(db, URL, read))
        await asyncio.sleep(0.1)  # Now it waits, too.
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        host.answering.set()
        assert await second == 1
    assert len(host.asked) == 1


async def test_a_fetch_that_nobody_waits_for_any_more_fails_silently(dsn, caplog):
    host = Host(AWAY)
    host.answering.clear()
    async with Database.connect(dsn) as db:
        found = Documents(host)
        task = asyncio.create_task(found.get(db, URL, read))
        await host.is_asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        host.answering.set()
        await asyncio.sleep(0.1)
        gc.collect()  # Now asyncio would tell of an exception that nobody looked at.
        assert caplog.records == []
        # The next one meets the failure and not the fetch.
        with pytest.raises(DocumentError):
            await found.get(db, URL, read)
    assert len(host.asked) == 1


async def test_closing_ends_the_fetches(dsn):
    host = Host(answer(1))
    host.answering.clear()
    async with Database.connect(dsn) as db:
        found = Documents(host)
        task = asyncio.create_task(found.get(db, URL, read))
        await host.is_asked.wait()
        found.close()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        assert await db.rows("SELECT FROM oauth_documents") == []


async def test_a_document_is_read_by_each_in_its_own_way(dsn):
    host = Host(answer(1))
    async with Database.connect(dsn) as db:
        found = Documents(host)
        results = await asyncio.gather(found.get(db, URL, read), found.get(db, URL, text))
        assert results == [1, '{"number": 1}']
        assert await found.get(db, URL, text) == '{"number": 1}'


async def test_a_copy_that_is_not_good_enough_is_as_none(dsn):
    host = Host(Answer(b"{}"), answer(2))
    async with Database.connect(dsn) as db:
        found = Documents(host)
        assert await found.get(db, URL, text) == "{}"
        assert await found.get(db, URL, read) == 2


@pytest.mark.proves("RL-01")
async def test_every_fetch_must_be_admitted(dsn):
    admitted = []

    async def admit():
        admitted.append(True)

    host = Host(AWAY, answer(1))
    async with Database.connect(dsn) as db:
        found = Documents(host, pause=0)
        with pytest.raises(DocumentError):
            await found.get(db, URL, read, admit=admit)
        assert await found.get(db, URL, read, admit=admit) == 1
        assert await found.get(db, URL, read, admit=admit) == 1
        await let_pass(db, seconds=7200)
        assert await found.get(db, URL, read, admit=admit) == 1
    assert (len(host.asked), len(admitted)) == (3, 3)


async def test_who_is_admitted_late_finds_what_came_meanwhile(dsn):
    host = Host(answer(1), answer(2))
    async with Database.connect(dsn) as db:
        found = Documents(host)

        async def admit():
            await found.get(db, URL, read)  # Somebody else was faster.

        assert await found.get(db, URL, read, admit=admit) == 1
    assert len(host.asked) == 1


async def test_who_is_not_admitted_causes_no_fetch_and_no_failure_of_others(dsn):
    async def refuse():
        raise RateLimited(1, "wait")

    host = Host(answer(1))
    async with Database.connect(dsn) as db:
        found = Documents(host)
        with pytest.raises(RateLimited):
            await found.get(db, URL, read, admit=refuse)
        assert host.asked == []
        assert await found.get(db, URL, read) == 1


@pytest.mark.parametrize(
    "body",
    [
        rb'{"number": 1, "nul": "\u0000"}',
        b'{"number": 1, "big": 1e400, "bigger": ' + b"1" * 4000 + b"}",
        '{"number": 1, "letter": "é\u2028"}'.encode(),
    ],
)
async def test_all_that_is_json_can_be_kept(dsn, body):
    async with Database.connect(dsn) as db:
        assert await Documents(Host(Answer(body))).get(db, URL, read) == 1
        assert await Documents(Host(AWAY)).get(db, URL, read) == 1


async def test_a_database_that_fails_is_no_failure_of_the_document(dsn):
    host = Host(answer(1))
    async with Database.connect(dsn, lock_timeout=0.2) as db, Database.connect(dsn) as other:
        found = Documents(host)
        async with other.transaction() as tx:
            await tx.execute("LOCK TABLE oauth_documents IN EXCLUSIVE MODE")
            with pytest.raises(DatabaseError):
                await found.get(db, URL, read)
        assert await found.get(db, URL, read) == 1


async def test_a_copy_that_is_too_old_to_trust_is_deleted(dsn):
    async with Database.connect(dsn) as db:
        found = Documents(Host(answer(1), answer(2), AWAY), pause=0)
        await found.get(db, URL + "old", read)
        await let_pass(db, seconds=timedelta(days=30).total_seconds())
        await found.get(db, URL, read)
        await cleanup.purge(db)
        assert [row.url for row in await db.rows("SELECT url FROM oauth_documents")] == [URL]

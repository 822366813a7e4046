"""Two actions at once: step by step in every order, and simply at the same time."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from store.lab import outcome

from mcpserve.db import Database, Queryable

Action = Callable[[Any, int], Awaitable[Any]]
Hook = Callable[[Queryable, str, Mapping[str, Any]], Awaitable[None]]


class Watched(Queryable):
    """A database or transaction that calls a hook before it sends a statement."""

    def __init__(self, inner: Any, hook: Hook) -> None:
        self._inner = inner
        self._hook = hook

    async def _statement(self, sql: str, params: Mapping[str, Any], read: Any) -> Any:
        await self._hook(self._inner, sql, params)
        return await self._inner._statement(sql, params, read)

    @property
    def after_commit(self) -> Any:
        """What the transaction inside does after COMMIT."""
        return self._inner.after_commit

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator["Watched"]:
        """Begin a transaction that is watched too."""
        async with self._inner.transaction(**options) as tx:
            yield Watched(tx, self._hook)


async def nothing(db: Database, number: int) -> None:
    """Prepare nothing."""


async def every_order(
    db: Database, first: Action, second: Action, *, numbers: range, prepare: Action = nothing
) -> list[tuple[Any, Any]]:
    """Let ``second`` begin before each statement of ``first`` in turn; return all outcomes.

    Each round is about the next number, which is prepared. ``second`` gets as far as it can: to
    its end, or to a lock that ``first`` holds. An error that nobody should be told is raised.
    """
    outcomes = []
    for step, number in enumerate(numbers):
        others: list[asyncio.Task[Any]] = []
        steps = itertools.count()

        async def hook(_: Queryable, __: str, ___: Mapping[str, Any]) -> None:
            if next(steps) == step:  # noqa: B023 - called within its own round
                task = asyncio.create_task(_result(second(db, number)))  # noqa: B023
                others.append(task)  # noqa: B023
                await ended_or_blocked(db, task)

        await prepare(db, number)
        mine = await outcome(first(Watched(db, hook), number))
        if not others:
            return outcomes
        outcomes.append((mine, await others[0]))
    raise AssertionError("first has more statements than there are numbers")


async def _result(call: Awaitable[Any]) -> Any:
    return await outcome(call)


async def ended_or_blocked(db: Database, task: asyncio.Task[Any]) -> None:
    """Wait until the task has ended, or somebody in this database waits for a lock."""
    while not task.done():
        waiting = await db.one(
            """SELECT count(*) AS n FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'"""
        )
        if waiting.n:
            return
        await asyncio.sleep(0.001)


async def rounds(
    db: Database, first: Action, second: Action, *, numbers: range, prepare: Action = nothing
) -> list[tuple[Any, Any]]:
    """Start both at the same time, or one a little later, again and again."""

    async def late(act: Action, number: int, delay: float) -> Any:
        await asyncio.sleep(delay)
        return await outcome(act(db, number))

    outcomes = []
    for number in numbers:
        await prepare(db, number)
        # From 5 ms before to 5 ms after: an action takes about that long.
        lead = (number % 21 - 10) / 2000
        outcomes.append(
            await asyncio.gather(
                late(first, number, max(0, -lead)), late(second, number, max(0, lead))
            )
        )
    return outcomes


def gate(count: int) -> Callable[[], Awaitable[None]]:
    """Return what to await so that the first ``count`` tasks go on together.

    All of them send before any of them reads; an ``asyncio.Barrier`` lets them go one by one.
    """
    arrived, everybody_is_here = itertools.count(1), asyncio.Event()

    async def wait() -> None:
        if next(arrived) == count:
            everybody_is_here.set()
        await everybody_is_here.wait()

    return wait


async def at_once(count: int, call: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Do the same ``count`` times at once; raise only when all of them have ended."""
    tasks = [asyncio.create_task(_result(call())) for _ in range(count)]
    await asyncio.wait(tasks)
    for error in [task.exception() for task in tasks]:
        if error is not None:
            raise error
    return [task.result() for task in tasks]

"""Lookups that wait together are sent as one statement.

Nobody joins a statement that was sent before they asked: it may have been answered from what was
true before. What is asked while statements are under way waits for the next one.
"""

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from contextvars import Context
from typing import Any, Generic, TypeAlias, TypeVar

from mcpserve.errors import DatabaseUnavailable

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

Waiter: TypeAlias = tuple[Key, asyncio.Future[asyncio.Task[Mapping[Key, Value]]]]
"""A key, and what is told that its statement is done."""

IN_FLIGHT = 2
"""Statements under way for which others wait. With one, few callers wait for the network; with
more, many share too little."""
MOST_KEYS = 100
"""Keys of one statement."""
PATIENCE = 0.05
"""Seconds after which nobody waits for a statement that is under way."""


class Lookups(Generic[Key, Value]):
    """Finds values by their keys. ``ask`` sends one statement, which may have many keys.

    A key that waits for nobody is asked for by the caller's own task, without a detour.
    """

    def __init__(
        self, ask: Callable[[Sequence[Key]], Coroutine[Any, Any, Mapping[Key, Value]]]
    ) -> None:
        self._ask = ask
        self._waiting: deque[Waiter[Key, Value]] = deque()
        self._under_way: set[object] = set()
        self._tasks: set[asyncio.Task[Mapping[Key, Value]]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def find(self, key: Key) -> Value | None:
        """Return the value, or None; raise what ``ask`` raises, in an exception of one's own."""
        if len(self._under_way) >= IN_FLIGHT:
            return (await self._together(key)).get(key)
        mark = object()
        self._under_way.add(mark)
        try:
            return (await self._ask((key,))).get(key)
        finally:
            self._under_way.discard(mark)
            self._send()

    async def _together(self, key: Key) -> Mapping[Key, Value]:
        """Wait for a statement with this key, and return or raise what came of it."""
        done: asyncio.Future[asyncio.Task[Mapping[Key, Value]]]
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((key, done))
        if self._timer is None:
            self._watch()
        task = await done
        if task.cancelled():
            raise _given_up()
        if error := task.exception():
            # One for each: an exception remembers where it was raised.
            raise copy.copy(error) from error
        return task.result()

    async def close(self) -> None:
        """Fail whoever waits, and end what is under way for them."""
        if self._timer is not None:
            self._timer.cancel()
        while batch := self._next():
            for _, done in batch:
                done.set_exception(_given_up())
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _send(self) -> None:
        """Ask for what waits, unless enough is under way."""
        if len(self._under_way) >= IN_FLIGHT or not (batch := self._next()):
            return
        keys = tuple(dict.fromkeys(key for key, _ in batch))
        # In a context of its own: the task is of many, and of no plugin that may end its tasks.
        task = asyncio.get_running_loop().create_task(self._ask(keys), context=Context())
        self._under_way.add(task)
        self._tasks.add(task)
        # Not by the task itself, which may be cancelled before it begins.
        task.add_done_callback(lambda _: self._answer(batch, task))

    def _next(self) -> list[Waiter[Key, Value]]:
        """Take the first of those who still wait."""
        batch: list[Waiter[Key, Value]] = []
        while self._waiting and len(batch) < MOST_KEYS:
            key, done = self._waiting.popleft()
            if not done.done():
                batch.append((key, done))
        return batch

    def _answer(
        self, batch: list[Waiter[Key, Value]], task: asyncio.Task[Mapping[Key, Value]]
    ) -> None:
        """Tell everybody that a statement is done, after the next one is on its way."""
        self._under_way.discard(task)
        self._tasks.discard(task)
        self._send()
        if not task.cancelled():
            task.exception()  # Nobody may be left to look at it, which asyncio would complain of.
        for _, done in batch:
            if not done.done():
                done.set_result(task)

    def _watch(self) -> None:
        """Look after whoever waits longest now."""
        first = self._waiting[0][1]
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._hurry, first)

    def _hurry(self, first: object) -> None:
        """Wait no longer for statements that hang, on a connection that is dead perhaps."""
        self._timer = None
        if self._waiting and self._waiting[0][1] is first:
            self._under_way.clear()
            self._send()
        if self._waiting:
            self._watch()


def _given_up() -> DatabaseUnavailable:
    return DatabaseUnavailable("the lookup was given up")

"""Time limits that are seldom reached: one timer for all that are of the same length."""

import asyncio
from collections.abc import Callable, Hashable
from contextvars import Context
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Deadlines(Generic[Item]):
    """Calls ``expired`` with whatever did not end so many seconds after it began.

    A timer of asyncio for each would take ten times as long. Belongs to one event loop.
    """

    def __init__(self, seconds: float, expired: Callable[[Item], object]) -> None:
        self.seconds = seconds
        self._expired = expired
        self._ends: dict[Item, float] = {}
        """In the order in which they come."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, item: Item) -> None:
        """Limit the time of this, which is under no limit here yet."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.seconds
        self._ends[item] = end
        if self._timer is None:
            self._watch(loop, end)

    def end(self, item: Item) -> None:
        """Know that this is no longer under a limit, if it was."""
        self._ends.pop(item, None)

    def _watch(self, loop: asyncio.AbstractEventLoop, end: float) -> None:
        # In a context of its own: the timer is of many, and of none that it began with.
        self._timer = loop.call_at(end, self._look, context=Context())

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._ends:
            item, end = next(iter(self._ends.items()))
            if end > loop.time():
                return self._watch(loop, end)
            del self._ends[item]
            self._expired(item)
        return None

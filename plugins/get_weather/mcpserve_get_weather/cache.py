"""Answers that are kept for a while, so that a service is not asked the same thing twice.

While it fails, the last answer has to do, if there is one that is not too old.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from mcpserve import ToolError

Value = TypeVar("Value")


LAST_RESORT = 7200.0
"""Seconds for which an answer may stand in for one that cannot be had."""

PAUSE = 60.0
"""Seconds for which a service that failed is not asked again what it once has answered."""


@dataclass(frozen=True)
class Kept:
    """An answer, and the times up to which it holds, and may stand in for another."""

    value: Any
    until: float
    last: float


def as_it_is(value: Value) -> Value:
    """Return an old answer unchanged: nobody need know how old it is."""
    return value


class Cache:
    """Answers by what was asked: at most ``size``, each for ``seconds``. Failures are not kept."""

    def __init__(
        self, *, seconds: float, size: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._asking: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(
        self,
        key: Hashable,
        ask: Callable[[], Coroutine[Any, Any, Value]],
        *,
        outdated: Callable[[Value], Value] = as_it_is,
    ) -> Value:
        """Return the answer to ``key``: what is kept, or what whoever asks already will get.

        If ``ask`` raises a :class:`ToolError`, the last answer as ``outdated`` makes it; without
        one, and for everything else, this raises what ``ask`` raises.
        """
        found = self._kept.get(key)
        if found and self._clock() < found.until:
            kept: Value = found.value
            return kept
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._ask(key, ask, outdated))
        # Others may wait for the same: who hangs up only stops waiting.
        answer: Value = await asyncio.shield(self._asking[key])
        return answer

    async def close(self) -> None:
        """Ask no further."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _ask(
        self,
        key: Hashable,
        ask: Callable[[], Coroutine[Any, Any, Value]],
        outdated: Callable[[Value], Value],
    ) -> Value:
        try:
            value = await ask()
        except ToolError:
            kept = self._kept.get(key)
            if kept is None or self._clock() >= kept.last:
                raise
            value = outdated(kept.value)
            until = self._clock() + min(PAUSE, self._seconds)
            self._kept[key] = replace(kept, value=value, until=until)
            return value
        finally:
            del self._asking[key]
        if not self._seconds:
            return value
        until = self._clock() + self._seconds
        self._kept[key] = Kept(value, until, until + LAST_RESORT)
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return value

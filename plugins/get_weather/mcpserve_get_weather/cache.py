"""Answers that are kept for a while, so that a service is not asked the same thing twice."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

Value = TypeVar("Value")


class Cache:
    """Answers by what was asked: at most ``size``, each for ``seconds``. Failures are not kept."""

    def __init__(
        self, *, seconds: float, size: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._kept: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()
        self._asking: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """Return the answer to ``key``: what is kept, or what whoever asks already will get.

        Raises whatever ``ask`` raises.
        """
        until, value = self._kept.get(key, (0.0, None))
        if self._clock() < until:
            kept: Value = value
            return kept
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._ask(key, ask))
        # Others may wait for the same: who hangs up only stops waiting.
        answer: Value = await asyncio.shield(self._asking[key])
        return answer

    async def close(self) -> None:
        """Ask no further."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _ask(self, key: Hashable, ask: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        try:
            value = await ask()
        finally:
            del self._asking[key]
        self._kept[key] = (self._clock() + self._seconds, value)
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return value

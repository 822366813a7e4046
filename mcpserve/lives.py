"""Lives: what one task opens and closes, as plugins need it, and nobody waits for in vain."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

PATIENCE = 2.0
"""Seconds that a cancelled life has to end before nobody waits for it any more."""

Opened = TypeVar("Opened")


class Overdue(TimeoutError):
    """It was not opened in time."""


class Life(Generic[Opened]):
    """A context that is entered and left in a task of its own.

    What is held open has to be closed by the task that opened it. Whatever happens in the task
    stays in it: it does not raise.
    """

    def __init__(self, context: AbstractAsyncContextManager[Opened]) -> None:
        self.failed: BaseException | None = None
        """Why it ended early, or how closing failed."""
        self._opened: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self.task = asyncio.create_task(self._live(context))
        # One that nobody ends goes with its loop.
        self.task._log_destroy_pending = False  # type: ignore[attr-defined]

    @property
    def is_over(self) -> bool:
        """Whether it was told to end."""
        return self._over.is_set()

    async def opened(self, *, limit: float | None = None) -> Opened:
        """Return what the context yields. Raises as entering it does.

        Raises :class:`Overdue` after ``limit`` seconds, while the task still is where it was; call
        :meth:`give_up` then.
        """
        await asyncio.wait([self._opened], timeout=limit)
        if not self._opened.done():
            raise Overdue
        return self._opened.result()

    async def end(self, *, limit: float | None = None) -> bool:
        """Leave the context; whether that came to an end within ``limit`` seconds."""
        self._over.set()
        await asyncio.wait([self.task], timeout=limit)
        return self.task.done() or await self.give_up()

    async def give_up(self) -> bool:
        """Cancel it, and wait for a moment; whether it ended."""
        self._over.set()
        self._opened.cancel()
        self.task.cancel()
        await asyncio.wait([self.task], timeout=PATIENCE)
        return self.task.done()

    async def _live(self, context: AbstractAsyncContextManager[Opened]) -> None:
        try:
            async with context as value:
                if not self._opened.cancelled():
                    self._opened.set_result(value)
                    await self._over.wait()
        except BaseException as error:
            # An exit that got out of the task would end the loop.
            if self._opened.done():
                self.failed = error
            else:
                self._opened.set_exception(error)

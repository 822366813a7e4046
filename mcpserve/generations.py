"""Generations: each is the whole server as one configuration makes it, beside the next one."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack

from tornado.web import Application

from mcpserve.containment import Tasks
from mcpserve.lives import Life
from mcpserve.settings import Settings
from mcpserve.web import Services, application
from mcpserve.web.front import Front

logger = logging.getLogger(__name__)

Opening = Callable[[Settings], AbstractAsyncContextManager[Services]]
Duties = Callable[[Services], AbstractContextManager[None]]
"""What is done once, however many generations live: by the current one."""


class Generation:
    """Settings, plugins and handlers that belong together, from opening to closing.

    It lives in a task of its own: what is held open has to be closed by the task that opened it,
    and generations overlap.
    """

    def __init__(self, services: Services, life: Life[Services]) -> None:
        self.services = services
        self.application: Application = application(services)
        self.life = life

    @classmethod
    async def open(cls, opening: AbstractAsyncContextManager[Services]) -> "Generation":
        """Make a generation, which serves nobody yet. Raises whatever ``opening`` raises."""
        life = Life(opening)
        try:
            return cls(await life.opened(), life)
        except BaseException:
            await life.give_up()
            await life.end()
            raise

    @property
    def patience(self) -> float:
        """Seconds after which none of its calls should be under way any more."""
        registry = self.services.plugins.registry
        offers = (*registry.tools, *registry.resources, *registry.prompts)
        grace = self.services.settings.server.shutdown_grace.total_seconds()
        return max((bound.timeout for bound in offers), default=0.0) + grace

    async def finish(self) -> None:
        """Let the requests end that it has, though not for ever, and close it.

        To be run in a task that is made when no more come: the tasks of those that came before are
        older, and have counted their requests when it begins.
        """
        drain = self.services.drain
        try:
            async with asyncio.timeout(self.patience):
                await drain.stop()
        except TimeoutError:
            logger.warning("gave up %d requests of an earlier configuration", drain.active)
            await drain.give_up()
        await self.close()

    async def close(self) -> None:
        """Let plugins clean up, and end what it started."""
        await self.life.end()
        error = self.life.failed
        if error and not isinstance(error, asyncio.CancelledError):
            logger.error("closing failed", exc_info=error)


class Generations:
    """The generation that takes requests, and earlier ones that still have some."""

    def __init__(
        self, first: Generation, duties: Duties, *, closed: Callable[[], None] = lambda: None
    ) -> None:
        """Begin with the first; ``closed`` is told whenever an earlier one has been closed."""
        self.current = first
        self.number = 1
        self.lost = asyncio.Event()
        """Set when the current one ended without being told to, by what a plugin did."""
        self.front = Front(lambda: self.current.application)
        self._duties = duties
        self._closed = closed
        self._on_duty = ExitStack()
        self._earlier: dict[Generation, asyncio.Task[None]] = {}
        self._begin(first)

    @property
    def all(self) -> tuple[Generation, ...]:
        """Every generation that is not closed, the current one first."""
        return (self.current, *self._earlier)

    @property
    def tasks(self) -> Iterable[Tasks]:
        """What runs of each plugin."""
        return [tasks for each in self.all for tasks in each.services.plugins.tasks]

    def swap(self, new: Generation) -> None:
        """Give the requests that come from now on to a new generation."""
        self._on_duty.close()
        old, self.current = self.current, new
        self.number += 1
        self._begin(new)
        self._earlier[old] = asyncio.create_task(self._finish(old))

    async def _finish(self, old: Generation) -> None:
        try:
            await old.finish()
        finally:
            del self._earlier[old]
        self._closed()

    def _begin(self, generation: Generation) -> None:
        self._on_duty = ExitStack()
        self._on_duty.enter_context(self._duties(generation.services))
        generation.life.task.add_done_callback(lambda _: self._ended(generation))

    def _ended(self, generation: Generation) -> None:
        if not generation.life.is_over:
            logger.critical("a plugin ended what all plugins run in")
            if generation is self.current:
                self.lost.set()

    async def close(self) -> None:
        """Close every generation, without waiting for requests."""
        self._on_duty.close()
        generations = self.all
        for finishing in self._earlier.values():
            finishing.cancel()
        await asyncio.gather(*(generation.close() for generation in generations))

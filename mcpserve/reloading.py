"""Reading the configuration again: the next generation is made, or nothing changes."""

import asyncio
import contextlib
import importlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mcpserve import changes, discovery, loading, log, plugins_dir
from mcpserve.config import Loaded
from mcpserve.errors import MCPServeError
from mcpserve.generations import Generation, Generations, Opening
from mcpserve.settings import Settings
from mcpserve.web import Services

logger = logging.getLogger(__name__)

REFRESH = (
    "clients that keep their list of tools have to look again (ChatGPT: Refresh in its settings)"
)

MOVED = "server.public_url changes: all grants are for the old one, every client has to log in anew"


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt."""

    generation: int
    """The number of the one that serves now."""
    problems: tuple[str, ...] = ()
    """Why nothing changed, each with its key path."""
    changes: tuple[str, ...] = ()
    at_start: tuple[str, ...] = ()
    """Settings that take effect at the next start."""
    hints: tuple[str, ...] = ()


async def alone() -> None:
    """Agree with nobody: no other process serves on this port."""


class Reloader:
    """Makes the next generation from what the configuration says now, one after the other."""

    def __init__(
        self,
        generations: Generations,
        *,
        read: Callable[[], Loaded],
        opening: Opening,
        prepare: Callable[[Services], Awaitable[None]],
        agree: Callable[[], Awaitable[None]] = alone,
    ) -> None:
        """Follow the first; ``prepare`` writes to the database what a start would.

        ``agree`` waits until whoever swaps together is prepared, and raises
        :class:`~mcpserve.errors.MCPServeError` if one cannot.
        """
        self._generations = generations
        self._read = read
        self._opening = opening
        self._prepare = prepare
        self._agree = agree
        self._one = asyncio.Lock()

    async def reload(self) -> Outcome:
        """Swap if everything is in order; else say why not and leave everything as it is."""
        loading.serves.set(True)
        async with self._one:
            try:
                return await self._swap()
            except MCPServeError as error:
                problems = tuple(str(error).splitlines()) or (type(error).__name__,)
            except Exception as error:
                logger.exception("reading the configuration again failed")
                problems = (f"{type(error).__name__}, see the log of the server",)
            for problem in problems:
                logger.error("not reloaded, all stays as it was: %s", problem)
            return Outcome(self._generations.number, problems)

    async def _swap(self) -> Outcome:
        old = self._generations.current.services
        read = self._read().settings
        # What was installed meanwhile may be new to Python.
        importlib.invalidate_caches()
        plugins_dir.add(old.settings.plugins_folder)
        differs = changes.changed_settings(old.settings, read)
        at_start = tuple(changes.at_start(differs))
        settings = changes.until_start(read, old.settings)
        try:
            new = await Generation.open(self._opening(settings))
        except MCPServeError as error:
            # What was mended may be on the disk already.
            raise MCPServeError("\n".join([str(error), *outdated(settings)])) from error
        try:
            await self._prepare(new.services)
            # Before the swap, after which nothing may fail.
            outcome = self._outcome(old, new.services, at_start)
            await self._agree()
        except BaseException:
            await new.close()
            raise
        self._generations.swap(new)
        if settings.log != old.settings.log:
            log.configure(settings.log)
        tell(outcome, differs)
        return outcome

    def _outcome(self, old: Services, new: Services, at_start: tuple[str, ...]) -> Outcome:
        before, after = (changes.served(each.plugins.registry) for each in (old, new))
        different = changes.compare(before, after)
        hints = [REFRESH] if different.has_to_be_refreshed else []
        hints += moved(old.settings, new.settings)
        hints += outdated(new.settings)
        hints += [f"started without {reason}" for reason in new.plugins.skipped.values()]
        hints += [str(unapproved) for unapproved in new.plugins.unapproved]
        number = self._generations.number + 1
        return Outcome(number, (), tuple(different.lines()), at_start, tuple(hints))

    def described(self) -> Mapping[str, Any]:
        """Tell what is served, and which settings are different in the configuration now."""
        services = self._generations.current.services
        told: dict[str, Any] = {
            "generation": self._generations.number,
            "config": "",
            "problems": [],
            "settings": {},
            "hints": [],
            "offers": [each.model_dump() for each in changes.served(services.plugins.registry)],
            "scopes": sorted(services.server.scopes.texts),
            "implied": {
                broad: sorted(narrow) for broad, narrow in services.server.scopes.implied.items()
            },
        }
        try:
            loaded = self._read()
        except MCPServeError as error:
            told["problems"] = str(error).splitlines()
        else:
            told["config"] = str(loaded.path.absolute()) if loaded.path else ""
            told["settings"] = changes.changed_settings(services.settings, loaded.settings)
            told["hints"] = moved(
                services.settings, changes.until_start(loaded.settings, services.settings)
            )
        return told


def tell(outcome: Outcome, differs: Iterable[str]) -> None:
    """Log what a reload changed."""
    what = "; ".join(outcome.changes) or "the same tools, resources and prompts"
    logger.info("reloaded, generation %d: %s", outcome.generation, what)
    if settings := ", ".join(differs):
        logger.info("settings that differ: %s", settings)
    for key in outcome.at_start:
        logger.warning("takes effect at the next start: %s", key)
    for hint in outcome.hints:
        logger.info("%s", hint)


def moved(old: Settings, new: Settings) -> list[str]:
    """Warn of another public address."""
    return [MOVED] if old.server.issuer != new.server.issuer else []


def outdated(settings: Settings) -> list[str]:
    """Tell of packages that were exchanged: what was imported stays until the next start."""
    here = [name for name, each in settings.plugins.items() if each.isolation == "none"]
    return list(discovery.outdated(here))


async def at_each(wanted: asyncio.Event, reload: Callable[[], Awaitable[object]]) -> None:
    """Reload whenever it is wanted; what is wanted again meanwhile is one more time."""
    while True:
        await wanted.wait()
        wanted.clear()
        await reload()


@contextlib.asynccontextmanager
async def background(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these beside the block, and end them with it."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

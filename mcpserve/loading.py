"""Loading one plugin: import, hooks and clean-up in a task of its own, and for a limited time.

Whatever the plugin does or raises there becomes a :class:`PluginError`. Its plain functions run in
threads, as its tools do: a server that reloads goes on meanwhile.
"""

import asyncio
import contextlib
import functools
import inspect
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pluggy

from mcpserve import lag, log, stacks
from mcpserve.bound import Bound, Containment
from mcpserve.config_keys import Schema, config_schema
from mcpserve.decisions import (
    bind,
    check_names,
    check_overrides,
    check_pages,
    warn_of_closed_pages,
)
from mcpserve.errors import PluginError
from mcpserve.hooks import (
    call_hook,
    make_manager,
    plugin_config,
    reason,
    register,
    warn_if_implemented,
)
from mcpserve.isolation.offers import isolated
from mcpserve.isolation.wire import Start
from mcpserve.kinds import KINDS, Kind
from mcpserve.lives import Life, Overdue
from mcpserve.registry import Observer, ToolCall
from mcpserve.settings import OfferSettings, PluginSettings
from mcpserve.threads import in_thread, is_cancelled
from mcpserve.tools import Offer

logger = logging.getLogger(__name__)

SLOW = 5.0
"""Seconds for an import or a hook that are worth a warning."""

CLOSE_TIMEOUT = 5.0
"""Seconds for the clean-up of one plugin."""

EX_CONFIG = 2
"""As for any other plugin that cannot be loaded."""

serves: ContextVar[bool] = ContextVar("serves", default=False)
"""Whether a server goes on beside the loading, and so must not be ended by it."""


@dataclass(frozen=True)
class Loaded:
    """What one plugin hands over."""

    bound: Sequence[Bound[Any]]
    observers: Sequence[Observer]
    config_schema: Schema | None
    """Of its ``config:``; ``None`` if its types have none."""


class Plugin:
    """One plugin, from its import to the end of its clean-up."""

    def __init__(self, name: str, settings: PluginSettings, find: Callable[[str], object]) -> None:
        """Begin to load it. Raises :class:`PluginError` for settings that cannot be met."""
        self.name = name
        self._settings = settings
        self._find = find
        self._containment = Containment.of(name, settings)
        self._doing = "import"
        self._thread: int | None = None
        self._opened = AsyncExitStack()
        self._life = Life(self)

    async def loaded(self) -> Loaded:
        """Wait for what it hands over. Raises :class:`PluginError`; then it has been closed."""
        limit = None
        if self._settings.isolation == "none":
            limit = self._settings.load_timeout.total_seconds()
        try:
            with self._watched(limit):
                loaded = await self._life.opened(limit=limit)
        except Overdue:
            problem = self._overdue(self._where())
            await self._life.give_up()
            raise problem from None
        except BaseException as error:
            await self._life.give_up()
            if isinstance(error, PluginError) or is_cancelled(error):
                raise
            raise PluginError(self.name, reason(error)) from error
        self._life.task.add_done_callback(self._ended)
        return loaded

    async def close(self) -> None:
        """Let it clean up. What fails or hangs there keeps nobody else from theirs."""
        if not await self._life.end(limit=CLOSE_TIMEOUT):
            where = stacks.of_task(self._life.task)
            logger.warning("plugin %s: its clean-up does not end, it is at %s", self.name, where)
        elif self._life.failed and not self._containment.tasks.is_lost:
            logger.error("plugin %s failed while closing", self.name, exc_info=self._life.failed)

    def _ended(self, _: object) -> None:
        if not self._life.is_over:
            self._containment.tasks.is_lost = True
            logger.critical(
                "plugin %s ended by itself; its calls are refused until it is loaded again",
                self.name,
                exc_info=self._life.failed,
            )

    async def __aenter__(self) -> Loaded:
        """Load it: what the task of its life does, for :meth:`loaded`."""
        tasks = self._containment.tasks
        tasks.life = asyncio.current_task()
        async with AsyncExitStack() as exit_stack:
            # Before all that the plugin pushes, and so after it.
            exit_stack.push_async_callback(tasks.close)
            with tasks.working():
                if self._settings.isolation == "process":
                    loaded = await self._elsewhere(exit_stack)
                else:
                    with log.kept(self.name):
                        loaded = await self._here(exit_stack)
            self._opened = exit_stack.pop_all()
        return loaded

    async def __aexit__(self, *error: Any) -> None:
        """Let it clean up: what that task does for :meth:`close`."""
        await self._opened.__aexit__(*error)

    async def _here(self, exit_stack: AsyncExitStack) -> Loaded:
        """Load it in this process."""
        manager = make_manager()
        with self._step("import"):
            await self._in_thread(self._import, manager)
        with self._step("mcpserve_config"):
            given = self._settings.config
            config = await self._in_thread(plugin_config, manager, self.name, given)
            schema = await self._in_thread(config_schema, self.name, type(config))
        ask = functools.partial(self._handed_over, manager, config=config, exit_stack=exit_stack)
        bound = self._decide({kind: await ask(kind) for kind in KINDS})
        return Loaded(bound, observers(manager), schema)

    async def _elsewhere(self, exit_stack: AsyncExitStack) -> Loaded:
        """Load it in a process of its own, which has its own limit."""
        start = Start(
            plugin=self.name, settings=self._settings, path=sys.path, level=logging.root.level
        )
        remote = await isolated(start, exit_stack)
        bound = self._decide({kind: await remote.handed_over(kind) for kind in KINDS})
        return Loaded(bound, remote.observers, remote.config_schema)

    def _decide(self, offered: Mapping[Kind, Sequence[Offer]]) -> list[Bound[Any]]:
        """Apply what the operator decided."""
        bound = []
        for kind, offers in offered.items():
            decided: Mapping[str, OfferSettings] = getattr(self._settings, kind.settings)
            check_overrides(self.name, kind, decided, offers)
            for offer in offers:
                override = decided.get(offer.name, OfferSettings())
                if override.enabled:
                    settings, containment = self._settings, self._containment
                    bound.append(
                        bind(offer, self.name, settings, override, containment=containment)
                    )
        check_pages(self.name, [offer for offers in offered.values() for offer in offers])
        warn_of_closed_pages(bound)
        return bound

    def _import(self, manager: pluggy.PluginManager) -> None:
        try:
            plugin = self._find(self.name)
        except Exception:
            raise
        except BaseException as error:
            raise PluginError(self.name, f"import failed: {reason(error)}") from error
        register(manager, self.name, plugin)

    async def _handed_over(
        self, manager: pluggy.PluginManager, kind: Kind, **arguments: Any
    ) -> list[Offer]:
        """Return what it offers of one kind, with valid and distinct names."""
        hook = f"mcpserve_{kind.settings}"
        with self._step(hook):
            call = functools.partial(call_hook, manager, self.name, hook, **arguments)
            handed = await self._in_thread(call)
            try:
                if inspect.isawaitable(handed):
                    handed = await handed
                if handed is None:
                    warn_if_implemented(manager, self.name, hook)
                elif not isinstance(handed, Iterable):
                    raise TypeError("must return a list")
                offers: list[Offer] = await self._in_thread(kind.offers, handed)
            except BaseException as error:
                if is_cancelled(error):
                    raise
                raise PluginError(self.name, f"{hook}: {reason(error)}") from error
        check_names(self.name, kind, offers)
        return offers

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run code of the plugin in a thread, which is given up with the plugin."""
        value: Any = None
        given_up = False

        def run() -> Any:
            nonlocal value
            self._thread = threading.get_ident()
            value = function(*arguments)
            return value

        def ended() -> None:
            if given_up and inspect.iscoroutine(value):
                value.close()

        try:
            return await in_thread(run, ended=ended)
        except asyncio.CancelledError:
            given_up = True
            raise
        finally:
            self._thread = None

    @contextlib.contextmanager
    def _step(self, doing: str) -> Iterator[None]:
        """Know what it is doing, and tell if that takes long."""
        self._doing = doing
        began = time.monotonic()
        yield
        if (seconds := time.monotonic() - began) > SLOW:
            logger.warning("plugins.%s: %s took %.1f s", self.name, doing, seconds)

    def _where(self) -> str:
        if self._thread is not None:
            return stacks.of_thread(self._thread)
        return stacks.of_task(self._life.task)

    def _overdue(self, where: str) -> PluginError:
        limit = self._settings.load_timeout.total_seconds()
        doing = f"{self._doing} took longer than {limit:g} s"
        return PluginError(self.name, f"{doing}, it is at {where}" if where else doing)

    @contextlib.contextmanager
    def _watched(self, limit: float | None) -> Iterator[None]:
        """Tell of a hook that blocks the event loop, and so whoever would tell of it."""
        if limit is None:
            yield
            return
        here = (asyncio.get_running_loop(), threading.get_ident())
        blocked = self._blocks if serves.get() else self._hangs
        watcher = threading.Timer(limit, lag.tell_if_blocked, (*here, blocked))
        watcher.daemon = True
        watcher.start()
        try:
            yield
        finally:
            watcher.cancel()

    def _blocks(self, running: "asyncio.Task[Any] | None", where: str) -> None:
        if running in self._containment.tasks:
            logger.critical("%s", self._overdue(where))

    def _hangs(self, _: "asyncio.Task[Any] | None", where: str) -> None:
        """End the process: nothing else can end this, and nobody is served yet."""
        logger.critical("%s", self._overdue(where))
        logging.shutdown()
        os._exit(EX_CONFIG)


def observers(manager: pluggy.PluginManager) -> list[Observer]:
    """Return the plugin's observer, if it has one."""
    tool_called = manager.hook.mcpserve_tool_called
    return [functools.partial(observe, tool_called)] if tool_called.get_hookimpls() else []


def observe(tool_called: Callable[..., Any], call: ToolCall) -> None:
    """Tell one plugin of a call; hooks take their arguments by name."""
    tool_called(call=call)

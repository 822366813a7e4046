"""What a plugin runs beside its calls: every task is known by its plugin, and ends with it."""

import asyncio
import logging
from contextvars import ContextVar
from typing import Any

logger = logging.getLogger(__name__)

MOST_LEFT = 1000
"""Tasks that a plugin may leave running; what its calls leave beyond them is cancelled at once."""

CLOSE_TIMEOUT = 1.0
"""Seconds that the tasks of a plugin have to end once they are cancelled."""


class Tasks:
    """The tasks that one plugin made: those of its running calls, and those that outlive them."""

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin
        self.life: asyncio.Task[Any] | None = None
        """In which the plugin is loaded and closed."""
        self.is_lost = False
        """Whether the plugin ended by itself, and so what its calls need is closed."""
        self._works: set[Work] = set()
        self._left: set[asyncio.Task[Any]] = set()
        self._told = False

    def __contains__(self, task: object) -> bool:
        known = task in self._left or any(task in work.made for work in tuple(self._works))
        return known or (task is not None and task is self.life)

    def working(self, call: str | None = None) -> "Work":
        """Let code of the plugin run in a ``with`` block. What a call leaves running is told."""
        return Work(self, call)

    def begin(self, work: "Work") -> None:
        """Know what runs."""
        self._works.add(work)

    def end(self, work: "Work") -> None:
        """Know what goes on after it."""
        self._works.discard(work)
        if left := pending(work.made):
            self._tell(work.call, left)
            for task in left:
                self.leave(task)

    def _tell(self, call: str | None, left: list[asyncio.Task[Any]]) -> None:
        if call and not self._told:
            self._told = True
            logger.warning(
                "plugin %s: %s ended and left %d tasks running", *(self.plugin, call, len(left))
            )

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Know a task that goes on after its call."""
        self._left.add(task)
        task.add_done_callback(self._left.discard)
        if len(self._left) > MOST_LEFT:
            task.cancel()

    async def close(self) -> None:
        """Cancel what still runs. Does not wait for ever for what does not stop."""
        left = self._left - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            _, stubborn = await asyncio.wait(left, timeout=CLOSE_TIMEOUT)
            if stubborn:
                logger.warning("plugin %s: %d tasks do not stop", self.plugin, len(stubborn))


class Work:
    """Code of a plugin that runs: a call, or its start. A context manager for it to run in."""

    def __init__(self, tasks: Tasks, call: str | None) -> None:
        self.tasks = tasks
        self.call = call
        self.made: list[asyncio.Task[Any]] = []
        """Grows with the tasks that are not done, not with the number ever made."""
        self._tidy_at = 64
        self._is_over = False

    def __enter__(self) -> None:
        self.tasks.begin(self)
        self._before = running.set(self)

    def __exit__(self, *_: object) -> None:
        running.reset(self._before)
        self._is_over = True
        self.tasks.end(self)

    def add(self, task: asyncio.Task[Any]) -> None:
        """Know a task."""
        if self._is_over:
            self.tasks.leave(task)
            return
        self.made.append(task)
        if len(self.made) >= self._tidy_at:
            self.made = pending(self.made)
            self._tidy_at = 2 * len(self.made) + 64


def pending(tasks: list[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    """Return the tasks that are not done."""
    return [task for task in tasks if not task.done()]


running: ContextVar[Work | None] = ContextVar("running", default=None)
"""Whose code runs here; tasks and threads inherit it."""


def know_tasks() -> None:
    """Let the running loop know whose task each new task is; an own factory of it stays."""
    loop = asyncio.get_running_loop()
    if loop.get_task_factory() is None:
        loop.set_task_factory(new_task)


def new_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """Make a task, and note it if code of a plugin made it."""
    task = asyncio.Task(coroutine, loop=loop, **options)
    context = options.get("context")
    if work := running.get() if context is None else context.get(running):
        work.add(task)
    return task


def plugin_here() -> str:
    """Return the plugin whose code runs here."""
    work = running.get()
    return work.tasks.plugin if work else "?"

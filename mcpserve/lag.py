"""Watching that nothing blocks the event loop; only a plugin in a process of its own cannot."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mcpserve import stacks
from mcpserve.containment import Tasks

logger = logging.getLogger(__name__)

INTERVAL = 0.5
LIMIT = 1.0
"""Seconds without any turn of the loop that are worth a warning."""

BLOCKED = 3.0
"""Seconds without any turn of the event loop, once the time is over, that count as blocked."""


@contextlib.contextmanager
def watching(
    plugins: Callable[[], Iterable[Tasks]], *, interval: float = INTERVAL, limit: float = LIMIT
) -> Iterator[None]:
    """Warn of what blocks the running loop in the block, naming the plugin and the line."""
    ended = threading.Event()
    watcher = threading.Thread(
        target=_watch,
        args=(asyncio.get_running_loop(), threading.get_ident(), ended),
        kwargs={"plugins": plugins, "interval": interval, "limit": limit},
        name="loop watcher",
        daemon=True,
    )
    watcher.start()
    try:
        yield
    finally:
        ended.set()


def _watch(
    loop: asyncio.AbstractEventLoop,
    thread: int,
    ended: threading.Event,
    *,
    plugins: Callable[[], Iterable[Tasks]],
    interval: float,
    limit: float,
) -> None:
    while not ended.wait(interval):
        turned = threading.Event()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(turned.set)
            if not turned.wait(limit):
                _warn(loop, thread, plugins)
                turned.wait()


def _warn(
    loop: asyncio.AbstractEventLoop, thread: int, plugins: Callable[[], Iterable[Tasks]]
) -> None:
    task = asyncio.current_task(loop)
    owner = next((tasks.plugin for tasks in plugins() if task in tasks), None)
    logger.warning(
        "%s blocks the event loop, and so everybody: %s",
        *(f"plugin {owner}" if owner else "something", stacks.of_thread(thread)),
    )


def tell_if_blocked(
    loop: asyncio.AbstractEventLoop,
    thread: int,
    blocked: Callable[["asyncio.Task[Any] | None", str], None],
) -> None:
    """Tell which task blocks a loop that runs in a thread, and where. In another thread."""
    turned = threading.Event()
    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(turned.set)
        if not turned.wait(BLOCKED):
            blocked(asyncio.current_task(loop), stacks.of_thread(thread))

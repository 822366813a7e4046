"""Watching that nothing blocks the event loop; only a plugin in a process of its own cannot."""

import asyncio
import contextlib
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator

from mcpserve.containment import Tasks

logger = logging.getLogger(__name__)

INTERVAL = 0.5
LIMIT = 1.0
"""Seconds without any turn of the loop that are worth a warning."""

INNER = ("/asyncio/", "/mcpserve/threads.py", "/concurrent/")
"""Where code that runs tasks lies; what they call comes after it in a stack."""


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
        *(f"plugin {owner}" if owner else "something", where(thread)),
    )


def where(thread: int) -> str:
    """Return the line that a task runs in this thread, and the innermost one if it is another."""
    frame = sys._current_frames().get(thread)
    stack = traceback.extract_stack(frame, limit=None) if frame else []
    own = [line for line in stack if not any(part in line.filename for part in INNER)]
    last_inner = max(
        (n for n, line in enumerate(stack) if any(part in line.filename for part in INNER)),
        default=-1,
    )
    after = stack[last_inner + 1 :] or own or stack
    shown = [after[0], after[-1]] if len(after) > 1 else after[:1]
    return " in ".join(f"{line.filename}:{line.lineno} ({line.name})" for line in shown[::-1])

"""Running what may block, and telling whose cancellation a cancellation is."""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


async def in_thread(function: Callable[[], Any], *, ended: Callable[[], None]) -> Any:
    """Run a function in a thread of its own; raises whatever it raises.

    Cancelling abandons the thread, and an exit of the process does not wait for it. ``ended`` is
    called in the event loop once the thread is done, abandoned or not.
    """
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    outcome: Future[Any] = Future()
    done = asyncio.Event()

    def run() -> None:
        try:
            outcome.set_result(context.run(function))
        except BaseException as error:
            outcome.set_exception(error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish)

    def finish() -> None:
        ended()
        done.set()

    try:
        threading.Thread(target=run, daemon=True).start()
    except RuntimeError:  # there are too many threads
        ended()
        raise
    await done.wait()
    return outcome.result()


def is_cancelled(error: BaseException) -> bool:
    """Whether this error is the end of the running task because somebody cancelled it.

    The task alone does not tell: up to Python 3.12 one in which a task group failed looks
    cancelled ever after.
    """
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0

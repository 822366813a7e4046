"""Running what may block or not stop, and telling whose cancellation a cancellation is."""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

PATIENCE = 0.5
"""Seconds that a cancelled task has to clean up before nobody waits for it any more."""


async def in_task(function: Callable[[], Awaitable[Any]], *, ended: Callable[[], None]) -> Any:
    """Run an async function in a task of its own; raises whatever it raises.

    Cancelling cancels the task, and abandons one that does not end soon. ``ended`` is called once
    the task is done, abandoned or not.
    """
    done = asyncio.get_running_loop().create_future()
    begun = False
    value: Any = None
    failed: BaseException | None = None

    async def run() -> None:
        nonlocal begun, value, failed
        begun = True
        try:
            value = await function()
        except BaseException as error:
            # Not by the task: an exit that gets out of one ends the loop.
            failed = error
        ended()
        if not done.done():
            done.set_result(None)

    task = asyncio.create_task(run())
    try:
        await done
    except asyncio.CancelledError:
        task.cancel()
        if not begun:
            ended()
        await asyncio.wait([task], timeout=PATIENCE)
        raise
    if failed is not None:
        try:
            raise failed
        finally:
            failed = None  # its traceback holds this frame
    return value


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

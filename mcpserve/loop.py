"""The event loop of the server: no code of a plugin can end it, or keep it from ending."""

import asyncio
import contextlib
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from mcpserve import stacks

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

EX_SOFTWARE = 70
"""Exit code of a process that had to be ended by force."""

END_TIMEOUT = 1.0
"""Seconds that tasks and threads have to end when everything else is done."""


class Loop(asyncio.SelectorEventLoop):
    """Goes on when a task or a callback raises ``SystemExit`` or ``KeyboardInterrupt``.

    asyncio lets both out of the loop, which would be the end of the server. What the main task
    raises is raised by :func:`run` all the same. It also goes on when anybody but asyncio itself
    stops it.
    """

    _told_to_stop = False

    def run_forever(self) -> None:
        """See asyncio."""
        self._told_to_stop = False
        while not self._told_to_stop:
            try:
                super().run_forever()
                return
            except (SystemExit, KeyboardInterrupt) as error:
                logger.warning("the server goes on after %r in a task or callback", error)

    def run_until_complete(self, future: Any) -> Any:
        """See asyncio."""
        main = asyncio.ensure_future(future, loop=self)
        while True:
            try:
                return super().run_until_complete(main)
            except RuntimeError:
                if main.done() or not self._told_to_stop or self.is_running():
                    raise
                logger.warning("the server goes on after loop.stop()")

    def stop(self) -> None:
        """See asyncio."""
        self._told_to_stop = True
        super().stop()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Begin no more in it; asyncio would wait for what it runs."""
        executor: ThreadPoolExecutor | None = getattr(self, "_default_executor", None)
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Do as ``asyncio.run``, but wait for nothing that does not end when it is cancelled."""

    async def guarded() -> tuple[Result, None] | tuple[None, BaseException]:
        try:
            return await main, None
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio takes for granted that these end the loop by themselves.
            return None, error

    with asyncio.Runner(loop_factory=Loop) as runner:
        try:
            result, exiting = runner.run(guarded())
        finally:
            runner.get_loop().run_until_complete(_end_tasks())
    if exiting:
        raise exiting
    return cast(Result, result)


async def _end_tasks() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        _, stubborn = await asyncio.wait(left, timeout=END_TIMEOUT)
        for task in stubborn:
            logger.warning("gave up %r", task)
            # Then nobody finds it who would wait for it.
            asyncio.tasks._unregister_task(task)


@contextlib.contextmanager
def last_resort() -> Iterator[Callable[[float], None]]:
    """Yield what ends the process so many seconds after it is called, unless the block ended.

    A signal handler may call it: when the event loop is blocked, by a clean-up that does not end,
    say, nothing else can end the process.
    """
    wanted: queue.SimpleQueue[float] = queue.SimpleQueue()
    ended = threading.Event()
    thread = threading.get_ident()

    def watch() -> None:
        seconds = wanted.get()
        if not ended.wait(seconds):
            logger.critical("ended by force, this does not end: %s", stacks.of_thread(thread))
            logging.shutdown()
            os._exit(EX_SOFTWARE)

    threading.Thread(target=watch, name="last resort", daemon=True).start()
    try:
        yield wanted.put
    finally:
        ended.set()


def leave() -> None:
    """End the process now if a thread would keep it: Python waits for those of executors."""
    # Also for their daemons: a thread is one if the thread is that made it, as those of hooks are.
    pooled = futures.thread._threads_queues
    others = [each for each in threading.enumerate() if not each.daemon or each in pooled]
    for thread in others:
        if thread is not threading.current_thread():
            thread.join(END_TIMEOUT)
            if thread.is_alive():
                logger.warning("gave up %r", thread)
                logging.shutdown()
                sys.stdout.flush()
                os._exit(0)

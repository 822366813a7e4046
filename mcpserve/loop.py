"""The event loop of the server: no code of a plugin can end it, or keep it from ending."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

END_TIMEOUT = 1.0
"""Seconds that tasks and threads have to end when everything else is done."""


class Loop(asyncio.SelectorEventLoop):
    """Goes on when a task or a callback raises ``SystemExit`` or ``KeyboardInterrupt``.

    asyncio lets both out of the loop, which would be the end of the server. What the main task
    raises is raised by :func:`run` all the same.
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


def leave() -> None:
    """End the process now if a thread would keep it: Python waits for those of executors."""
    others = [thread for thread in threading.enumerate() if not thread.daemon]
    for thread in others:
        if thread is not threading.current_thread():
            thread.join(END_TIMEOUT)
            if thread.is_alive():
                logger.warning("gave up %r", thread)
                logging.shutdown()
                sys.stdout.flush()
                os._exit(0)

"""Jobs that run at an interval: whatever happens to one run, there is a next."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator

from tornado.ioloop import PeriodicCallback

from mcpserve.errors import MCPServeError

logger = logging.getLogger(__name__)

Job = Callable[[], Awaitable[None]]


@contextlib.contextmanager
def every(seconds: float, job: Job) -> Iterator[None]:
    """Run a job now and at every interval until the block ends; a failure does not end it."""
    running: set[asyncio.Task[None]] = set()

    def start() -> None:
        if running:
            return
        task = asyncio.ensure_future(run_job(job))
        running.add(task)
        task.add_done_callback(running.discard)

    # Replicas started together should not all come at once.
    callback = PeriodicCallback(start, seconds * 1000, jitter=0.1)
    callback.start()
    start()
    try:
        yield
    finally:
        callback.stop()
        for task in running:
            task.cancel()


def as_job(function: Callable[[], None]) -> Job:
    """Return a job that calls a plain function, on the loop."""

    async def call() -> None:
        function()

    return call


async def run_job(job: Job) -> None:
    """Run a job and log what goes wrong in it."""
    try:
        await job()
    except MCPServeError as error:
        logger.warning("a periodic job is put off: %s", error)
    except Exception:
        logger.exception("a periodic job failed and will be tried again")

"""Extraction where there is no Python to start a process with: in the single file.

A thread cannot be stopped. The call that began it ends in time, and the server's end does not wait
for it; until it ends by itself it keeps its place.
"""

import asyncio
import contextlib
import threading

from mcpserve import ToolError
from mcpserve_search_web import extraction
from mcpserve_search_web.extraction import Extracted, Page, Unreadable, too_complicated


async def extract(
    page: Page, *, max_bytes: int, seconds: float, slots: asyncio.Semaphore
) -> Extracted:
    """Return what there is to read. Raises :class:`ToolError`."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Extracted] = loop.create_future()

    def settle(found: Extracted | None, error: Exception | None) -> None:
        slots.release()
        if ended.done():
            return
        if found is None:
            ended.set_exception(error or RuntimeError())
        else:
            ended.set_result(found)

    def work() -> None:
        found = problem = None
        try:
            found = extraction.extract(page, max_bytes)
        except Exception as error:
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, found, problem)

    await slots.acquire()
    threading.Thread(target=work, name="extract", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            return await ended
    except Unreadable as error:
        raise ToolError(str(error)) from error
    except (TimeoutError, MemoryError, RecursionError):
        raise ToolError(too_complicated(page.url)) from None

"""The server's side of extraction: a few processes, each ended when a page takes too much.

Nothing else can stop what runs in C or in a regular expression: a thread would go on, and be
waited for when the server ends.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from typing import Any

from mcpserve import ToolError
from mcpserve_search_web import extraction
from mcpserve_search_web.extraction import LENGTH, Extracted, Page, framed, too_complicated

PROCESSES = 2
"""At most; the work is the processor's. None is started before there is a page."""
MEMORY = 2**30
"""Bytes of address space of each. A page of 3 MB takes a fifth."""
PASSED = ("PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP")
"""What a process learns of the environment, where secrets may be: what Python needs to start."""

logger = logging.getLogger(__name__)


class Extractor:
    """Extracts in processes that stay for the next page. Close it at the end."""

    def __init__(self, *, max_bytes: int, timeout: float, memory: int = MEMORY) -> None:
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._memory = memory
        self._slots = asyncio.Semaphore(PROCESSES)
        self._idle: list[Process] = []
        self._running: set[Process] = set()
        self._is_closed = False

    async def close(self) -> None:
        """End the processes; what they are reading fails, and its call does the rest."""
        self._is_closed = True
        for process in self._running:
            kill(process)
        while self._idle:
            await self._end(self._idle.pop())

    async def extract(self, page: Page) -> Extracted:
        """Return what there is to read.

        Raises :class:`ToolError` if that is nothing, or takes too much time or memory.
        """
        async with self._slots:
            process = await self._ready()
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await self._ask(process, page)
                self._idle.append(process)
            except (TimeoutError, EOFError, ConnectionError, ValueError) as error:
                await self._end(process)
                logger.info(
                    "%s was given up: %s, and its process ended with %s",
                    *(page.url, type(error).__name__, process.returncode),
                )
                raise ToolError(too_complicated(page.url)) from None
            except BaseException:
                # A call that was cancelled: the answer would be taken for that of the next page.
                await self._end(process)
                raise
        if "problem" in answer:
            raise ToolError(answer["problem"])
        return Extracted(**answer)

    async def _ready(self) -> Process:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
            self._running.discard(process)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", extraction.__file__, str(self._memory)),
            stdin=PIPE,
            stdout=PIPE,
            env=environment(),
        )
        self._running.add(process)
        if self._is_closed:
            await self._end(process)
            raise ToolError("Pages cannot be read at the moment: try again.")
        return process

    async def _ask(self, process: Process, page: Page) -> dict[str, Any]:
        """Have a page read. Raises :class:`EOFError`, or :class:`ValueError` for no answer."""
        if process.stdin is None or process.stdout is None:
            raise EOFError
        job = {
            "url": page.url,
            "content_type": page.content_type,
            "content_encoding": page.content_encoding,
            "links": page.links,
            "max_bytes": self._max_bytes,
            "timeout": self._timeout,
        }
        process.stdin.write(framed(json.dumps(job).encode()) + framed(page.body))
        await process.stdin.drain()
        (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
        # Text grows when it becomes UTF-8, but a page may write one cell a million times.
        if length > 4 * self._max_bytes + 2**20:
            raise ValueError("too long")
        answer: dict[str, Any] = json.loads(await process.stdout.readexactly(length))
        return answer

    async def _end(self, process: Process) -> None:
        self._running.discard(process)
        kill(process)
        if process.stdout:
            # The end of a process is seen after that of its pipe, which has an answer in it.
            with contextlib.suppress(OSError):
                await process.stdout.read()
        await process.wait()


def kill(process: Process) -> None:
    """Kill a process, if it still runs."""
    if process.returncode is None:
        process.kill()


def environment() -> dict[str, str]:
    """Return the environment of a process, which finds what the server finds."""
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    return passed | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

"""One log of several processes: each line is whole, however long."""

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

if sys.platform != "win32":
    import fcntl

STDERR = 2


class Whole(io.RawIOBase):
    """Standard error, of which one process at a time writes.

    A pipe mixes what is longer than a page or comes while it is full.
    """

    def __init__(self, lock: int) -> None:
        """Take turns by this file, which all processes have open."""
        self._lock = lock

    def writable(self) -> bool:
        """Tell that it is."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return STDERR

    def isatty(self) -> bool:
        """Tell whether somebody may watch."""
        return os.isatty(STDERR)

    def write(self, data: Any, /) -> int:
        """Write all of it."""
        left = memoryview(data)
        with self._turn():
            while left:
                left = left[os.write(STDERR, left) :]
        return len(data)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        # Of the process, not of the open file, which they have in common.
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)


def new_lock() -> int:
    """Return a file for taking turns, which nobody else can find."""
    descriptor, path = tempfile.mkstemp(prefix="mcpserve-log-")
    os.unlink(path)
    return descriptor


def share(lock: int) -> None:
    """Take turns from now on whenever this process writes to ``sys.stderr``."""
    sys.stderr = io.TextIOWrapper(
        Whole(lock),
        encoding="utf-8",
        errors="backslashreplace",
        write_through=True,
    )

"""How much one call may tell its client before it answers: progress and log messages."""

import time
from typing import Any

from mcpserve.results import mass

BURST = 500
"""Messages that may come at once."""
PER_SECOND = 50
"""Messages a second after that; what is more is dropped (MCP 2026-07-28, progress)."""
MOST_SIZE = 256 * 1024
"""Characters and values of one message."""


class Meter:
    """Counts the messages of one call."""

    def __init__(self) -> None:
        self._left: float = BURST
        self._counted_at = time.monotonic()

    def admits(self, message: Any) -> bool:
        """Whether this message may be sent; counts it."""
        if mass(message, MOST_SIZE) > MOST_SIZE:
            return False
        now = time.monotonic()
        self._left = min(self._left + (now - self._counted_at) * PER_SECOND, BURST)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

"""How much one call may tell its client before it answers: progress and log messages."""

import asyncio
import logging
import time
from typing import Any

from mcpserve.containment import plugin_here
from mcpserve.results import mass

logger = logging.getLogger(__name__)

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


class Sieve:
    """Keeps from the server what it would not send to a client: as it does itself, in floods."""

    _told = False

    async def admits(self, message: Any) -> bool:
        """Whether a message of a call is small enough; says once that one is not."""
        if mass(message, MOST_SIZE) <= MOST_SIZE:
            return True
        if not self._told:
            self._told = True
            logger.warning("plugin %s floods its client: messages are dropped", plugin_here())
        await asyncio.sleep(0)
        return False

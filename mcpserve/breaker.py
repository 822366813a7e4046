"""A circuit breaker: a plugin that keeps failing is left alone for a while."""

import logging
import math
import time

from mcp.server.mcpserver.exceptions import ToolError

logger = logging.getLogger(__name__)


class Breaker:
    """Counts the crashes and timeouts of one plugin that come in a row.

    After ``failures`` of them calls are refused for ``pause`` seconds; then one call is let
    through, and its end decides. ``failures=0``: nothing is ever refused.
    """

    def __init__(self, plugin: str, *, failures: int, pause: float) -> None:
        self._plugin = plugin
        self._failures = failures or math.inf
        self._pause = pause
        self._failed = 0
        self._opened_at = -math.inf
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether the plugin is left alone."""
        return self._failed >= self._failures

    def admit(self) -> None:
        """Let a call begin. Raises :class:`ToolError` with how long to wait."""
        if not self.is_open:
            return
        left = self._opened_at + self._pause - time.monotonic()
        if left > 0 or self._trying:
            raise ToolError(
                f"This tool failed several times in a row and is not tried for now. "
                f"Try again in {max(math.ceil(left), 1)} s, or do without it."
            )
        self._trying = True

    def worked(self) -> None:
        """Note a call that ended as its author meant, be it with an error for the model."""
        if self.is_open:
            logger.warning("plugin %s works again", self._plugin)
        self._failed = 0
        self._trying = False

    def failed(self) -> None:
        """Note a crash or a timeout."""
        was_open = self.is_open
        self._failed += 1
        if self.is_open and (self._trying or not was_open):
            self._opened_at = time.monotonic()
            logger.warning(
                "plugin %s failed %d times in a row; its calls are refused for %g s",
                *(self._plugin, self._failed, self._pause),
            )
        self._trying = False

    def told_nothing(self) -> None:
        """Note a call that was cancelled, or that never came to the plugin's own code."""
        self._trying = False

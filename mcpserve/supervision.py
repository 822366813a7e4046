"""Keeps the embedded PostgreSQL running as long as the server does."""

import logging
from collections.abc import Mapping
from pathlib import Path

from mcpserve import embedded
from mcpserve.embedded import EmbeddedPostgres

logger = logging.getLogger(__name__)


class Supervised:
    """An embedded PostgreSQL that is started again when it is gone, whoever had started it."""

    def __init__(
        self,
        data_dir: Path,
        settings: Mapping[str, str] = {},
        *,
        server: EmbeddedPostgres | None = None,
    ) -> None:
        """Start it with these settings of its own, unless ``server`` is one that runs."""
        self._data_dir = data_dir
        self._settings = settings
        self.server: EmbeddedPostgres = server or embedded.start(data_dir, settings=settings)

    def look_after(self) -> None:
        """Start it again if nobody listens any more; blocks for the moment that this takes.

        From the main thread, which the database follows. Raises
        :class:`~mcpserve.errors.EmbeddedPostgresError`; the next call tries again.
        """
        if self.server.is_running():
            return
        log = self.server.data_dir / "postgres.log"
        logger.error("the embedded PostgreSQL is gone and is started again; see %s", log)
        self.server.stop()
        self.server = embedded.start(self._data_dir, settings=self._settings)

    def stop(self) -> None:
        """Stop it, if it is ours."""
        self.server.stop()

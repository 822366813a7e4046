"""What processes with one database tell each other: PostgreSQL's LISTEN and NOTIFY."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable

from psycopg2 import Error

from mcpserve.connection import Connection
from mcpserve.errors import DatabaseError

logger = logging.getLogger(__name__)

QUIET = 30.0
"""Seconds of silence after which a connection is asked whether it still is one."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
"""Seconds before the next attempt to connect, from the first one on and at most."""

LIMIT = 5.0

MOST_BYTES = 7999
"""Of one notice; PostgreSQL refuses more."""


def listener(channel: str) -> str:
    """Return what a connection that listens is called in ``pg_stat_activity``."""
    return f"mcpserve {channel}"


async def listen(
    connect: Callable[[], Awaitable[Connection]], channel: str
) -> AsyncGenerator[str | None, None]:
    """Yield what is told on a channel, on a connection of its own; ``None`` once it listens.

    ``None`` comes again after a connection broke: what was told meanwhile is lost. ``channel`` is a
    plain identifier. Ends with its task only.
    """
    pause = FIRST_PAUSE
    while True:
        connection = None
        try:
            connection = await connect()
            await connection.run(
                f"LISTEN {channel}; SET application_name = '{listener(channel)}'", {}, limit=LIMIT
            )
            pause = FIRST_PAUSE
            yield None
            while True:
                yield await _next(connection)
        except (DatabaseError, Error) as error:
            logger.debug("cannot listen to %s: %s", channel, error)
        finally:
            if connection is not None:
                connection.close()
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def _next(connection: Connection) -> str:
    """Return the next notice. Raises the driver's error if there will be none."""
    # One wait for it, however long: a wait that is cancelled may have taken the notice already.
    coming = asyncio.ensure_future(connection.notifies.get())
    try:
        while not (await asyncio.wait([coming], timeout=QUIET))[0]:
            await connection.run("SELECT 1", {}, limit=LIMIT)
        return str(coming.result().payload)
    finally:
        coming.cancel()

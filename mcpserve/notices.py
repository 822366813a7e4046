"""What processes with one database tell each other: PostgreSQL's LISTEN and NOTIFY."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable

from psycopg2 import Error

from mcpserve.connection import Connection
from mcpserve.errors import ConfigError, DatabaseError

logger = logging.getLogger(__name__)

QUIET = 30.0
"""Seconds of silence after which a connection is asked whether it still is one."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
"""Seconds before the next attempt to connect, from the first one on and at most."""

LIMIT = 5.0

ECHO_TIMEOUT = 2.0
"""Seconds in which a connection through somebody else has to hear what was told to it."""

MOST_BYTES = 7999
"""Of one notice; PostgreSQL refuses more."""

DEAF = (
    "database.url: there is a pool of transactions between us and PostgreSQL (pgbouncer), so"
    " `mcpserve reload` and `mcpserve plan` reach no server: send SIGHUP to each instead"
)


def listener(channel: str) -> str:
    """Return what a connection that listens is called in ``pg_stat_activity``."""
    return f"mcpserve {channel}"


async def listen(
    connect: Callable[[], Awaitable[Connection]],
    channel: str,
    *,
    notify: Callable[[str, str], Awaitable[None]],
) -> AsyncGenerator[str | None, None]:
    """Yield what is told on a channel, on a connection of its own; ``None`` once it listens.

    ``None`` comes again after a connection broke: what was told meanwhile is lost. ``channel`` is a
    plain identifier; ``notify`` tells something on one, by another connection. Ends with its task.
    Raises :class:`~mcpserve.errors.ConfigError` where nothing can be heard.
    """
    pause = FIRST_PAUSE
    while True:
        connection = None
        try:
            connection = await connect()
            await _require_own_session(connection, notify)
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


async def _require_own_session(
    connection: Connection, notify: Callable[[str, str], Awaitable[None]]
) -> None:
    """Raise ConfigError if the server's session is lent to others between two statements."""
    [(pid,)] = (await connection.run("SELECT pg_backend_pid()", {}, limit=LIMIT)).fetchall()
    if pid == connection.raw.get_backend_pid():
        return
    # Somebody is in between: one that pools sessions lets us hear, one of transactions does not.
    echo = f"mcpserve_echo_{secrets.token_hex(8)}"
    await connection.run(f"LISTEN {echo}", {}, limit=LIMIT)
    await notify(echo, "")
    heard = False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ECHO_TIMEOUT):
            heard = bool(await connection.notifies.get())
    await connection.run(f"UNLISTEN {echo}", {}, limit=LIMIT)
    if not heard:
        raise ConfigError(DEAF)


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

"""PostgreSQL through aiopg: a fair pool, transactions with limits, errors that callers can act on.

Every write belongs into a transaction: outside of one a statement commits by itself, also when
its caller was cancelled. No state of a session is ever set, so pgbouncer may pool transactions;
only :meth:`Database.notices` needs a connection that is nobody else's.
Parameters are written ``%(name)s`` (then ``%`` is ``%%``); a NUL character in one is a ValueError.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from operator import attrgetter, methodcaller
from typing import Any, Protocol, Self
from weakref import WeakValueDictionary

from psycopg2 import Error, ProgrammingError, errors, extensions

from mcpserve import notices
from mcpserve.batching import Lookups
from mcpserve.connection import CONNECT_TIMEOUT, Connection, Cursor, one_line
from mcpserve.errors import ConfigError, DatabaseError, DatabaseTimeout, DatabaseUnavailable

Row = Any
"""A named tuple, the columns are attributes. Any, because only the SQL knows the columns."""

Read = Callable[[Cursor], Any]

GRACE = 1.0
"""Seconds that a server gets to report its own timeout before it counts as silent."""


class Queryable(Protocol):
    """Whatever can run one statement."""

    async def _statement(self, sql: str, params: Mapping[str, Any], read: Read) -> Any:
        """Run it, and return what is read before the connection is somebody else's."""
        ...

    async def row(self, sql: str, /, **params: Any) -> Row | None:
        """Return the first row, or None."""
        return await self._statement(sql, params, methodcaller("fetchone"))

    async def one(self, sql: str, /, **params: Any) -> Row:
        """Return the row, which must be there."""
        row = await self.row(sql, **params)
        if row is None:
            raise LookupError("the statement returned no row")
        return row

    async def rows(self, sql: str, /, **params: Any) -> list[Row]:
        """Return all rows."""
        rows: list[Row] = await self._statement(sql, params, methodcaller("fetchall"))
        return rows

    async def execute(self, sql: str, /, **params: Any) -> int:
        """Return the number of rows affected."""
        count: int = await self._statement(sql, params, attrgetter("rowcount"))
        return count

    async def lookup(self, sql: str, key: bytes, /, **params: Any) -> Row | None:
        """Return the row whose column ``key`` is this, or None.

        The statement selects rows by ``= ANY(%(keys)s)``. A database sends lookups that wait
        together as one; each is answered by a statement that was sent after it was asked for.
        """
        return next(iter(await self.rows(sql, keys=[key], **params)), None)


class Transaction(Queryable):
    """A connection between BEGIN and COMMIT, for one task at a time."""

    def __init__(self, connection: "Connection", *, timeout: float) -> None:
        self._connection: Connection | None = connection
        self._timeout = timeout
        self.after_commit: list[Callable[[], object]] = []
        """What is done once it is certain that everything was written."""

    async def _statement(self, sql: str, params: Mapping[str, Any], read: Read) -> Any:
        if self._connection is None:
            raise RuntimeError("the transaction has ended, its connection is somebody else's")
        return read(await self._connection.run(sql, params, limit=self._timeout))

    def _end(self) -> None:
        self._connection = None


class Database(Queryable):
    """A pool of connections; its own ``row``, ``rows`` and ``execute`` commit by themselves.

    A SELECT is sent a second time when its connection breaks; nothing else is. After a timeout
    the server may still finish such a statement, see ``client_connection_check_interval``.
    """

    def __init__(
        self,
        dsn: str,
        *,
        pool_size: int,
        acquire_timeout: float,
        statement_timeout: float,
        lock_timeout: float,
    ) -> None:
        self._dsn = dsn
        self._server = _server_name(dsn)
        self._acquire_timeout = acquire_timeout
        self._statement_timeout = statement_timeout
        self._lock_timeout = lock_timeout
        # Not aiopg's pool: there newcomers overtake waiters, and dead connections stay in it.
        self._slots = asyncio.Semaphore(pool_size)
        self._idle: list[Connection] = []
        self._closed = False
        # By statement and parameters; weak, so that there are only those that somebody waits for.
        self._lookups: WeakValueDictionary[tuple[Any, ...], Lookups[bytes, Row]] = (
            WeakValueDictionary()
        )

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        dsn: str,
        *,
        pool_size: int = 10,
        acquire_timeout: float = 2.0,
        statement_timeout: float = 5.0,
        lock_timeout: float = 2.0,
    ) -> AsyncIterator[Self]:
        """Open the pool and make sure that the server answers; times are in seconds.

        Raises ConfigError for a malformed ``dsn`` and DatabaseUnavailable without a server; the
        message names the server and never the password.
        """
        database = cls(
            dsn,
            pool_size=pool_size,
            acquire_timeout=acquire_timeout,
            statement_timeout=statement_timeout,
            lock_timeout=lock_timeout,
        )
        try:
            await database.ping()
            yield database
        finally:
            await database._close()

    @property
    def server(self) -> str:
        """Name the server, without the password."""
        return self._server

    async def server_version(self) -> str:
        """Return the version of PostgreSQL, such as ``18.6``."""
        return str((await self.one("SELECT current_setting('server_version') AS v")).v)

    async def ping(self) -> None:
        """Raise DatabaseError unless the server answers."""
        await self.row("SELECT 1")

    async def notify(self, channel: str, payload: str) -> None:
        """Tell everybody who listens; 7999 bytes at most."""
        await self.row(
            "SELECT pg_notify(%(channel)s, %(payload)s)", channel=channel, payload=payload
        )

    def notices(self, channel: str) -> AsyncGenerator[str | None, None]:
        """See :func:`~mcpserve.notices.listen`; not one of the pool's connections."""
        return notices.listen(self._new, channel, notify=self.notify)

    async def listeners(self, channel: str) -> int:
        """Return how many connections listen to a channel."""
        row = await self.one(
            """SELECT count(*) AS many FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = %(name)s""",
            name=notices.listener(channel),
        )
        return int(row.many)

    @asynccontextmanager
    async def transaction(self, *, unlimited: bool = False) -> AsyncIterator[Transaction]:
        """Commit at the end of the block; roll back when it raises or is cancelled.

        ``unlimited`` lifts the limit on statements, not the one on locks (for migrations).
        DatabaseUnavailable out of the COMMIT means that its outcome is unknown.
        """
        limit = math.inf if unlimited else self._statement_timeout
        # One round trip; LOCAL, because pgbouncer gives the session to others afterwards. Who
        # reads after taking a lock relies on READ COMMITTED, whatever the server's default is.
        begin = (
            "BEGIN ISOLATION LEVEL READ COMMITTED;"
            f" SET LOCAL statement_timeout = {_milliseconds(limit)};"
            f" SET LOCAL lock_timeout = {_milliseconds(self._lock_timeout)};"
            " SET LOCAL idle_in_transaction_session_timeout ="
            f" {_milliseconds(self._statement_timeout)}"
        )
        connection, _ = await self._open(begin, {}, repeat=True)
        try:
            transaction = Transaction(connection, timeout=limit + GRACE)
            try:
                yield transaction
            except Exception:
                with suppress(DatabaseError, Error):
                    await connection.run("ROLLBACK", {}, limit=self._statement_timeout)
                raise
            except BaseException:
                # Cancelled: nothing is awaited any more, the server rolls back at the hang-up.
                connection.close()
                raise
            finally:
                transaction._end()
            await _commit(connection, limit=limit + GRACE)
        finally:
            self._give_back(connection)
        for act in transaction.after_commit:
            act()

    async def lookup(self, sql: str, key: bytes, /, **params: Any) -> Row | None:
        """Return the row whose column ``key`` is this, or None; see :class:`Queryable`."""
        question = (sql, *params.items())
        lookups = self._lookups.get(question)
        if lookups is None:

            async def ask(keys: Sequence[bytes]) -> dict[bytes, Row]:
                rows = await self.rows(sql, keys=list(keys), **params)
                return {row.key: row for row in rows}

            lookups = self._lookups[question] = Lookups(ask)
        return await lookups.find(key)

    async def _statement(self, sql: str, params: Mapping[str, Any], read: Read) -> Any:
        repeat = sql.lstrip()[:6].upper() == "SELECT"
        connection, cursor = await self._open(sql, params, repeat=repeat)
        try:
            return read(cursor)
        finally:
            self._give_back(connection)

    async def _open(
        self, sql: str, params: Mapping[str, Any], *, repeat: bool
    ) -> tuple[Connection, Cursor]:
        """Lend a connection after its first statement, which may ``repeat`` on another one."""
        limit = self._statement_timeout
        await self._turn()
        connection: Connection | None = None
        try:
            connection = self._live_idle() or await self._new()
            try:
                return connection, await connection.run(sql, params, limit=limit)
            except DatabaseUnavailable:
                if not repeat:
                    raise
            connection = await self._new()
            return connection, await connection.run(sql, params, limit=limit)
        except BaseException:
            self._give_back(connection)
            raise

    async def _turn(self) -> None:
        """Wait for the right to use a connection: first come, first served."""
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(self._acquire_timeout):
                await self._slots.acquire()
        except TimeoutError:
            message = f"no connection to {self._server} became free in {self._acquire_timeout:g} s"
            raise DatabaseUnavailable(message) from None

    def _live_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_alive():
                return connection
        return None

    async def _new(self) -> Connection:
        try:
            return await Connection.open(self._dsn)
        except (Error, TimeoutError) as error:
            reason = one_line(error) or f"no answer in {CONNECT_TIMEOUT:g} s"
            message = f"cannot connect to {self._server}: {reason}"
            raise DatabaseUnavailable(message) from error

    def _give_back(self, connection: Connection | None) -> None:
        """End somebody's turn; keep the connection if it is as it was lent."""
        if connection is not None:
            if connection.is_idle() and not self._closed:
                self._idle.append(connection)
            else:
                connection.close()
        self._slots.release()

    async def _close(self) -> None:
        """Close what is idle; what is in use closes when it is given back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
        for lookups in list(self._lookups.values()):
            await lookups.close()


async def _commit(connection: Connection, *, limit: float) -> None:
    try:
        cursor = await connection.run("COMMIT", {}, limit=limit)
    except DatabaseTimeout as error:
        if connection.closed:
            raise DatabaseUnavailable("COMMIT was not answered: outcome unknown") from error
        raise
    if cursor.statusmessage == "ROLLBACK":
        # The server reports no error here, and the caller would believe in the write.
        raise errors.InFailedSqlTransaction("a statement had failed, so COMMIT rolled back")


def _milliseconds(seconds: float) -> int:
    """Return PostgreSQL's notation, in which 0 is no limit."""
    return 0 if math.isinf(seconds) else math.ceil(seconds * 1000)


def _server_name(dsn: str) -> str:
    _, separator, rest = dsn.partition("://")
    authority, _, path = rest.partition("/")
    misread = "#" in rest or "@" in path.partition("?")[0] or authority.count("@") > 1
    try:
        parts = {} if separator and misread else extensions.parse_dsn(dsn)
    except ProgrammingError:
        parts = {}
    if not parts and dsn:
        # Not chained: libpq quotes the DSN, and with it the password.
        raise ConfigError(
            "database.url: expected postgresql://user:password@host:port/database; in user and "
            "password write %40 for @, %23 for #, %2F for / and %25 for %"
        ) from None
    host, port = parts.get("host", "the default host"), parts.get("port", "5432")
    return f"database {parts.get('dbname', '')!r} at {host}:{port}"

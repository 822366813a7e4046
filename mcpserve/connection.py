"""aiopg's connection, with another way of waiting and with errors that callers can act on."""

import asyncio
import select
from collections.abc import Mapping
from typing import Any, Self
from weakref import ReferenceType

import aiopg
from psycopg2 import BINARY, Error, errors, extensions
from psycopg2.extras import NamedTupleCursor

from mcpserve.errors import DatabaseConflict, DatabaseTimeout, DatabaseUnavailable

Cursor = extensions.cursor
"""psycopg2's, which has all rows once the statement is done."""

CONNECT_TIMEOUT = 5.0

UNAVAILABLE = ("08", "53", "57", "58", "XX", "25006")
"""SQLSTATE prefixes: connection, resources, shutdown, system, internal; a primary that became a
standby."""


class Connection(aiopg.Connection):
    """aiopg's connection with another way of waiting; the private names are pinned by tests.

    aiopg's own never connects when the first address of a host refuses (libpq goes on with
    another socket of the same number), loses SQL errors once 1024 files are open (``select``),
    and passes a statement_timeout off as a cancellation of the task.
    """

    @classmethod
    async def open(cls, dsn: str) -> Self:
        """Connect, or raise what the driver raises. Looking up a host name blocks, in libpq."""
        connection = cls(
            dsn,
            CONNECT_TIMEOUT,
            enable_hstore=False,
            enable_uuid=False,
            cursor_factory=NamedTupleCursor,
        )
        await connection
        for caster in (_BYTES, _BYTES_ARRAY):
            extensions.register_type(caster, connection.raw)
        return connection

    async def run(self, sql: str, params: Mapping[str, Any], *, limit: float) -> Cursor:
        """Run one statement. After DatabaseUnavailable the connection is closed.

        Without parameters ``%`` stands for itself. Raises psycopg2's own errors for mistakes.
        """
        try:
            # The driver's own cursor: aiopg's would be a coroutine and a cycle of four objects
            # for the collector.
            cursor: Cursor = self.raw.cursor()
            waiter = self._create_waiter("run")
            try:
                cursor.execute(sql, params or None)
            except BaseException:
                self._waiter = None
                raise
            await self._poll(waiter, limit)
        except TimeoutError:
            raise DatabaseTimeout(f"no answer in {limit:g} s") from None
        except (errors.QueryCanceled, errors.LockNotAvailable) as error:
            raise DatabaseTimeout(one_line(error)) from error
        except (errors.SerializationFailure, errors.DeadlockDetected) as error:
            raise DatabaseConflict(one_line(error)) from error
        except Error as error:
            if not self.closed and not (error.pgcode or "").startswith(UNAVAILABLE):
                # The other lines quote the statement or the row, with everything in it.
                error.args = (str(error).partition("\n")[0],)
                raise
            self.close()
            raise DatabaseUnavailable(one_line(error)) from error
        return cursor

    def is_alive(self) -> bool:
        """Tell whether the server has not hung up, also if the loop was too busy to notice."""
        if self._unread.poll(0):
            for _ in ("its last words", "its hang-up"):
                self._ready(self._weakref)
        return not self.closed

    def is_idle(self) -> bool:
        """Tell whether the connection is open and outside of any transaction."""
        status: int = self.raw.get_transaction_status()
        return status == extensions.TRANSACTION_STATUS_IDLE

    async def _connect(self) -> aiopg.Connection:
        self._loop.remove_reader(self.raw.fileno())
        self._fileno = None
        try:
            async with asyncio.timeout(self.timeout):
                while (state := self.raw.poll()) != extensions.POLL_OK:
                    await _readiness(self.raw.fileno(), writing=state == extensions.POLL_WRITE)
        except BaseException:
            self.raw.close()
            raise
        self._fileno = self.raw.fileno()
        self._loop.add_reader(self._fileno, self._ready, self._weakref)
        self._unread = select.poll()
        self._unread.register(self._fileno, select.POLLIN)
        return await super()._connect()

    async def _poll(self, waiter: asyncio.Future[None], timeout: float) -> None:  # noqa: ASYNC109
        self._ready(self._weakref)
        # Not asyncio.timeout, which takes four times as long, for every statement.
        timer = self._loop.call_later(timeout, _time_out, waiter)
        try:
            await waiter
        except (asyncio.CancelledError, TimeoutError):
            self.close()
            raise
        finally:
            timer.cancel()
            self._waiter = None

    @staticmethod
    def _ready(weak_self: ReferenceType[Any]) -> None:
        self = weak_self()
        if self is None or self.closed:
            return
        waiter = self._waiter
        try:
            state = self.raw.poll()
        except Error as error:
            if waiter and not waiter.done():
                waiter.set_exception(error)
            if self.closed:
                # At once: libpq has closed the socket, its number will be somebody else's.
                self.close()
            return
        self._watch_for_writing(wanted=state == extensions.POLL_WRITE)
        while self.raw.notifies:
            self._notifies.put_nowait(self.raw.notifies.pop(0))
        if state == extensions.POLL_OK and waiter and not waiter.done():
            waiter.set_result(None)

    def _close(self) -> None:
        """Let go of the descriptor once: its number may be somebody else's the next time."""
        super()._close()
        self._fileno = None

    def _watch_for_writing(self, *, wanted: bool) -> None:
        if wanted and not self._writing:
            self._loop.add_writer(self.raw.fileno(), self._ready, self._weakref)
        elif self._writing and not wanted:
            self._loop.remove_writer(self.raw.fileno())
        self._writing = wanted


def _time_out(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


async def _readiness(descriptor: int, *, writing: bool) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    watch, forget = loop.add_reader, loop.remove_reader
    if writing:
        watch, forget = loop.add_writer, loop.remove_writer
    watch(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        forget(descriptor)


def _bytes(value: Any, cursor: Any) -> bytes | None:
    view = BINARY(value, cursor)
    return None if view is None else bytes(view)


_BYTES = extensions.new_type((17,), "BYTES", _bytes)
_BYTES_ARRAY = extensions.new_array_type((1001,), "BYTES[]", _BYTES)


def one_line(error: Exception) -> str:
    """Return what an error says without its line breaks."""
    return " ".join(str(error).split())

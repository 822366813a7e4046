"""What a server has of the operating system: its sockets and its signals; and how it stops."""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import sys
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, cast

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets

from mcpserve.errors import ConfigError
from mcpserve.processes.sockets import refuse
from mcpserve.settings import ServerSettings

if TYPE_CHECKING:
    # A supervisor opens sockets and does without all that a server imports.
    from mcpserve.web.services import Drain

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 5.0
"""Seconds for closing connections at shutdown; some peers never read."""

SETTLE = 0.1
"""Seconds for connections that were begun before the server stopped to be there."""

MOST_AHEAD = HEAD_LIMIT = 32 * 1024
"""Bytes of a head, and bytes waiting to be read after which no more are taken in."""

LINGER = 1.0
"""Seconds in which a kept connection may still send a request, which is answered."""


@contextlib.contextmanager
def stop_signals(
    told: Callable[[], None], *, again: bool = True
) -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """Let SIGTERM or SIGINT set the first event, and a second one the second.

    ``told`` is called at once, even while the event loop is blocked. Without ``again`` a second
    one does nothing: it comes from both a supervisor and whoever signals every process there is.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (hurry if again and stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
        # In place of one that does nothing: the loop learns of signals by a pipe.
        signal.signal(number, lambda *_: told())
    try:
        yield stop, hurry
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def hang_up_signal(reload: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGHUP reload; but stop, as ever, when it comes from a terminal that was closed."""
    at_terminal = sys.stdin is not None and sys.stdin.isatty()

    def signalled() -> None:
        # Nobody can look at a terminal any more that hung up.
        gone = at_terminal and not sys.stdin.isatty()
        (stop if gone else reload)()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, signalled)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def open_sockets(server: ServerSettings) -> list[socket.socket]:
    """Bind the configured address. Raises :class:`~mcpserve.errors.ConfigError`."""
    try:
        return bind_sockets(server.port, server.host)
    except socket.gaierror as error:
        raise ConfigError(
            f"server.host: {server.host!r} is no address: {error.strerror}"
        ) from error
    except OSError as error:
        advice = "stop what uses it or set another (PORT=3001)"
        if error.errno == errno.EACCES:
            advice = "ports below 1024 need more rights; set another (PORT=3001)"
        raise ConfigError(
            f"server.port: cannot listen on {server.host}:{server.port}: {error.strerror}; {advice}"
        ) from error


class Stream(IOStream):
    """A connection that is listened to all the time, as long as little of it waits to be read."""

    def reading(self) -> bool:
        """Tornado would stop when a head comes with its body, and begin again a moment later.

        Each is a call of the kernel. What a client sends ahead is limited all the same.
        """
        return super().reading() or self._read_buffer_size < MOST_AHEAD

    def set_nodelay(self, value: bool) -> None:
        """Leave it as it is: Tornado would switch it on and off for each answer."""


class Server(HTTPServer):
    """Tells the front, which limits the time of requests, of connections that end."""

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Take over the socket of a new connection. What is written is sent at once."""
        stream.set_nodelay(True)
        super().handle_stream(Stream(stream.socket), address)

    def on_close(self, server_conn: object) -> None:
        """See Tornado."""
        super().on_close(server_conn)
        cast(HTTPServerConnectionDelegate, self.request_callback).on_close(server_conn)


def listen(front: HTTPServerConnectionDelegate, sockets: list[socket.socket]) -> HTTPServer:
    """Serve HTTP on these sockets."""
    http_server = Server(front, max_header_size=HEAD_LIMIT, xheaders=False)
    http_server.conn_params.header_timeout = None
    http_server.add_sockets(sockets)
    return http_server


async def drain(
    drains: "Collection[Drain]",
    http_server: HTTPServer,
    hurry: asyncio.Event,
    *,
    grace: float,
    alone: bool = True,
) -> None:
    """Stop listening and wait for the requests in flight: for a while, or until told to hurry.

    ``grace`` is in seconds. ``alone``: nobody else listens on these sockets, so that nobody can
    connect any more.
    """
    # Every connection that there is gets one more answer at the most.
    http_server.conn_params.no_keep_alive = True
    if alone:
        refuse(http_server._sockets.values())
    logger.info("stopping, %d requests in flight", sum(drain.active for drain in drains))
    waiting: set[asyncio.Task[Any]] = {
        asyncio.create_task(hurry.wait()),
        asyncio.create_task(stop_all(drains, http_server)),
    }
    await asyncio.wait(waiting, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
    http_server.stop()
    if active := sum(drain.active for drain in drains):
        logger.warning("gave up %d requests", active)
        await asyncio.gather(*(drain.give_up() for drain in drains))
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await http_server.close_all_connections()


async def stop_all(drains: "Collection[Drain]", http_server: HTTPServer) -> None:
    """Take no more connections, and wait until each has had its answer.

    A request may be on its way on any of them, and many clients may not send it twice.
    """
    for drain in drains:
        drain.stopping = True
    await asyncio.sleep(SETTLE)
    take_waiting(http_server)
    http_server.stop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while http_server._connections:  # noqa: ASYNC110 - Tornado tells nobody.
                await asyncio.sleep(0.02)
    await asyncio.gather(*(drain.stop() for drain in drains))


def take_waiting(http_server: HTTPServer) -> None:
    """Accept who has connected already: closing the socket would reset them."""
    for each in http_server._sockets.values():
        with contextlib.suppress(BlockingIOError):
            while True:
                http_server._handle_connection(*socket.socket.accept(each))

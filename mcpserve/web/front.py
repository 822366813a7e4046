"""What stands between connections and the application, so that this can be exchanged."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import Application

from mcpserve.deadlines import Deadlines
from mcpserve.oauth.metadata import MCP_PATH
from mcpserve.web.mcp import McpMessage, watching
from mcpserve.web.services import Services

IDLE_TIMEOUT = 60.0
"""Seconds that a connection may be without a request, or take for the head of one."""
BODY_TIMEOUT = 10.0
"""Seconds that a client may take to send a body, once it is expected."""


def hang_up(connection: HTTP1ServerConnection) -> None:
    """Close a connection on which nothing comes."""
    connection.stream.close()


def deadlines(seconds: float) -> Deadlines[HTTP1ServerConnection]:
    """Return what hangs up on connections that take longer."""
    return Deadlines(seconds, hang_up)


@dataclass(frozen=True)
class Front(HTTPServerConnectionDelegate):
    """Gives each request, whole, to the application that is current when it comes.

    Limits the time in which it has to come: Tornado's limits take a tenth of what a call takes.
    """

    current: Callable[[], Application]
    heads: Deadlines[HTTP1ServerConnection] = field(default_factory=lambda: deadlines(IDLE_TIMEOUT))
    bodies: Deadlines[HTTP1ServerConnection] = field(
        default_factory=lambda: deadlines(BODY_TIMEOUT)
    )

    watched: Deadlines[McpMessage] = field(default_factory=watching)

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """See Tornado, which asks as soon as the request before is answered."""
        connection = cast(HTTP1ServerConnection, server_conn)
        self.heads.begin(connection)
        return Coming(self, connection, cast(HTTP1Connection, request_conn))

    def on_close(self, server_conn: object) -> None:
        """Forget a connection that is closed."""
        connection = cast(HTTP1ServerConnection, server_conn)
        self.heads.end(connection)
        self.bodies.end(connection)


class Coming(HTTPMessageDelegate):
    """A request that belongs to nobody until its head is there: a connection may idle for long."""

    def __init__(
        self, front: Front, server_conn: HTTP1ServerConnection, request_conn: HTTP1Connection
    ) -> None:
        self._front = front
        self._server_conn = server_conn
        self._request_conn = request_conn
        self._delegate = HTTPMessageDelegate()

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Choose the application."""
        self._front.heads.end(self._server_conn)
        application = self._front.current()
        services: Services = application.settings["services"]
        # Handlers refuse earlier and more politely; this bounds what a connection may hold.
        self._request_conn.set_max_body_size(2 * services.settings.mcp.max_body)
        path = getattr(start_line, "path", "").partition("?")[0]
        if path == MCP_PATH:
            watched = self._front.watched
            self._delegate = McpMessage(services, self._request_conn, watched)
        else:
            self._delegate = application.start_request(self._server_conn, self._request_conn)
        admitted = self._delegate.headers_received(start_line, headers)
        if admitted is None:
            self._front.bodies.begin(self._server_conn)
            return None
        return self._expect_body(admitted)

    async def _expect_body(self, admitted: Awaitable[None]) -> None:
        await admitted
        self._front.bodies.begin(self._server_conn)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Hand it on."""
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        """Hand it on."""
        self._front.bodies.end(self._server_conn)
        self._delegate.finish()

    def on_connection_close(self) -> None:
        """Hand it on."""
        self._front.bodies.end(self._server_conn)
        self._delegate.on_connection_close()

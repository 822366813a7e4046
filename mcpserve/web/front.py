"""What stands between connections and the application, so that this can be exchanged."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import Application

from mcpserve.oauth.metadata import MCP_PATH
from mcpserve.web.mcp import McpMessage
from mcpserve.web.services import Services


@dataclass(frozen=True)
class Front(HTTPServerConnectionDelegate):
    """Gives each request, whole, to the application that is current when it comes."""

    current: Callable[[], Application]

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """See Tornado, which asks as soon as the request before is answered."""
        return Coming(self, server_conn, cast(HTTP1Connection, request_conn))


class Coming(HTTPMessageDelegate):
    """A request that belongs to nobody until its head is there: a connection may idle for long."""

    def __init__(self, front: Front, server_conn: object, request_conn: HTTP1Connection) -> None:
        self._front = front
        self._server_conn = server_conn
        self._request_conn = request_conn
        self._delegate = HTTPMessageDelegate()

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Choose the application."""
        application = self._front.current()
        services: Services = application.settings["services"]
        # Handlers refuse earlier and more politely; this bounds what a connection may hold.
        self._request_conn.set_max_body_size(2 * services.settings.mcp.max_body)
        path = getattr(start_line, "path", "").partition("?")[0]
        if path == MCP_PATH:
            self._delegate = McpMessage(services, self._request_conn)
        else:
            self._delegate = application.start_request(self._server_conn, self._request_conn)
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Hand it on."""
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        """Hand it on."""
        self._delegate.finish()

    def on_connection_close(self) -> None:
        """Hand it on."""
        self._delegate.on_connection_close()

"""``POST /mcp``: Streamable HTTP without sessions.

An answer is JSON unless the request reports progress or takes long; then it is an event stream.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, NamedTuple

import tornado.web
from tornado.iostream import StreamClosedError

from mcpserve.errors import DatabaseError, InsufficientScope, InvalidToken, RequestRefused
from mcpserve.oauth import bearer
from mcpserve.principal import ANONYMOUS, Principal
from mcpserve.protocol import Headers, Reply
from mcpserve.web.base import FORM_LIMIT, BaseHandler
from mcpserve.web.network import origin_is_allowed

logger = logging.getLogger(__name__)

READ_TIMEOUT = 120.0
"""Seconds that a client may take to read an answer, or one event of a stream."""

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment keeps proxies from closing the connection.

As often a request that goes on is asked whether its token still counts.
"""

CREDENTIALS = frozenset({"authorization", "cookie"})
"""What ends here: no tool may learn how its caller proved who it is."""

CORS_HEADERS = (
    "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, Mcp-Name, "
    "Mcp-Session-Id, Last-Event-ID"
)


class Accepted(NamedTuple):
    """Which forms of answer the client takes."""

    json: bool
    stream: bool


def accepted(accept: str | None) -> Accepted:
    """Read an ``Accept`` header; a client that says nothing takes JSON."""
    ranges = {part.partition(";")[0].strip().lower() for part in (accept or "*/*").split(",")}
    return Accepted(
        json=bool(ranges & {"*/*", "application/*", "application/json"}),
        stream=bool(ranges & {"text/event-stream", "text/*"}),
    )


class McpHandler(BaseHandler):
    """The MCP endpoint."""

    authentication = "bearer"

    @property
    def body_limit(self) -> int:
        """As configured; whoever did not log in may not fill the memory."""
        limit = self.services.settings.mcp.max_body
        return min(limit, FORM_LIMIT) if self._anonymous else limit

    def initialize(self) -> None:
        """Nothing has been sent yet."""
        super().initialize()
        self._anonymous = False
        self._work: asyncio.Task[Reply] | None = None
        self._events: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._streaming = False
        self._gone = False

    def set_default_headers(self) -> None:
        """Let configured browser-based clients read answers and challenges."""
        super().set_default_headers()
        self.allow_origin(self.configured_origin())
        self.set_header("Access-Control-Expose-Headers", "WWW-Authenticate")

    async def admit(self) -> None:
        """Check origin, method, bearer token and media types."""
        self._check_origin()
        if self.request.method == "OPTIONS":
            return
        if self.request.method != "POST":
            raise tornado.web.HTTPError(405)
        self.principal = await self._authenticate()
        self._anonymous = self.principal.anonymous
        self.client_id = self.principal.client_id
        media_type = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise RequestRefused(415, "the body must be application/json")
        self._accept = accepted(self.request.headers.get("Accept"))
        if not any(self._accept):
            raise RequestRefused(406, "the client must accept application/json")

    async def _authenticate(self) -> Principal:
        """Return who calls: nobody only if something is open and no credentials were sent."""
        authorization = self.request.headers.get_list("Authorization")
        if not authorization and self.services.plugins.registry.open:
            return ANONYMOUS
        server = self.services.server
        principal = await bearer.authenticate(
            self.services.db, authorization, resource=server.resource
        )
        return replace(principal, scopes=server.scopes.effective(principal.scopes))

    async def _count(self) -> None:
        """Raise :class:`~mcpserve.errors.RateLimited` after too much use without a login."""
        await self.services.limits.anonymous.fail(self.services.db, self.network)

    def _check_origin(self) -> None:
        origin = self.request.headers.get("Origin")
        settings = self.services.settings
        allowed = (*settings.mcp.allowed_origins, *settings.cors.origins)
        if origin is not None and not (
            "*" in allowed or origin_is_allowed(origin, settings.server.issuer, allowed)
        ):
            raise RequestRefused(
                403, "this origin may not use the server, see mcp.allowed_origins in its settings"
            )

    def options(self) -> None:
        """Answer a preflight (CORS)."""
        self.set_status(204)
        if self.configured_origin():
            self.set_header("Access-Control-Allow-Methods", "POST")
            asked = self.request.headers.get("Access-Control-Request-Headers", "").split(",")
            parameters = [
                name.strip() for name in asked if name.strip().lower().startswith("mcp-param-")
            ]
            self.set_header("Access-Control-Allow-Headers", ", ".join([CORS_HEADERS, *parameters]))
            self.set_header("Access-Control-Max-Age", "600")
        self.finish()

    async def post(self) -> None:
        """Serve one exchange."""
        headers = Headers.of(
            (name, value)
            for name, value in self.request.headers.get_all()
            if name.lower() not in CREDENTIALS
        )
        self._hang_up_cancels = self.services.exchange.is_modern(headers)
        self._work = asyncio.create_task(
            self.services.exchange(
                self.principal, headers, self.body, self._report, count=self._count
            )
        )
        self._work.add_done_callback(lambda _: self._events.put_nowait(None))
        try:
            await self._relay()
            if not self._work.cancelled():
                await self._answer(await self._work)
            elif not self._gone:
                raise RuntimeError("a tool cancelled the request that it served")
        finally:
            # Done long since, unless this very request is given up at shutdown.
            self._work.cancel()
            await asyncio.wait([self._work])

    async def _report(self, message: bytes) -> None:
        """Put a message on the stream; nobody gets ahead of a client that reads slowly."""
        self._events.put_nowait(message)
        await self._events.join()

    async def _relay(self) -> None:
        """Send what the exchange reports, until it is done."""
        clock = asyncio.get_running_loop().time
        checked = clock()
        while True:
            message: bytes | None = b""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEEP_ALIVE):
                    message = await self._events.get()
            if message is None:
                return
            if clock() - checked >= KEEP_ALIVE:
                checked = clock()
                await self._check_again()
            await self._send(event(message) if message else b": still working\n\n")
            if message:
                self._events.task_done()

    async def _check_again(self) -> None:
        """Hang up, and stop the work, once the token is revoked."""
        if self.principal.anonymous:
            return
        with contextlib.suppress(DatabaseError):  # Then nothing is known against it.
            (authorization,) = self.request.headers.get_list("Authorization")
            if self._work and await bearer.is_revoked(self.services.db, authorization):
                logger.info("hung up on a client whose token was revoked")
                self._hang_up()
                self._work.cancel()

    def _hang_up(self) -> None:
        self._gone = True
        self.request.connection.stream.close()  # type: ignore[union-attr]

    async def _send(self, chunk: bytes) -> None:
        """Write to the event stream, beginning it if need be; drop it if nobody takes it."""
        if self._gone or not self._accept.stream:
            return
        if not self._streaming:
            self._streaming = True
            self.set_header("Content-Type", "text/event-stream")
            self.set_header("Cache-Control", "no-cache, no-transform")
            self.set_header("X-Accel-Buffering", "no")
        self.write(chunk)
        await self._taken(self.flush())

    async def _taken(self, writing: Awaitable[None]) -> None:
        """Wait until the client took what was written; hang up on one that does not read."""
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                await writing
        except StreamClosedError:
            self._gone = True
        except TimeoutError:
            logger.info("hung up on a client that does not read")
            self._hang_up()

    async def _answer(self, reply: Reply) -> None:
        if reply.unavailable is not None:
            if not self._streaming:
                raise reply.unavailable
            logger.warning("%s", reply.unavailable)
        if not self._streaming:
            self.set_status(reply.status)
        if reply.body is not None:
            # What is no 200 is no stream, whatever the client takes.
            if not self._streaming and (self._accept.json or reply.status != 200):
                self.set_header("Content-Type", "application/json")
                self.write(reply.body)
            else:
                await self._send(event(reply.body))
        await self._taken(self.finish())

    def on_connection_close(self) -> None:
        """Stop the work of a modern request; in the handshake era it goes on, unheard.

        MCP 2026-07-28, cancellation; MCP 2025-11-25, transports.
        """
        super().on_connection_close()
        self._gone = True
        if self._work is not None and self._hang_up_cancels:
            self._work.cancel()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Add the challenge that tells a client how to get a token."""
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        if isinstance(error, InvalidToken | InsufficientScope):
            server = self.services.server
            self.set_header(
                "WWW-Authenticate",
                bearer.challenge(server.issuer, error, server.scopes.default),
            )
        super().write_error(status_code, **kwargs)


def event(message: bytes) -> bytes:
    """Return a JSON-RPC message as an event of a stream."""
    return b"event: message\ndata: " + message + b"\n\n"

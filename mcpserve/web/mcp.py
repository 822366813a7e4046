"""``POST /mcp``: Streamable HTTP without sessions.

An answer is JSON unless the request reports progress or takes long; then it is an event stream.
Tornado's handlers stand in the way of the one request that comes all the time: this is served
straight from the connection.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Mapping
from typing import NamedTuple

import tornado.web
from tornado.http1connection import HTTP1Connection

from mcpserve.deadlines import Deadlines
from mcpserve.errors import DatabaseError, InsufficientScope, InvalidToken, RequestRefused
from mcpserve.oauth import bearer
from mcpserve.principal import ANONYMOUS, Principal
from mcpserve.protocol import Headers, Reply
from mcpserve.web import heads
from mcpserve.web.heads import FORM_LIMIT
from mcpserve.web.message import Message
from mcpserve.web.network import origin_is_allowed
from mcpserve.web.services import Services

logger = logging.getLogger(__name__)

KEEP_ALIVE = 15.0
"""Seconds after which a comment keeps proxies from closing the connection, again and again.

As often a request that goes on is asked whether its token still counts.
"""

CREDENTIALS = frozenset({"Authorization", "Cookie"})
"""What ends here: no tool may learn how its caller proved who it is."""

CORS_HEADERS = (
    "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, Mcp-Name, "
    "Mcp-Session-Id, Last-Event-ID"
)

STREAM = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


class Accepted(NamedTuple):
    """Which forms of answer the client takes."""

    json: bool
    stream: bool


@functools.lru_cache(maxsize=32)
def accepted(accept: str | None) -> Accepted:
    """Read an ``Accept`` header; a client that says nothing takes JSON."""
    ranges = {part.partition(";")[0].strip().lower() for part in (accept or "*/*").split(",")}
    return Accepted(
        json=bool(ranges & {"*/*", "application/*", "application/json"}),
        stream=bool(ranges & {"text/event-stream", "text/*"}),
    )


class McpMessage(Message):
    """One request to the MCP endpoint."""

    authentication = "bearer"
    methods = ("POST", "OPTIONS")

    principal: Principal
    _accept: Accepted
    _goes_on_unheard = False
    """Whether what is under way is done when its client hangs up."""
    _watcher: asyncio.Task[None] | None = None

    def __init__(
        self,
        services: Services,
        connection: HTTP1Connection,
        watched: "Deadlines[McpMessage]",
    ) -> None:
        super().__init__(services, connection)
        self._watched = watched
        self._turn = asyncio.Lock()

    def headers(self) -> dict[str, str]:
        """Let configured browser-based clients read answers and challenges."""
        shown = {"Access-Control-Expose-Headers": "WWW-Authenticate"}
        origin = heads.configured_origin(self.request, self.services.settings.cors)
        return {**super().headers(), **shown, **heads.allowed_origin(origin)}

    def explained(self, error: BaseException) -> Mapping[str, str]:
        """Add the challenge that tells a client how to get a token."""
        if not isinstance(error, InvalidToken | InsufficientScope):
            return {}
        server = self.services.server
        challenge = bearer.challenge(server.issuer, error, server.scopes.default)
        return {"WWW-Authenticate": challenge}

    def hung_up(self) -> None:
        """Stop the work of a modern request; in the handshake era it goes on, unheard.

        MCP 2026-07-28, cancellation; MCP 2025-11-25, transports.
        """
        if not self._goes_on_unheard:
            self.cancel()

    async def admit(self) -> int:
        """Check origin, method, bearer token and media types."""
        self._check_origin()
        if self.request.method == "OPTIONS":
            return FORM_LIMIT
        if self.request.method != "POST":
            raise tornado.web.HTTPError(405)
        self.principal = await self._authenticate()
        self.client_id = self.principal.client_id
        media_type = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise RequestRefused(415, "the body must be application/json")
        self._accept = accepted(self.request.headers.get("Accept"))
        if not any(self._accept):
            raise RequestRefused(406, "the client must accept application/json")
        # Whoever did not log in may not fill the memory.
        limit = self.services.settings.mcp.max_body
        return min(limit, FORM_LIMIT) if self.principal.anonymous else limit

    async def _authenticate(self) -> Principal:
        """Return who calls: nobody only if something is open and no credentials were sent."""
        authorization = self.request.headers.get_list("Authorization")
        if not authorization and self.services.plugins.registry.open:
            return ANONYMOUS
        server = self.services.server
        principal = await bearer.authenticate(
            self.services.db, authorization, resource=server.resource
        )
        return principal.judged_by(server.scopes.effective(principal.scopes))

    async def _count(self) -> None:
        """Raise :class:`~mcpserve.errors.RateLimited` after too much use without a login."""
        await self.services.limits.anonymous.fail(self.services.db, self.network)

    def _check_origin(self) -> None:
        origin = self.request.headers.get("Origin")
        if origin is None:
            return
        settings = self.services.settings
        allowed = (*settings.mcp.allowed_origins, *settings.cors.origins)
        if not ("*" in allowed or origin_is_allowed(origin, settings.server.issuer, allowed)):
            raise RequestRefused(
                403, "this origin may not use the server, see mcp.allowed_origins in its settings"
            )

    async def serve(self, body: bytes) -> None:
        """Answer a preflight, or serve one exchange."""
        if self.request.method == "OPTIONS":
            return await self.answer(204, headers=self._preflight())
        lines = self.request.headers.get_all()
        headers = Headers.of([line for line in lines if line[0] not in CREDENTIALS])
        exchange = self.services.exchange
        self._goes_on_unheard = not exchange.is_modern(headers)
        self._watched.begin(self)
        try:
            reply = await exchange(self.principal, headers, body, self._report, count=self._count)
        finally:
            self._watched.end(self)
            if self._watcher:
                self._watcher.cancel()
        async with self._turn:
            await self._reply(reply)

    def _preflight(self) -> Mapping[str, str]:
        """Return what a browser asks before it sends a request (CORS)."""
        if not heads.configured_origin(self.request, self.services.settings.cors):
            return {}
        asked = self.request.headers.get("Access-Control-Request-Headers", "").split(",")
        parameters = [
            name.strip() for name in asked if name.strip().lower().startswith("mcp-param-")
        ]
        return {
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": ", ".join([CORS_HEADERS, *parameters]),
            "Access-Control-Max-Age": "600",
        }

    async def _report(self, message: bytes) -> None:
        """Put a message on the stream; nobody gets ahead of a client that reads slowly."""
        await self._stream(event(message))

    async def _stream(self, chunk: bytes) -> None:
        """Write to the event stream, beginning it if need be; drop it if nobody takes it."""
        async with self._turn:
            if self._accept.stream and not self.gone:
                await self.send(chunk, STREAM)

    def watch(self) -> None:
        """Look after a request that takes long."""
        self._watcher = asyncio.create_task(self._keep_alive())

    async def _keep_alive(self) -> None:
        self.name_in_log()
        while True:
            await self._check_again()
            await self._stream(b": still working\n\n")
            await asyncio.sleep(KEEP_ALIVE)

    async def _check_again(self) -> None:
        """Hang up, and stop the work, once the token is revoked."""
        if self.principal.anonymous:
            return
        with contextlib.suppress(DatabaseError):  # Then nothing is known against it.
            (authorization,) = self.request.headers.get_list("Authorization")
            if await bearer.is_revoked(self.services.db, authorization):
                logger.info("hung up on a client whose token was revoked")
                self.hang_up()
                self.cancel()

    async def _reply(self, reply: Reply) -> None:
        if reply.unavailable is not None:
            if not self.status:
                raise reply.unavailable
            logger.warning("%s", reply.unavailable)
        if self.gone:
            return
        body = reply.body or b""
        # What is no 200 is no stream, whatever the client takes.
        if not self.status and (self._accept.json or reply.status != 200):
            as_json = {"Content-Type": "application/json"} if body else {}
            return await self.answer(reply.status, body, as_json)
        await self.send(event(body), STREAM)
        self.end()


def watching() -> Deadlines[McpMessage]:
    """Return what looks after requests that take long."""
    return Deadlines(KEEP_ALIVE, McpMessage.watch)


def event(message: bytes) -> bytes:
    """Return a JSON-RPC message as an event of a stream."""
    return b"event: message\ndata: " + message + b"\n\n"

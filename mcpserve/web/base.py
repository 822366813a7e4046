"""What all handlers share: limits on the request, headers of the answer, one writer of errors.

Each handler declares how its callers are authenticated; ``routes`` refuses one that does not.
"""

import contextlib
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, ClassVar, Literal

import tornado.web
from tornado.iostream import StreamClosedError

from mcpserve import log, ratelimit
from mcpserve.errors import (
    ConfigError,
    DatabaseError,
    DocumentError,
    InvalidClient,
    InvalidRequest,
    KeyNotHere,
    OAuthError,
    Overloaded,
    PageError,
    RateLimited,
    RequestRefused,
)
from mcpserve.oauth import forms
from mcpserve.oauth.forms import Parameters
from mcpserve.web.network import client_address, host_is_allowed
from mcpserve.web.services import Services

logger = logging.getLogger(__name__)

Authentication = Literal["none", "client", "bearer", "browser"]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType]

FORM_LIMIT = 64 * 1024
URI_LIMIT = 16 * 1024
BASIC_CHALLENGE = 'Basic realm="mcpserve", charset="UTF-8"'


@dataclass(frozen=True)
class Problem:
    """An error as it is told to the other side."""

    status: int
    error: str
    description: str
    headers: Mapping[str, str] = field(default_factory=dict)


def describe(error: BaseException | None, status: int) -> Problem:
    """Map an exception to what is told of it. The one place that knows statuses."""
    match error:
        case InvalidClient():
            challenge = {"WWW-Authenticate": BASIC_CHALLENGE}
            return Problem(error.status, error.error, error.description, challenge)
        case OAuthError():
            return Problem(error.status, error.error, error.description)
        case PageError():
            # Its message may quote the request, in letters that RFC 6749 §5.2 does not allow.
            return Problem(error.status, error.error, error.title)
        case RequestRefused(status=503):
            after = {"Retry-After": "5", "Connection": "close"}
            return Problem(503, "temporarily_unavailable", error.description, after)
        case RequestRefused():
            return Problem(error.status, "invalid_request", error.description)
        case RateLimited():
            after = {"Retry-After": str(max(1, error.retry_after))}
            return Problem(429, "temporarily_unavailable", str(error), after)
        case DatabaseError() | DocumentError() | KeyNotHere() | Overloaded():
            after = {"Retry-After": str(error.retry_after)}
            return Problem(
                503,
                "temporarily_unavailable",
                "this cannot be answered now, try again soon",
                after,
            )
        case tornado.web.HTTPError(status_code=code) if code < 500:
            return Problem(code, "invalid_request", HTTPStatus(code).phrase)
        case _:
            return Problem(
                status if status >= 500 else 500, "server_error", "something failed here"
            )


@tornado.web.stream_request_body
class BaseHandler(tornado.web.RequestHandler):
    """Parse, authenticate, call, write."""

    authentication: ClassVar[Authentication]
    """How callers of this handler prove who they are."""
    field_limit: ClassVar[int] = forms.MAX_FIELDS
    """Most fields that a form may have."""
    any_host: ClassVar[bool] = False
    """Whether a request may name any host."""

    @property
    def body_limit(self) -> int:
        """Largest body in bytes."""
        return FORM_LIMIT

    @property
    def services(self) -> Services:
        """What ``app`` built."""
        services: Services = self.application.settings["services"]
        return services

    client_id: str
    """The client that proved who it is, for the log."""

    def initialize(self) -> None:
        """Begin to collect."""
        self._body = bytearray()
        self._admitted = False
        self.client_id = ""

    def set_default_headers(self) -> None:
        """Say nothing of the software, and nothing that may be stored or sniffed.

        Tornado calls this again before it writes an error.
        """
        self.request_id: str = self.__dict__.setdefault("request_id", secrets.token_hex(8))
        log.request_id.set(self.request_id)
        log.network.set(self.network)
        self.clear_header("Server")
        if self.services.settings.server.https:
            self.set_header("Strict-Transport-Security", "max-age=31536000")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Request-Id", self.request_id)

    async def prepare(self) -> None:
        """Refuse what no handler should see, before the body is kept."""
        try:
            if self.services.drain.stopping:
                raise RequestRefused(503, "the server is stopping")
            self.services.drain.enter()
            await self._check()
        except Exception:
            await self._pass_over_body()
            raise
        self._admitted = True

    async def _check(self) -> None:
        self._check_host()
        if len(self.request.uri or "") > URI_LIMIT:
            raise RequestRefused(414, "the address is too long")
        await self.admit()
        if self.request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise RequestRefused(415, "a compressed body is not understood")
        if self._announced_length > self.body_limit:
            raise self._too_large()

    async def admit(self) -> None:
        """Refuse callers by their address and who they are; everybody may call by default."""

    async def _pass_over_body(self) -> None:
        """Let in a body that is not too large, so that the connection can be used again.

        An answer before the end of the request makes Tornado hang up, and the client lose the
        answer, or the next request that it sends on this connection.
        """
        if self._announced_length <= self.body_limit:
            # Tornado's sign that the body may come; it makes this future for every request.
            self._prepared_future.set_result(None)  # type: ignore[attr-defined]
            with contextlib.suppress(StreamClosedError):
                await self.request._body_future

    @property
    def _announced_length(self) -> int:
        length = self.request.headers.get("Content-Length", "0")
        # A number that is too long to be read is too large in any case.
        return int(length[:20]) if length.isdecimal() else 0

    def data_received(self, chunk: bytes) -> None:
        """Collect the body, but never more than one chunk above the limit."""
        if self._admitted and len(self._body) <= self.body_limit:
            self._body += chunk

    @property
    def body(self) -> bytes:
        """The whole body. Raises :class:`~mcpserve.errors.RequestRefused` if it is too large."""
        if len(self._body) > self.body_limit:
            raise self._too_large()
        return bytes(self._body)

    def _too_large(self) -> RequestRefused:
        return RequestRefused(413, f"the body may have {self.body_limit} bytes at most")

    def _check_host(self) -> None:
        server, mcp = self.services.settings.server, self.services.settings.mcp
        host = self.request.headers.get("Host", "")
        if self.any_host or host_is_allowed(host, server.public_host, mcp.allowed_hosts):
            return
        logger.warning(
            "refused Host %r: if clients reach this server under that name, set server.public_url "
            "or add it to mcp.allowed_hosts",
            host,
        )
        raise RequestRefused(421, "this server is not reached under that host name")

    @property
    def network(self) -> str:
        """What failures of this caller are counted by."""
        address = client_address(
            self.request.remote_ip or "",
            self.request.headers.get_list("X-Forwarded-For"),
            self.services.settings.server.trusted_proxies,
        )
        return ratelimit.network(address)

    def query(self) -> Parameters:
        """Return the query string, strictly parsed. Raises ``InvalidRequest``."""
        if not self.request.query.isascii():
            raise InvalidRequest("the query must be percent-encoded")
        return forms.parse(self.request.query)

    def form(self) -> Parameters:
        """Return the form in the body, strictly parsed. Raises ``InvalidRequest``."""
        return forms.parse_form(
            self.request.headers.get("Content-Type", ""),
            self.body,
            query=self.request.query,
            max_fields=self.field_limit,
        )

    def allow_origin(self, origin: str | None) -> None:
        """Let a page of this origin read the answer (CORS); ``None`` lets nobody."""
        if origin is None:
            return
        self.set_header("Access-Control-Allow-Origin", origin)
        if origin != "*":
            self.add_header("Vary", "Origin")

    def configured_origin(self) -> str | None:
        """Return the origin of this request if ``cors.origins`` names it."""
        origins = self.services.settings.cors.origins
        asked = self.request.headers.get("Origin")
        if "*" in origins:
            return "*"
        return asked if asked in origins else None

    def write_json(self, value: Mapping[str, Any]) -> None:
        """Write a JSON answer."""
        self.set_header("Content-Type", "application/json")
        self.finish(dict(value))

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log what was raised: on purpose in a line, by mistake with its traceback."""
        if isinstance(value, StreamClosedError):
            logger.debug("the client hung up")
        elif describe(value, 500).status == 500 or isinstance(value, ConfigError):
            logger.error("unexpected error", exc_info=value)
        elif isinstance(value, DatabaseError | KeyNotHere | Overloaded):
            logger.warning("%s", value)
        else:
            logger.info("refused: %s", value)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tell the other side what went wrong."""
        exc_info: ExcInfo | None = kwargs.get("exc_info")
        problem = describe(exc_info[1] if exc_info else None, status_code)
        self.set_status(problem.status)
        for name, value in problem.headers.items():
            self.set_header(name, value)
        if problem.status == 405:
            self.set_header("Allow", ", ".join(self.methods()))
        if self._announced_length > self.body_limit:
            self.set_header("Connection", "close")
        self.write_problem(problem)

    def write_problem(self, problem: Problem) -> None:
        """Write the body of an error: JSON as in RFC 6749 §5.2."""
        body = {"error": problem.error, "error_description": problem.description}
        if problem.status == 500:
            body["error_id"] = self.request_id
        self.write_json(body)

    @classmethod
    def methods(cls) -> list[str]:
        """Return the methods that this handler has."""
        unimplemented = tornado.web.RequestHandler._unimplemented_method
        return [
            method
            for method in cls.SUPPORTED_METHODS
            if getattr(cls, method.lower(), unimplemented) is not unimplemented
        ]

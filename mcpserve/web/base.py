"""What all handlers share: limits on the request, headers of the answer, one writer of errors.

Each handler declares how its callers are authenticated; ``routes`` refuses one that does not.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Literal

import tornado.web
from tornado.iostream import StreamClosedError

from mcpserve import log
from mcpserve.errors import InvalidRequest
from mcpserve.oauth import forms
from mcpserve.oauth.forms import Parameters
from mcpserve.web import heads
from mcpserve.web.problems import Problem, describe, log_problem
from mcpserve.web.services import Services

Authentication = Literal["none", "client", "bearer", "browser"]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType]


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
        return heads.FORM_LIMIT

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
        self.request_id: str = self.__dict__.setdefault("request_id", heads.new_request_id())
        log.request_id.set(self.request_id)
        log.network.set(self.network)
        self.clear_header("Server")
        for name, value in heads.standard_headers(self.services.settings, self.request_id).items():
            self.set_header(name, value)

    async def prepare(self) -> None:
        """Refuse what no handler should see, before the body is kept."""
        try:
            if task := asyncio.current_task():
                self.services.drain.enter(task)
            await self._check()
        except Exception:
            await self._pass_over_body()
            raise
        self._admitted = True

    async def _check(self) -> None:
        if not self.any_host:
            heads.check_host(self.request, self.services.settings)
        heads.check_uri(self.request)
        await self.admit()
        heads.check_body(self.request, self.body_limit)

    async def admit(self) -> None:
        """Refuse callers by their address and who they are; everybody may call by default."""

    async def _pass_over_body(self) -> None:
        """Let in a body that is not too large, so that the connection can be used again.

        An answer before the end of the request makes Tornado hang up, and the client lose the
        answer, or the next request that it sends on this connection.
        """
        if heads.announced_length(self.request) <= self.body_limit:
            # Tornado's sign that the body may come; it makes this future for every request.
            self._prepared_future.set_result(None)  # type: ignore[attr-defined]
            with contextlib.suppress(StreamClosedError):
                await self.request._body_future

    def data_received(self, chunk: bytes) -> None:
        """Collect the body, but never more than one chunk above the limit."""
        if self._admitted and len(self._body) <= self.body_limit:
            self._body += chunk

    @property
    def body(self) -> bytes:
        """The whole body. Raises :class:`~mcpserve.errors.RequestRefused` if it is too large."""
        if len(self._body) > self.body_limit:
            raise heads.too_large(self.body_limit)
        return bytes(self._body)

    @property
    def network(self) -> str:
        """What failures of this caller are counted by."""
        return heads.network(self.request, self.services.settings)

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
        for name, value in heads.allowed_origin(origin).items():
            self.set_header(name, value)

    def configured_origin(self) -> str | None:
        """Return the origin of this request if ``cors.origins`` names it."""
        return heads.configured_origin(self.request, self.services.settings.cors)

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
        log_problem(value)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tell the other side what went wrong."""
        exc_info: ExcInfo | None = kwargs.get("exc_info")
        problem = describe(exc_info[1] if exc_info else None, status_code)
        self.set_status(problem.status)
        for name, value in problem.headers.items():
            self.set_header(name, value)
        if problem.status == 405:
            self.set_header("Allow", ", ".join(self.methods()))
        if heads.announced_length(self.request) > self.body_limit:
            self.set_header("Connection", "close")
        if problem.is_last:
            heads.close_when_answered(self.request.connection)
        self.write_problem(problem)

    def write_problem(self, problem: Problem) -> None:
        """Write the body of an error: JSON as in RFC 6749 §5.2."""
        self.write_json(problem.told(self.request_id))

    @classmethod
    def methods(cls) -> list[str]:
        """Return the methods that this handler has."""
        unimplemented = tornado.web.RequestHandler._unimplemented_method
        return [
            method
            for method in cls.SUPPORTED_METHODS
            if getattr(cls, method.lower(), unimplemented) is not unimplemented
        ]

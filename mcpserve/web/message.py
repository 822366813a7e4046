"""A request and its answer on a connection, for what has no time for Tornado's handlers."""

import asyncio
import functools
import json
import logging
import time
from collections.abc import Awaitable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    ResponseStartLine,
    format_timestamp,
)
from tornado.iostream import StreamClosedError

from mcpserve import log
from mcpserve.errors import RequestRefused
from mcpserve.web import heads
from mcpserve.web.base import Authentication
from mcpserve.web.problems import describe, log_problem
from mcpserve.web.services import Services

logger = logging.getLogger(__name__)

READ_TIMEOUT = 120.0
"""Seconds that a client may take to read an answer, or one event of a stream."""

DISCARD = -1
"""The limit of a body that nobody will look at."""

STOPPING = "the server is stopping"

GONE = 499
"""What the log says of a request whose client did not wait for the whole answer, as nginx does."""


@functools.lru_cache(maxsize=1)
def date(seconds: int) -> str:
    """Return the ``Date`` header of a second."""
    return format_timestamp(seconds)


class Message(HTTPMessageDelegate):
    """Reads a request up to a limit, has it served by one task, and writes the answer.

    A small body is read before anything is asked; a large one waits until its sender is known.
    """

    authentication: ClassVar[Authentication]
    """How callers prove who they are."""
    methods: ClassVar[tuple[str, ...]]
    """The HTTP methods that are served."""

    request: HTTPServerRequest
    request_id: str
    network: str
    """What failures of this caller are counted by."""
    client_id = ""
    """The client that proved who it is, for the log."""

    def __init__(self, services: Services, connection: HTTP1Connection) -> None:
        self.services = services
        self.gone = False
        """Whether the client hung up, or was hung up on."""
        self.status = 0
        """What was answered; 0 as long as nothing was."""
        self._connection = connection
        self._body = bytearray()
        self._received = 0
        self._limit = min(heads.FORM_LIMIT, services.settings.mcp.max_body)
        self._is_served = False
        self._whole: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._expected: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def admit(self) -> int:
        """Refuse callers by the head; return how many bytes their body may have."""
        raise NotImplementedError

    async def serve(self, body: bytes) -> None:
        """Answer the request."""
        raise NotImplementedError

    def headers(self) -> dict[str, str]:
        """Return what the head of every answer says."""
        told = heads.standard_headers(self.services.settings, self.request_id)
        return {"Date": date(int(time.time())), **told}

    def explained(self, error: BaseException) -> Mapping[str, str]:
        """Return the headers that an error has here beside those of its kind."""
        return {}

    def hung_up(self) -> None:
        """Give up what is served."""
        self.cancel()

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Awaitable[None] | None:
        """See Tornado."""
        self.request = HTTPServerRequest(
            connection=self._connection, start_line=start_line, headers=headers
        )
        self.network = heads.network(self.request, self.services.settings)
        self.request_id = heads.new_request_id()
        self.name_in_log()
        self._connection.set_close_callback(self.on_connection_close)
        self.services.drain.enter(self._whole)
        if heads.announced_length(self.request) <= self._limit and (
            "Transfer-Encoding" not in headers
        ):
            return None
        self._expected = asyncio.get_running_loop().create_future()
        self._begin()
        return self._expected

    def name_in_log(self) -> None:
        """Let what is logged from here on, in this context, name the request."""
        log.request_id.set(self.request_id)
        log.network.set(self.network)

    def data_received(self, chunk: bytes) -> None:
        """Collect the body, up to the limit."""
        self._received += len(chunk)
        if self._received <= self._limit:
            self._body += chunk

    def finish(self) -> None:
        """Serve the request, which is whole now, unless it was given up."""
        if self._whole.cancelled():
            return
        self._whole.set_result(None)
        if self._task is None:
            self._begin()

    def on_connection_close(self) -> None:
        """Stop waiting for what will not come.

        Who it was is found out all the same: a lookup that is cancelled costs a connection.
        """
        self.gone = True
        self._whole.cancel()
        if self._is_served:
            self.hung_up()

    def cancel(self) -> None:
        """Give up what is under way."""
        if self._task:
            self._task.cancel()

    def hang_up(self) -> None:
        """Close the connection."""
        self.gone = True
        self._connection.close()

    async def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Write a whole answer, and wait until the client took it."""
        told = {**self.headers(), **(headers or {})}
        if status != HTTPStatus.NO_CONTENT:
            told["Content-Length"] = str(len(body))
        if heads.is_closed_when_answered(self._connection):
            told["Connection"] = "close"
        elif self.request.version == "HTTP/1.0":
            told["Connection"] = "Keep-Alive"
        self.status = status
        shown = b"" if self.request.method == "HEAD" else body
        # Not write_headers, which takes as long as a small tool.
        writing = self._connection.write(heads.written(status, told) + shown)
        self._end()
        await self._taken(writing)

    async def send(self, chunk: bytes, headers: Mapping[str, str]) -> None:
        """Write a part of an answer, after its head if it is the first."""
        first = not self.status
        if first and self.request.version == "HTTP/1.0":
            # What has neither length nor chunks ends with the connection.
            heads.close_when_answered(self._connection)
        await self._taken(
            self._begin_stream(headers, chunk) if first else self._connection.write(chunk)
        )

    def end(self) -> None:
        """End an answer that was sent in parts."""
        if not self.gone:
            self._end()

    def get_status(self) -> int:
        """Return what was answered, for the log."""
        return GONE if self.gone else self.status

    def _begin_stream(self, headers: Mapping[str, str], chunk: bytes) -> "asyncio.Future[None]":
        self.status = HTTPStatus.OK
        start_line = ResponseStartLine("", HTTPStatus.OK, HTTPStatus.OK.phrase)
        head = HTTPHeaders({**self.headers(), **headers})
        return self._connection.write_headers(start_line, head, chunk)

    def _end(self) -> None:
        self._connection.set_close_callback(None)
        self._connection.finish()

    async def _taken(self, writing: "asyncio.Future[None]") -> None:
        """Wait until the client took what was written; hang up on one that does not read."""
        try:
            if writing.done():
                return writing.result()
            async with asyncio.timeout(READ_TIMEOUT):
                await writing
        except StreamClosedError:
            self.gone = True
        except TimeoutError:
            logger.info("hung up on a client that does not read")
            self.hang_up()

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._run())
        self.services.drain.enter(self._task)

    async def _run(self) -> None:
        try:
            await self._serve()
        except asyncio.CancelledError as error:
            # Given up at shutdown, or by a plugin that cancels what is not its own.
            stopping = RequestRefused(503, STOPPING)
            await self._tell(stopping if self.services.drain.stopping else error)
            raise
        except Exception as error:
            log_problem(error)
            await self._tell(error)
        finally:
            self._expect_body()
            log.log_request(self)

    async def _serve(self) -> None:
        try:
            heads.check_host(self.request, self.services.settings)
            heads.check_uri(self.request)
            self._limit = await self.admit()
            heads.check_body(self.request, self._limit)
        except Exception:
            await self._pass_over_body()
            raise
        self._expect_body()
        await self._whole
        if self._received > min(self._limit, len(self._body)):
            raise heads.too_large(self._limit)
        if not self.gone:
            self._is_served = True
            await self.serve(bytes(self._body))

    async def _pass_over_body(self) -> None:
        """Let in a body that is not too large, so that the connection can be used again.

        An answer before the end of the request makes Tornado hang up, and the client lose the
        answer, or the next request that it sends on this connection.
        """
        if heads.announced_length(self.request) <= self.services.settings.mcp.max_body:
            self._limit = DISCARD
            self._expect_body()
            await self._whole

    def _expect_body(self) -> None:
        if self._expected and not self._expected.done():
            self._expected.set_result(None)

    async def _tell(self, error: BaseException) -> None:
        """Tell the other side what went wrong, if it can be told any more."""
        if self.gone:
            return
        if self.status:
            self.hang_up()
            return
        problem = describe(error, 500)
        headers = {"Content-Type": "application/json", **problem.headers, **self.explained(error)}
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(self.methods)
        if problem.is_last or not self._whole.done():
            heads.close_when_answered(self._connection)
        body = json.dumps(problem.told(self.request_id)).encode()
        await self.answer(problem.status, body, headers)

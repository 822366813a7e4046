"""One MCP exchange: a POST to ``/mcp`` and its answer, in either era.

The only module that touches the SDK's server kernel. It knows no HTTP server and no database:
headers and body go in, a :class:`Reply` comes out, nothing is kept.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio
import mcp_types
import pydantic_core
from mcp.server.caching import CacheHint
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.runner import serve_one
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PARAM_HEADER_PREFIX,
    MCP_PROTOCOL_VERSION_HEADER,
    InboundLadderRejection,
    classify_inbound_request,
    unsupported_protocol_version_rejection,
    validate_mcp_param_headers,
    x_mcp_header_map,
)
from mcp.shared.jsonrpc_dispatcher import (
    handler_exception_to_error_data,
    progress_token_from_params,
)
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    PROTOCOL_VERSION_META_KEY,
    CallToolRequestParams,
    CallToolResult,
    ErrorData,
    JSONRPCNotification,
    JSONRPCRequest,
    ListToolsResult,
    PaginatedRequestParams,
)
from mcp_types.version import (
    HANDSHAKE_PROTOCOL_VERSIONS,
    LATEST_HANDSHAKE_VERSION,
    MODERN_PROTOCOL_VERSIONS,
)
from pydantic import ValidationError

from mcpserve.errors import InsufficientScope
from mcpserve.principal import Principal
from mcpserve.tools import Progress, ToolContext, ToolRegistry, UnknownTool
from mcpserve.version import __version__

logger = logging.getLogger(__name__)

HEADERLESS_VERSION = "2025-03-26"
"""What a client speaks that names no version (MCP 2025-11-25, transports)."""

DISCOVER_TTL_MS = 3_600_000
LIST_TTL_MS = 300_000

HEADER_VALUE = re.compile(r"[\t -~]*")
"""What a header that stands for a part of the body may carry; the rest needs Base64."""

Notify = Callable[[bytes], Awaitable[None]]
"""Sends one JSON-RPC notification on the stream of the request."""


@dataclass(frozen=True)
class Reply:
    """What to answer: an HTTP status and a JSON body, or no body at all."""

    status: int
    body: bytes | None = None


@dataclass(frozen=True)
class Headers:
    """The headers of a request: every line, and by lower-case name."""

    lines: tuple[tuple[str, str], ...]
    folded: Mapping[str, str]

    @classmethod
    def of(cls, lines: Iterable[tuple[str, str]]) -> "Headers":
        """Keep the lines as they came."""
        kept = tuple(lines)
        return cls(kept, {name.lower(): value for name, value in kept})


class Era(Protocol):
    """How one request is served and its errors are told."""

    modern: bool

    def connection(self) -> Connection:
        """Return a fresh connection for this one request."""

    def status(self, code: int) -> int:
        """Return the HTTP status of a JSON-RPC error."""


@dataclass(frozen=True)
class Handshake:
    """Versions up to 2025-11-25, without the session that they allow to leave out."""

    version: str
    modern = False

    def connection(self) -> Connection:
        """See :class:`Era`."""
        return Connection.from_envelope(self.version, None, None)

    def status(self, code: int) -> int:
        """404 would mean a lost session there, so errors of the protocol are 200."""
        return 200


@dataclass(frozen=True)
class Modern:
    """2026-07-28: every request carries its version, capabilities and client."""

    version: str
    client_info: Any = field(repr=False)
    client_capabilities: Any = field(repr=False)
    modern = True

    def connection(self) -> Connection:
        """See :class:`Era`."""
        return Connection.from_envelope(self.version, self.client_info, self.client_capabilities)

    def status(self, code: int) -> int:
        """See :class:`Era`; the SDK has the table."""
        return ERROR_CODE_HTTP_STATUS.get(code, 200)


class Rejected(Exception):
    """A request that is refused before its method is looked at."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.error = ErrorData(code=code, message=message, data=data)

    @classmethod
    def by(cls, rejection: InboundLadderRejection) -> "Rejected":
        """Take over what a rung of the SDK's ladder says."""
        return cls(rejection.code, rejection.message, rejection.data)


def choose_era(headers: Headers, message: Mapping[str, Any]) -> Era:
    """Tell the era by how the client opens (MCP 2026-07-28, versioning).

    The body's envelope decides, then the header; ``initialize`` without an envelope is always a
    handshake. Raises :class:`Rejected`.
    """
    named = headers.folded.get(MCP_PROTOCOL_VERSION_HEADER)
    enveloped = envelope_version(message)
    if enveloped is None and message["method"] == "initialize":
        return Handshake(LATEST_HANDSHAKE_VERSION)
    refuse_ambiguous(headers)
    if enveloped is None and named is None:
        return Handshake(HEADERLESS_VERSION)
    if named is not None and enveloped in (None, named):
        if named in HANDSHAKE_PROTOCOL_VERSIONS:
            return Handshake(named)
        if unknown := unsupported_protocol_version_rejection(named):
            raise Rejected.by(unknown)
    verdict = classify_inbound_request(message, headers=headers.folded)
    if isinstance(verdict, InboundLadderRejection):
        raise Rejected.by(verdict)
    return Modern(verdict.protocol_version, verdict.client_info, verdict.client_capabilities)


def refuse_ambiguous(headers: Headers) -> None:
    """Refuse headers that whoever routes by them might read otherwise than we do.

    Raises :class:`Rejected` for one that is there twice or has characters of no fixed meaning.
    """
    routing = {MCP_PROTOCOL_VERSION_HEADER, MCP_METHOD_HEADER, MCP_NAME_HEADER}
    seen = set()
    for line, value in headers.lines:
        name = line.lower()
        if name not in routing and not name.startswith(MCP_PARAM_HEADER_PREFIX.lower()):
            continue
        if name in seen:
            raise Rejected(HEADER_MISMATCH, f"{name} header appears more than once")
        if not HEADER_VALUE.fullmatch(value):
            raise Rejected(HEADER_MISMATCH, f"{name} header must be ASCII or Base64")
        seen.add(name)


def envelope_version(message: Mapping[str, Any]) -> Any:
    """Return the version that the body's ``_meta`` names, ``None`` if it names none."""
    match message:
        case {"params": {"_meta": {**meta}}}:
            return meta.get(PROTOCOL_VERSION_META_KEY)
        case _:
            return None


@dataclass(frozen=True)
class Call:
    """What our handlers need and the SDK only carries along."""

    principal: Principal
    progress: Progress


@dataclass
class Dispatch:
    """The SDK's ``DispatchContext`` of one request: notifications go out, requests cannot."""

    request_id: mcp_types.RequestId
    transport: TransportContext
    progress_token: mcp_types.ProgressToken | None
    send: Notify
    principal: Principal
    cancel_requested: anyio.Event = field(default_factory=anyio.Event)
    can_send_request: bool = field(default=False, init=False)

    @property
    def message_metadata(self) -> ServerMessageMetadata:
        """Carries our :class:`Call` through the SDK."""
        return ServerMessageMetadata(request_context=Call(self.principal, self.progress))

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Refuse: a stateless server has no way back to the client."""
        raise NoBackChannelError(method)

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        """Send a notification on the stream of the request."""
        message = JSONRPCNotification(
            jsonrpc="2.0", method=method, params=dict(params) if params is not None else None
        )
        await self.send(encode(message.model_dump(mode="json", by_alias=True, exclude_none=True)))

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Report progress, if the request brought a token for it and is not answered yet."""
        if self.progress_token is None:
            return
        params = {
            "progressToken": self.progress_token,
            "progress": progress,
            "total": total,
            "message": message,
        }
        given = {name: value for name, value in params.items() if value is not None}
        await self.notify("notifications/progress", given)


class Exchange:
    """Serves single requests. One instance serves all of them, at the same time."""

    def __init__(self, registry: ToolRegistry, *, name: str, instructions: str) -> None:
        self._registry = registry
        self._server: Server[Any] = Server(
            name,
            version=__version__,
            instructions=instructions or None,
            cache_hints={
                "server/discover": CacheHint(DISCOVER_TTL_MS, "public"),
                # Scopes filter the list.
                "tools/list": CacheHint(LIST_TTL_MS, "private"),
            },
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )
        # Telemetry costs a third of a call, and nobody can configure it yet.
        self._server.middleware.clear()

    async def __call__(
        self, principal: Principal, headers: Headers, body: bytes, notify: Notify
    ) -> Reply:
        """Answer one POST. Raises :class:`~mcpserve.errors.InsufficientScope` and nothing else."""
        try:
            message = parse(body)
        except Rejected as rejected:
            return Reply(400, error_body(None, rejected.error))
        if "id" not in message:
            return acknowledge(message)
        try:
            request = JSONRPCRequest.model_validate(message)
        except ValidationError:
            return refuse_malformed(message, headers)
        try:
            era = choose_era(headers, message)
            self._check_param_headers(era, request, headers)
        except Rejected as rejected:
            return Reply(400, error_body(request.id, rejected.error))
        self._check_scopes(principal, request)
        return await self._serve(era, request, principal, headers, notify)

    def is_modern(self, headers: Headers) -> bool:
        """Whether hanging up cancels the request (MCP 2026-07-28, cancellation)."""
        return headers.folded.get(MCP_PROTOCOL_VERSION_HEADER) in MODERN_PROTOCOL_VERSIONS

    async def _serve(
        self,
        era: Era,
        request: JSONRPCRequest,
        principal: Principal,
        headers: Headers,
        notify: Notify,
    ) -> Reply:
        dispatch = Dispatch(
            request_id=request.id,
            transport=TransportContext(
                kind="streamable-http", can_send_request=False, headers=headers.folded
            ),
            progress_token=progress_token_from_params(request.params),
            send=notify,
            principal=principal,
        )
        try:
            self._check_method(request.method)
            result = await serve_one(
                self._server,
                dispatch,
                request.method,
                request.params,
                connection=era.connection(),
                lifespan_state=None,
            )
            return Reply(200, encode({"jsonrpc": "2.0", "id": request.id, "result": result}))
        except Exception as exception:
            error = handler_exception_to_error_data(exception)
            if error is None:
                logger.exception("serving %s failed", request.method)
                error = ErrorData(code=INTERNAL_ERROR, message="Internal server error")
            return Reply(era.status(error.code), error_body(request.id, error))
        finally:
            # What a tool left running may not report any more.
            dispatch.progress_token = None

    def _check_method(self, method: str) -> None:
        """Refuse what is not served; the SDK would look at its parameters first."""
        if method != "initialize" and self._server.get_request_handler(method) is None:
            raise MCPError(code=METHOD_NOT_FOUND, message="Method not found", data=method)

    def _check_param_headers(self, era: Era, request: JSONRPCRequest, headers: Headers) -> None:
        """Compare ``Mcp-Param-*`` headers with the arguments, for tools that declare some."""
        if not era.modern or request.method != "tools/call":
            return
        match request.params:
            case {"name": str() as name, **others}:
                arguments = others.get("arguments")
                given = arguments if isinstance(arguments, dict) else {}
                schema = self._schema_with_headers(name)
                if schema and (
                    rejection := validate_mcp_param_headers(schema, given, headers.folded)
                ):
                    raise Rejected.by(rejection)

    def _schema_with_headers(self, name: str) -> dict[str, Any] | None:
        try:
            schema = self._registry.get(name).tool.input_schema
        except UnknownTool:
            return None
        return schema if x_mcp_header_map(schema) else None

    def _check_scopes(self, principal: Principal, request: JSONRPCRequest) -> None:
        """Refuse with HTTP 403 before a stream can have begun."""
        match request:
            case JSONRPCRequest(method="tools/call", params={"name": str() as name}):
                try:
                    self._registry.require(name, principal.scopes)
                except UnknownTool:
                    return

    async def _list_tools(
        self, context: ServerRequestContext[Any, Call], params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        if params is not None and params.cursor is not None:
            raise MCPError(code=INVALID_PARAMS, message="Unknown cursor: there is one page only")
        scopes = caller(context).principal.scopes
        return ListToolsResult(
            tools=[bound.tool.definition for bound in self._registry.visible(scopes)]
        )

    async def _call_tool(
        self, context: ServerRequestContext[Any, Call], params: CallToolRequestParams
    ) -> CallToolResult:
        call = caller(context)
        try:
            return await self._registry.call(
                params.name, params.arguments or {}, ToolContext(call.principal, call.progress)
            )
        except UnknownTool:
            raise MCPError(code=INVALID_PARAMS, message=f"Unknown tool: {params.name}") from None
        except InsufficientScope as error:
            raise MCPError(code=INVALID_PARAMS, message=error.description) from error


def caller(context: ServerRequestContext[Any, Call]) -> Call:
    """Return the :class:`Call` that :class:`Dispatch` put in."""
    if context.request is None:
        raise RuntimeError("the SDK lost the request context")
    return context.request


def parse(body: bytes) -> dict[str, Any]:
    """Return the one JSON object of a body. Raises :class:`Rejected`."""
    try:
        # Unlike json.loads it refuses half of a surrogate pair, which no UTF-8 can carry on.
        message = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError:
        raise Rejected(PARSE_ERROR, "Parse error") from None
    if not isinstance(message, dict):
        raise Rejected(INVALID_REQUEST, "The body must be one JSON-RPC request or notification")
    return message


def acknowledge(message: dict[str, Any]) -> Reply:
    """Accept a notification and drop it: there is no state that it could change."""
    try:
        JSONRPCNotification.model_validate(message)
    except ValidationError:
        error = ErrorData(code=INVALID_REQUEST, message="Not a JSON-RPC request or notification")
        return Reply(400, error_body(None, error))
    return Reply(202)


def refuse_malformed(message: dict[str, Any], headers: Headers) -> Reply:
    """Refuse what has an ``id`` and is no request; a handshake client may post responses."""
    is_response = "method" not in message and ("result" in message or "error" in message)
    named = headers.folded.get(MCP_PROTOCOL_VERSION_HEADER)
    if is_response and named not in MODERN_PROTOCOL_VERSIONS:
        return Reply(202)
    error = ErrorData(code=INVALID_REQUEST, message="Not a valid JSON-RPC request")
    return Reply(400, error_body(readable_id(message), error))


def readable_id(message: Mapping[str, Any]) -> mcp_types.RequestId | None:
    """Return the id of what may be no request otherwise; ``None`` if it is none."""
    match message["id"]:
        case bool():
            return None
        case str() | int() as request_id:
            return request_id
        case _:
            return None


def error_body(request_id: mcp_types.RequestId | None, error: ErrorData) -> bytes:
    """Return a JSON-RPC error; without an id where none could be read (MCP 2026-07-28, basic)."""
    identified = {} if request_id is None else {"id": request_id}
    told = error.model_dump(mode="json", exclude_none=True)
    return encode({"jsonrpc": "2.0", **identified, "error": told})


def encode(message: Mapping[str, Any]) -> bytes:
    """Return JSON in ASCII, which no reader of lines takes for several.

    Raises :class:`ValueError` for half of a surrogate pair, which is no text.
    """
    return pydantic_core.to_json(message, ensure_ascii=True, inf_nan_mode="null")

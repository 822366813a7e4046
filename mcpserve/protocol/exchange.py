"""Serving a request with the SDK's kernel; our handlers of the methods that we offer."""

import contextlib
import logging
from typing import Any

from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.runner import serve_one
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import (
    MCP_PROTOCOL_VERSION_HEADER,
    validate_mcp_param_headers,
    x_mcp_header_map,
)
from mcp.shared.jsonrpc_dispatcher import (
    handler_exception_to_error_data,
    progress_token_from_params,
)
from mcp.shared.transport_context import TransportContext
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    LOG_LEVEL_META_KEY,
    METHOD_NOT_FOUND,
    CallToolRequestParams,
    CallToolResult,
    EmptyResult,
    ErrorData,
    InputRequiredResult,
    JSONRPCRequest,
    ListToolsResult,
    LoggingLevel,
    PaginatedRequestParams,
    SetLevelRequestParams,
)
from mcp_types.version import (
    MODERN_PROTOCOL_VERSIONS,
)
from pydantic import ValidationError

from mcpserve.errors import InsufficientScope
from mcpserve.principal import Principal
from mcpserve.protocol.challenges import in_result, refusal
from mcpserve.protocol.dispatch import (
    Call,
    Challenge,
    Dispatch,
    Notify,
    caller,
    tool_context,
)
from mcpserve.protocol.eras import Era, choose_era
from mcpserve.protocol.messages import (
    Headers,
    Rejected,
    Reply,
    acknowledge,
    encode,
    error_body,
    parse,
    refuse_malformed,
)
from mcpserve.protocol.offers import OfferHandlers
from mcpserve.protocol.pages import page
from mcpserve.protocol.rounds import Rounds, Seal
from mcpserve.protocol.schemes import listed, repeated
from mcpserve.protocol.trace import trace_of
from mcpserve.registry import Registry, Unknown, UnknownTool
from mcpserve.setting_types import ChallengeForm
from mcpserve.tools import LEVELS
from mcpserve.version import __version__

logger = logging.getLogger(__name__)

DISCOVER_TTL_MS = 3_600_000
LIST_TTL_MS = 300_000

HANDSHAKE_LOG_LEVEL: LoggingLevel = "info"
"""What a client of the handshake era is sent; what it may have chosen once is not remembered."""


class Exchange:
    """Serves single requests. One instance serves all of them, at the same time."""

    def __init__(
        self,
        registry: Registry,
        *,
        name: str,
        instructions: str,
        seal: Seal,
        challenge: Challenge,
        challenge_form: ChallengeForm = "auto",
    ) -> None:
        self._registry = registry
        self._challenge = challenge
        self._challenge_form = challenge_form
        self._rounds = Rounds(seal)
        self._server: Server[Any] = Server(
            name,
            version=__version__,
            instructions=instructions or None,
            cache_hints={
                "server/discover": CacheHint(DISCOVER_TTL_MS, "public"),
                # Scopes filter the lists.
                "tools/list": CacheHint(LIST_TTL_MS, "private"),
                "resources/list": CacheHint(LIST_TTL_MS, "private"),
                "resources/templates/list": CacheHint(LIST_TTL_MS, "private"),
                "prompts/list": CacheHint(LIST_TTL_MS, "private"),
                # Only its author knows how long a content holds.
                "resources/read": CacheHint(0, "private"),
            },
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            **OfferHandlers(registry, self._rounds).served,
        )
        # Deprecated since 2026-07-28, and what declares the capability there as well.
        self._server.add_request_handler(
            "logging/setLevel", SetLevelRequestParams, self._set_log_level
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
        challenge = None
        if in_result(self._challenge_form, request, era, headers):
            challenge = self._challenge
        else:
            self._check_scopes(principal, request)
        return await self._serve(era, request, principal, headers, notify, challenge=challenge)

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
        *,
        challenge: Challenge | None,
    ) -> Reply:
        meta = (request.params or {}).get("_meta")
        dispatch = Dispatch(
            request_id=request.id,
            transport=TransportContext(
                kind="streamable-http", can_send_request=False, headers=headers.folded
            ),
            progress_token=progress_token_from_params(request.params),
            send=notify,
            principal=principal,
            log_level=wanted_log_level(era, meta),
            trace=trace_of(meta, headers),
            challenge=challenge,
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
            if request.method == "tools/list":
                result = repeated(result)
            return Reply(200, encode({"jsonrpc": "2.0", "id": request.id, "result": result}))
        except Exception as exception:
            error = handler_exception_to_error_data(exception)
            if error is None:
                logger.exception("serving %s failed", request.method)
                error = ErrorData(code=INTERNAL_ERROR, message="Internal server error")
            return Reply(era.status(error.code), error_body(request.id, error))
        finally:
            # What a tool left running may not report any more.
            dispatch.close()

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
            schema = self._registry.tools.get(name).offer.input_schema
        except UnknownTool:
            return None
        return schema if x_mcp_header_map(schema) else None

    def _check_scopes(self, principal: Principal, request: JSONRPCRequest) -> None:
        """Refuse with HTTP 403 before a stream can have begun."""
        registry, scopes = self._registry, principal.scopes
        with contextlib.suppress(Unknown):
            match request.method, request.params:
                case "tools/call", {"name": str() as name}:
                    registry.tools.require(name, scopes)
                case "resources/read", {"uri": str() as uri}:
                    registry.resources.readable(uri, scopes)
                case "prompts/get", {"name": str() as name}:
                    registry.prompts.require(name, scopes)
                case "completion/complete", {"ref": {"type": "ref/resource", "uri": str() as uri}}:
                    registry.resources.require(uri, scopes)
                case "completion/complete", {"ref": {"type": "ref/prompt", "name": str() as name}}:
                    registry.prompts.require(name, scopes)

    async def _list_tools(
        self, context: ServerRequestContext[Any, Call], params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        shown, cursor = page(list(self._registry.tools), context, params, listed)
        return ListToolsResult(tools=shown, next_cursor=cursor)

    async def _call_tool(
        self, context: ServerRequestContext[Any, Call], params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult:
        arguments = params.arguments or {}
        try:
            return await self._rounds.serve(
                context,
                params,
                lambda interview: self._registry.tools.call(
                    params.name, arguments, tool_context(context, interview)
                ),
                target=params.name,
                arguments=arguments,
            )
        except UnknownTool as error:
            raise MCPError(code=INVALID_PARAMS, message=str(error)) from None
        except InsufficientScope as error:
            if challenge := caller(context).challenge:
                logger.info("refused a call of %s in its result: %s", params.name, error)
                return refusal(error, challenge)
            raise MCPError(code=INVALID_PARAMS, message=error.description) from error

    async def _set_log_level(
        self, context: ServerRequestContext[Any, Call], params: SetLevelRequestParams
    ) -> EmptyResult:
        """Accept and forget: there is no session that could remember it."""
        return EmptyResult()


def wanted_log_level(era: Era, meta: Any) -> LoggingLevel | None:
    """Return the least severe log messages to send for a request, ``None`` for none at all."""
    if not era.modern:
        return HANDSHAKE_LOG_LEVEL
    level = meta.get(LOG_LEVEL_META_KEY) if isinstance(meta, dict) else None
    return level if level in LEVELS else None

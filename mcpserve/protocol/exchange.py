"""Serving a request with the SDK's kernel; our handlers of the methods that we offer."""

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
    METHOD_NOT_FOUND,
    CallToolRequestParams,
    CallToolResult,
    ErrorData,
    JSONRPCRequest,
    ListToolsResult,
    PaginatedRequestParams,
)
from mcp_types.version import (
    MODERN_PROTOCOL_VERSIONS,
)
from pydantic import ValidationError

from mcpserve.errors import InsufficientScope
from mcpserve.principal import Principal
from mcpserve.protocol.dispatch import Call, Dispatch, Notify, caller
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
from mcpserve.registry import ToolRegistry, UnknownTool
from mcpserve.tools import ToolContext
from mcpserve.version import __version__

logger = logging.getLogger(__name__)

DISCOVER_TTL_MS = 3_600_000
LIST_TTL_MS = 300_000


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

"""Serving a request with the SDK's kernel; our handlers of the methods that we offer."""

import functools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.runner import ServerRunner
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
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
from opentelemetry.trace import Tracer
from pydantic import ValidationError

from mcpserve import apps
from mcpserve.bound import Bound
from mcpserve.errors import DatabaseError, InsufficientScope, InvalidToken, KeyNotHere
from mcpserve.principal import Principal
from mcpserve.protocol.access import admitted
from mcpserve.protocol.challenges import in_result, refusal
from mcpserve.protocol.dispatch import (
    Call,
    Challenge,
    Dispatch,
    Notify,
    Refusal,
    caller,
    tool_context,
)
from mcpserve.protocol.eras import Era, choose_era
from mcpserve.protocol.locale import locale_of
from mcpserve.protocol.messages import (
    TOLD_VERSIONS,
    Headers,
    Rejected,
    Reply,
    acknowledge,
    encode,
    error_body,
    parse,
    readable_id,
    refuse_long_token,
    refuse_malformed,
)
from mcpserve.protocol.offers import OfferHandlers
from mcpserve.protocol.pages import page
from mcpserve.protocol.param_headers import check_param_headers
from mcpserve.protocol.rounds import Rounds, Seal
from mcpserve.protocol.schemes import listed, repeated
from mcpserve.protocol.spans import Spans, observe
from mcpserve.protocol.trace import trace_of
from mcpserve.registry import Registry, ToolWithheld, UnknownTool, failure
from mcpserve.setting_types import ChallengeForm
from mcpserve.tools import CALL_SCOPE, LEVELS, FindUser, no_user
from mcpserve.version import __version__

logger = logging.getLogger(__name__)

DISCOVER_TTL_MS = 3_600_000
LIST_TTL_MS = 300_000

HANDSHAKE_LOG_LEVEL: LoggingLevel = "info"
"""What a client of the handshake era is sent; what it may have chosen once is not remembered."""

Count = Callable[[], Awaitable[None]]
"""Counts what is used without a login; raises :class:`~mcpserve.errors.RateLimited`."""


async def no_count() -> None:
    """There is no limit."""


class Kernel(Server[Any]):
    """The SDK's server, which names itself in every result of the modern era."""

    @functools.cached_property
    def server_info_stamp(self) -> dict[str, Any]:
        """What it calls itself. One for all answers, not a copy for each: nobody changes it."""
        return super().server_info_stamp


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
        connections: str,
        challenge_form: ChallengeForm = "auto",
        default_scopes: frozenset[str] = frozenset({CALL_SCOPE}),
        tracer: Tracer | None = None,
        find_user: FindUser = no_user,
    ) -> None:
        if tracer:
            registry = replace(registry, tools=registry.tools.observed_by(observe))
        self._registry = registry
        self._challenge = challenge
        self._connections = connections
        self._challenge_form = challenge_form
        self._default_scopes = default_scopes
        self._find_user = find_user
        self._rounds = Rounds(seal)
        self._server = Kernel(
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
        if any(bound.offer.mime_type == apps.MIME_TYPE for bound in registry.resources):
            self._server.extensions = {apps.EXTENSION: {}}
        # Telemetry costs a third of a call, and the SDK's tells what callers send.
        self._server.middleware[:] = [Spans(tracer, registry)] if tracer else []

    async def __call__(
        self,
        principal: Principal,
        headers: Headers,
        body: bytes,
        notify: Notify,
        *,
        count: Count = no_count,
    ) -> Reply:
        """Answer one POST.

        Raises :class:`~mcpserve.errors.InsufficientScope` and
        :class:`~mcpserve.errors.InvalidToken`, what ``count`` raises, and nothing else.
        """
        try:
            message = parse(body)
            if "id" not in message:
                return acknowledge(message, headers)
        except Rejected as rejected:
            return Reply(400, error_body(None, rejected.error))
        try:
            request = JSONRPCRequest.model_validate(message)
        except ValidationError:
            return refuse_malformed(message, headers)
        if readable_id(message) is None:
            return refuse_malformed(message, headers)
        try:
            refuse_long_token(request.params)
            era = choose_era(headers, message)
            used, refused = self._admit(principal, request, era, headers)
            if used is not None and not used.is_withheld(principal):
                check_param_headers(era, request, headers, used)
        except Rejected as rejected:
            return Reply(400, error_body(request.id, rejected.error))
        if used is not None and principal.anonymous:
            await count()
        return await self._serve(era, request, principal, headers, notify, refused=refused)

    def _admit(
        self, principal: Principal, request: JSONRPCRequest, era: Era, headers: Headers
    ) -> tuple[Bound[Any] | None, Refusal | None]:
        """Return what is used, or what the client is told in the result of the tool.

        Refuses everybody else by raising, for HTTP, before a stream can have begun.
        """
        try:
            return admitted(self._registry, principal, request), None
        except (InsufficientScope, InvalidToken) as refused:
            if not in_result(self._challenge_form, request, era, headers):
                raise
            return None, refused

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
        refused: Refusal | None,
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
            find_user=self._find_user,
            locale=locale_of(meta, headers),
            visible=self._default_scopes if principal.anonymous else principal.scopes,
            refused=refused,
        )
        try:
            self._check_method(request.method)
            # Not serve_one, which takes time to close what nobody leaves on the connection.
            runner = ServerRunner(self._server, era.connection(), None)
            result = await runner.on_request(dispatch, request.method, request.params)
            if request.method == "tools/list":
                result = repeated(result)
            if request.method == "server/discover":
                result["supportedVersions"] = TOLD_VERSIONS
            return Reply(200, encode({"jsonrpc": "2.0", "id": request.id, "result": result}))
        except (DatabaseError, KeyNotHere) as unavailable:
            soon = ErrorData(code=INTERNAL_ERROR, message="Try again soon")
            return Reply(200, error_body(request.id, soon), unavailable)
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

    async def _list_tools(
        self, context: ServerRequestContext[Any, Call], params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        shown, cursor = page(list(self._registry.tools), context, params, listed)
        return ListToolsResult(tools=shown, next_cursor=cursor)

    async def _call_tool(
        self, context: ServerRequestContext[Any, Call], params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult:
        if refused := caller(context).refused:
            logger.info("refused a call of %s in its result: %s", params.name, refused)
            return refusal(refused, self._challenge)
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
        except ToolWithheld as error:
            # No challenge: what a new token would be good for is the person's to say, not ours.
            logger.info("refused a call: %s", error)
            return failure(f"{error} They can allow it at {self._connections}")

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

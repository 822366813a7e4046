"""One span for each request, named as OpenTelemetry's conventions for MCP want it.

Takes the place of the SDK's middleware, which writes into spans what callers send: any name, any
id, and messages of errors. Here a span knows names of what is offered, and outcomes.
"""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from pydantic import ValidationError

from mcpserve.bound import Bound
from mcpserve.errors import InsufficientScope
from mcpserve.protocol.dispatch import Call, caller
from mcpserve.protocol.trace import current_trace, remote_parent
from mcpserve.registry import Registry, ToolCall, Unknown

Context = ServerRequestContext[Any, Call]

NAMES = {
    "tool": "gen_ai.tool.name",
    "prompt": "gen_ai.prompt.name",
    "resource": "mcpserve.resource.name",
}
"""The attribute that names what is used, by its kind."""


class Spans:
    """Middleware of the SDK's server."""

    def __init__(self, tracer: Tracer, registry: Registry) -> None:
        self._tracer = tracer
        self._registry = registry

    async def __call__(self, ctx: Context, call_next: Callable[[Context], Awaitable[Any]]) -> Any:
        """Serve a request inside a span that continues the caller's trace."""
        call = caller(ctx)
        name, attributes = described(ctx, offered(self._registry, ctx))
        with self._tracer.start_as_current_span(
            name,
            context=remote_parent(call.trace),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            inside = replace(call, trace=current_trace(call.trace))
            try:
                result = await call_next(replace(ctx, request=inside))
            except Exception as error:
                fail(span, error)
                raise
            if ctx.method == "tools/call" and result.get("isError"):
                fail(span, None)
            return result


def offered(registry: Registry, context: Context) -> Bound[Any] | None:
    """Return what the request asks for, if that is offered to this caller."""
    scopes = caller(context).principal.scopes
    with contextlib.suppress(Unknown, InsufficientScope):
        match context.method, context.params:
            case "tools/call", {"name": str() as name}:
                return registry.tools.get(name)
            case "prompts/get", {"name": str() as name}:
                return registry.prompts.get(name)
            case "resources/read", {"uri": str() as uri}:
                return registry.resources.readable(uri, scopes)[0]
    return None


def described(context: Context, bound: Bound[Any] | None) -> tuple[str, dict[str, str]]:
    """Return name and attributes of the span."""
    attributes = {
        "mcp.method.name": context.method,
        "mcp.protocol.version": context.protocol_version,
    }
    if context.method == "tools/call":
        attributes["gen_ai.operation.name"] = "execute_tool"
    if bound is None:
        return context.method, attributes
    attributes |= {NAMES[bound.offer.kind]: bound.offer.name, "mcpserve.plugin": bound.plugin}
    return f"{context.method} {bound.offer.name}", attributes


def fail(span: Span, error: Exception | None) -> None:
    """Mark a request as failed, by a result of a tool if there is no error."""
    match error:
        case None:
            kind = "tool_error"
        case MCPError():
            kind = str(error.error.code)
        case ValidationError():
            kind = str(INVALID_PARAMS)
        case _:
            kind = type(error).__qualname__
    span.set_attribute("error.type", kind)
    if isinstance(error, MCPError | ValidationError):
        span.set_attribute("rpc.response.status_code", kind)
    span.set_status(StatusCode.ERROR)


def observe(call: ToolCall) -> None:
    """Write the outcome of a tool into the span of its request."""
    trace.get_current_span().set_attribute("mcpserve.outcome", call.outcome.value)

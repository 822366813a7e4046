"""The enabled tools, and how one call is carried out.

A failure that the model should read is a result with ``is_error``; only an unknown tool and a
missing scope are errors of the protocol.
"""

import asyncio
import functools
import inspect
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mcp_types import CallToolResult, TextContent
from pydantic import ValidationError

from mcpserve.errors import InsufficientScope, MCPServeError
from mcpserve.principal import Principal
from mcpserve.threads import in_thread, is_cancelled
from mcpserve.tools import Tool, ToolContext, ToolError

logger = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 30.0
"""Seconds for one call when neither operator nor author said otherwise."""


class UnknownTool(MCPServeError):
    """No tool of this name is enabled (JSON-RPC -32602)."""


class Outcome(StrEnum):
    """How a call ended."""

    OK = "ok"
    ERROR = "error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class ToolCall:
    """A finished call, as observers see it. Holds neither arguments nor result."""

    plugin: str
    tool: str
    principal: Principal
    outcome: Outcome
    seconds: float


Observer = Callable[[ToolCall], None]


@dataclass(frozen=True)
class BoundTool:
    """A tool with what the operator decided about it."""

    tool: Tool
    plugin: str
    scopes: frozenset[str]
    """All scopes that a call needs."""
    timeout: float
    """Seconds for one call, waiting for a slot included."""
    slots: asyncio.Semaphore = field(repr=False)
    """Shared by the tools of a plugin. A thread that outlives its call keeps its slot."""

    def keywords(self, arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
        """Return the function's keyword arguments. Raises :class:`ToolError` for wrong ones."""
        try:
            keywords = self.tool.metadata.validate_arguments(dict(arguments))
        except ValidationError as error:
            raise ToolError(explain_arguments(self.tool, error)) from None
        if self.tool.context_parameter:
            keywords[self.tool.context_parameter] = context
        return keywords

    async def invoke(self, keywords: Mapping[str, Any]) -> Any:
        """Run the function in one of the plugin's slots; raises whatever it raises."""
        function = functools.partial(self.tool.function, **keywords)
        await self.slots.acquire()
        if not self.tool.is_async:
            return await in_thread(function, ended=self.slots.release)
        try:
            return await function()
        finally:
            self.slots.release()

    def result(self, value: Any) -> CallToolResult:
        """Check what the function returned against the output schema and make content of it."""
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            raise TypeError("a plain function returned an awaitable; a tool must say async itself")
        result = self.tool.metadata.convert_result(value)
        if not isinstance(result, CallToolResult):
            raise TypeError(f"a tool cannot return {type(result).__name__}")
        return result


class ToolRegistry:
    """The enabled tools by name, in an order that does not change."""

    def __init__(self, tools: Sequence[BoundTool], observers: Sequence[Observer] = ()) -> None:
        self._tools = {bound.tool.name: bound for bound in tools}
        self._observers = tuple(observers)

    def __iter__(self) -> Iterator[BoundTool]:
        return iter(self._tools.values())

    def observed_by(self, observer: Observer) -> "ToolRegistry":
        """Return the same tools with one more observer of their calls."""
        return ToolRegistry(list(self._tools.values()), (*self._observers, observer))

    @property
    def scopes(self) -> frozenset[str]:
        """Every scope that some tool needs."""
        return frozenset().union(*(bound.scopes for bound in self))

    def visible(self, scopes: frozenset[str]) -> list[BoundTool]:
        """Return the tools that a token with these scopes may call."""
        return [bound for bound in self if bound.scopes <= scopes]

    def get(self, name: str) -> BoundTool:
        """Return the tool of this name. Raises :class:`UnknownTool`."""
        try:
            return self._tools[name]
        except KeyError:
            raise UnknownTool(name) from None

    def require(self, name: str, scopes: frozenset[str]) -> BoundTool:
        """Return the tool, if these scopes allow to call it.

        Raises :class:`UnknownTool`, and :class:`~mcpserve.errors.InsufficientScope` with all
        scopes that the call needs.
        """
        bound = self.get(name)
        if not bound.scopes <= scopes:
            raise InsufficientScope(
                "the token lacks a scope that this tool needs", scopes=bound.scopes
            )
        return bound

    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> CallToolResult:
        """Call a tool; whatever goes wrong inside it becomes a result with ``is_error``.

        Raises :class:`UnknownTool` and :class:`~mcpserve.errors.InsufficientScope`.
        """
        bound = self.require(name, context.principal.scopes)
        outcome = Outcome.CANCELLED
        started = time.perf_counter()
        try:
            result, outcome = await self._settle(bound, arguments, context)
            return result
        finally:
            seconds = time.perf_counter() - started
            self._observe(ToolCall(bound.plugin, name, context.principal, outcome, seconds))

    async def _settle(
        self, bound: BoundTool, arguments: Mapping[str, Any], context: ToolContext
    ) -> tuple[CallToolResult, Outcome]:
        name = bound.tool.name
        limit = asyncio.timeout(bound.timeout)
        try:
            keywords = bound.keywords(arguments, context)
            async with limit:
                value = await bound.invoke(keywords)
            result = bound.result(value)
        except ToolError as error:
            return failure(str(error)), Outcome.ERROR
        except BaseException:
            # Whatever a tool raises, sys.exit() and cancellations of its own included, is its
            # failure; only the cancellation of the call itself ends the request.
            if is_cancelled():
                raise
            if limit.expired():
                return failure(f"{name} did not answer within {bound.timeout:g} s"), Outcome.TIMEOUT
            logger.exception("tool %s of plugin %s failed", name, bound.plugin)
            return failure(f"Error executing tool {name}"), Outcome.CRASH
        return result, Outcome.ERROR if result.is_error else Outcome.OK

    def _observe(self, call: ToolCall) -> None:
        for observer in self._observers:
            try:
                observer(call)
            except BaseException:
                logger.exception("an observer of tool calls failed")


def failure(text: str) -> CallToolResult:
    """Return a tool result that tells the model what went wrong."""
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


def explain_arguments(tool: Tool, error: ValidationError) -> str:
    """Name each wrong argument in one line, for a model to correct itself."""
    known = ", ".join(tool.input_schema["properties"]) or "none"
    problems = [
        f"{'.'.join(str(part) for part in problem['loc'])}: "
        + ("no such argument" if problem["type"] == "extra_forbidden" else problem["msg"])
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return f"{tool.name}: {'; '.join(problems)} (arguments: {known})"

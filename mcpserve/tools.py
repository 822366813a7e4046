"""Tools: what a plugin hands over, and how one call of it is carried out.

A failure that the model should read is a result with ``is_error``; only an unknown tool and a
missing scope are errors of the protocol.
"""

import asyncio
import contextlib
import contextvars
import functools
import inspect
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, overload

import mcp_types
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata, func_metadata
from mcp.shared.inbound import find_invalid_x_mcp_header
from mcp_types import CallToolResult, Icon, TextContent, ToolAnnotations
from pydantic import ConfigDict, ValidationError

from mcpserve.errors import InsufficientScope, MCPServeError
from mcpserve.principal import Principal
from mcpserve.settings import parse_scope

__all__ = [
    "BoundTool",
    "Outcome",
    "Tool",
    "ToolAnnotations",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "ToolRegistry",
    "UnknownTool",
    "tool",
]

logger = logging.getLogger(__name__)

CALL_SCOPE = "mcp.tools.call"
"""The scope that every tool needs; a tool may ask for more, never for less."""

DEFAULT_TIMEOUT = 30.0
"""Seconds for one call when neither operator nor author said otherwise."""

Function = Callable[..., Any]


class UnknownTool(MCPServeError):
    """No tool of this name is enabled (JSON-RPC -32602)."""


class Progress(Protocol):
    """Sends one progress notification on the stream of the request (MCP, progress)."""

    def __call__(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> Awaitable[None]: ...


async def no_progress(
    progress: float, total: float | None = None, message: str | None = None
) -> None:
    """Nobody asked for progress."""


@dataclass(frozen=True)
class ToolContext:
    """What a tool may know of its call. Ask for it with a parameter annotated ``ToolContext``."""

    principal: Principal
    """Who calls. The bearer token itself never reaches a plugin."""

    send_progress: Progress = field(default=no_progress, repr=False)

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Report progress to the client, if it asked for it. ``progress`` must increase.

        Raises :class:`ValueError` for what is no number, which JSON cannot carry.
        """
        if not math.isfinite(progress) or not math.isfinite(total or 0):
            raise ValueError("progress and total must be finite numbers")
        await self.send_progress(progress, total, message)


@dataclass(frozen=True)
class Tool:
    """A tool as its author wrote it: a function and what a client is told of it."""

    name: str
    function: Function = field(repr=False)
    metadata: FuncMetadata = field(repr=False)
    title: str | None = None
    description: str | None = None
    annotations: ToolAnnotations | None = None
    icons: Sequence[Icon] | None = None
    meta: Mapping[str, Any] | None = None
    scopes: frozenset[str] = frozenset()
    timeout: float | None = None
    context_parameter: str | None = None
    is_async: bool = False

    @functools.cached_property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments: an object that allows no unknown member."""
        return self.metadata.arg_model.model_json_schema(by_alias=True)

    @functools.cached_property
    def definition(self) -> mcp_types.Tool:
        """The tool as ``tools/list`` shows it."""
        return mcp_types.Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=self.input_schema,
            output_schema=self.metadata.output_schema,
            annotations=self.annotations,
            icons=list(self.icons) if self.icons else None,
            _meta=dict(self.meta) if self.meta else None,
        )


@overload
def tool(function: Function, /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    scopes: Sequence[str] = (),
    timeout: float | None = None,
    annotations: ToolAnnotations | None = None,
    icons: Sequence[Icon] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Callable[[Function], Tool]: ...
def tool(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    scopes: Sequence[str] = (),
    timeout: float | None = None,
    annotations: ToolAnnotations | None = None,
    icons: Sequence[Icon] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Tool | Callable[[Function], Tool]:
    """Make a :class:`Tool` of a function, plain or ``async``.

    Name, description and schemas come from the function itself: its name, its docstring and its
    annotations. ``timeout`` is in seconds. A plain function runs in a thread.

    Raises :class:`TypeError` or :class:`ValueError` if no schema can be derived.
    """
    make = functools.partial(
        tool_from_function,
        name=name,
        title=title,
        description=description,
        scopes=scopes,
        timeout=timeout,
        annotations=annotations,
        icons=icons,
        meta=meta,
    )
    return make if function is None else make(function)


def tool_from_function(
    function: Function,
    *,
    name: str | None = None,
    description: str | None = None,
    scopes: Sequence[str] = (),
    **told: Any,
) -> Tool:
    """See :func:`tool`."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    name = name or function.__name__
    for parameter in parameters:
        if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            raise TypeError(f"tool {name!r}: {parameter} cannot be given by name")
    if isinstance(scopes, str):
        raise TypeError(f"tool {name!r}: scopes must be a list")
    context_parameter = next((p.name for p in parameters if p.annotation is ToolContext), None)
    metadata = func_metadata(function, skip_names=[context_parameter] if context_parameter else [])
    arguments = type(
        metadata.arg_model.__name__,
        (metadata.arg_model,),
        {"model_config": ConfigDict(extra="forbid"), "__doc__": None},
    )
    made = Tool(
        name=name,
        function=function,
        metadata=metadata.model_copy(update={"arg_model": arguments}),
        description=description or inspect.getdoc(function),
        scopes=frozenset(parse_scope(scope) for scope in scopes),
        context_parameter=context_parameter,
        is_async=inspect.iscoroutinefunction(function),
        **told,
    )
    if problem := find_invalid_x_mcp_header(made.input_schema):
        raise ValueError(f"tool {name!r}: {problem}")
    # Up to 2025-11-25 a single tool with any other output makes the whole list invalid.
    if metadata.output_schema and metadata.output_schema.get("type") != "object":
        raise TypeError(f"tool {name!r} must return an object, such as a model with fields")
    return made


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


async def in_thread(function: Callable[[], Any], *, ended: Callable[[], None]) -> Any:
    """Run a function in a thread of its own; raises whatever it raises.

    Cancelling abandons the thread, and an exit of the process does not wait for it. ``ended`` is
    called in the event loop once the thread is done, abandoned or not.
    """
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    outcome: Future[Any] = Future()
    done = asyncio.Event()

    def run() -> None:
        try:
            outcome.set_result(context.run(function))
        except BaseException as error:
            outcome.set_exception(error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish)

    def finish() -> None:
        ended()
        done.set()

    try:
        threading.Thread(target=run, daemon=True).start()
    except RuntimeError:  # there are too many threads
        ended()
        raise
    await done.wait()
    return outcome.result()


def is_cancelled() -> bool:
    """Whether somebody cancelled the running task."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


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

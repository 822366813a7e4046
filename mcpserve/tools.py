"""Tools as their authors write them: a function, and what a client is told of it."""

import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, overload

import mcp_types
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata, func_metadata
from mcp.shared.inbound import find_invalid_x_mcp_header
from mcp_types import Icon, ToolAnnotations
from pydantic import ConfigDict

from mcpserve.principal import Principal
from mcpserve.settings import parse_scope

__all__ = [
    "Tool",
    "ToolAnnotations",
    "ToolContext",
    "ToolError",
    "tool",
]

CALL_SCOPE = "mcp.tools.call"
"""The scope that every tool needs; a tool may ask for more, never for less."""

Function = Callable[..., Any]


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

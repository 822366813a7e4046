"""What plugins offer, tools above all: a function, and what a client is told of it."""

import contextlib
import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, Self, get_args, overload

import mcp_types
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata, func_metadata
from mcp.shared.inbound import find_invalid_x_mcp_header, x_mcp_header_map
from mcp_types import Icon, InputRequest, InputResponse, LoggingLevel, ToolAnnotations
from pydantic import ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import from_json

from mcpserve.floods import MOST_SIZE
from mcpserve.principal import Principal, User
from mcpserve.questions import ANY_FORM, Answer, Interview, Model, Question, form
from mcpserve.results import mass
from mcpserve.setting_types import parse_scope
from mcpserve.surrogates import encoded

__all__ = [
    "Answer",
    "Tool",
    "ToolAnnotations",
    "ToolContext",
    "ToolError",
    "tool",
]

CALL_SCOPE = "mcp.tools.call"
"""The scope that everything needs that plugins offer; it may need more, never less.

One for tools, resources and prompts: they belong together, such as the tool and the page that shows
its result. Who wants to tell them apart gives them scopes of their own.
"""

LEVELS: tuple[LoggingLevel, ...] = get_args(LoggingLevel)
"""From the least to the most severe (RFC 5424)."""

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


class Log(Protocol):
    """Sends one log message on the stream of the request (MCP, logging)."""

    def __call__(self, level: LoggingLevel, data: Any) -> Awaitable[None]: ...


async def no_log(level: LoggingLevel, data: Any) -> None:
    """Nobody asked for log messages."""


FindUser = Callable[[Principal], Awaitable[User | None]]
"""Looks up the person behind a caller, as far as they let the client know them."""


async def no_user(principal: Principal) -> None:
    """Nobody is known here."""


@dataclass(frozen=True)
class ToolContext:
    """What a tool may know of its call. Ask for it with a parameter annotated ``ToolContext``."""

    principal: Principal
    """Who calls. The bearer token itself never reaches a plugin."""

    send_progress: Progress = field(default=no_progress, repr=False)
    send_log: Log = field(default=no_log, repr=False)
    interview: Interview = field(default_factory=lambda: Interview(None), repr=False)
    trace: Mapping[str, str] = field(default_factory=dict, repr=False)
    """``traceparent``, ``tracestate`` and ``baggage`` of the request, as far as they came and are
    valid: headers for calls of the tool's own to other services. If requests are traced, the parent
    is the span of this call."""

    find_user: FindUser = field(default=no_user, repr=False)
    locale: str | None = None
    """The person's language and maybe region, as their client tells: a well-formed tag of BCP 47 in
    its usual case, such as ``en-US``. A hint, which anybody can send: nothing to decide rights by.
    """

    async def user(self) -> User | None:
        """Return the person who is behind this call, as far as they let the client know them.

        ``None`` without a login, and for somebody who was locked out a moment ago. It is looked up
        anew each time.
        """
        return None if self.principal.anonymous else await self.find_user(self.principal)

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Report progress to the client, if it asked for it and ``progress`` is more than before.

        Raises :class:`ValueError` for what is no number, which JSON cannot carry.
        """
        if not math.isfinite(progress) or not math.isfinite(total or 0):
            raise ValueError("progress and total must be finite numbers")
        await self.send_progress(progress, total, message)

    async def log(self, level: LoggingLevel, message: str, /, **data: Any) -> None:
        """Send the client a log message, if it wants messages of this level about this call.

        Raises :class:`ValueError` for an unknown level and for data that JSON cannot carry.
        """
        if level not in LEVELS:
            raise ValueError(f"the level must be one of {', '.join(LEVELS)}")
        told = {"message": message, **data}
        if mass(told, MOST_SIZE) <= MOST_SIZE:  # What is larger is dropped, and need not be copied.
            told = from_json(encoded(told, inf_nan_mode="null"))
        await self.send_log(level, told if data else message)

    async def elicit(
        self, message: str, model: type[Model], *, key: str | None = None
    ) -> Answer[Model]:
        """Ask the person to fill in a form whose fields are those of ``model``.

        Until there is an answer this does not return: the run ends here, and when the client has
        the answer the tool runs **again from its start**. So whatever comes before must be
        repeatable, and questions must come in the same order; or give each a ``key``. A message
        or model that changed in between is another question, and is asked anew.

        Raises :class:`TypeError` for a model that is no form, and :class:`ToolError` if the client
        cannot be asked, see :meth:`can_ask`.
        """
        key = key or self.interview.next_key()
        answer: Answer[Model] = self.interview.ask({key: form(message, model)})[key]
        return answer

    async def ask(self, requests: Mapping[str, InputRequest]) -> Mapping[str, InputResponse]:
        """Ask for all of this at once; the protocol's requests by keys of your own.

        See :meth:`elicit`, which is made for what is asked most.
        """
        return self.interview.ask({key: Question.of(asked) for key, asked in requests.items()})

    def can_ask(self, request: InputRequest | None = None) -> bool:
        """Whether the client can be sent this request; without one, a form for the person."""
        return self.interview.takes(request or ANY_FORM)


class WrongArguments(ToolError):
    """The arguments do not fit; the message names each that is wrong."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a plugin offers: a function and what a client is told of it."""

    kind: ClassVar[str]

    name: str
    function: Function = field(repr=False)
    metadata: FuncMetadata = field(repr=False)
    title: str | None = None
    description: str | None = None
    icons: Sequence[Icon] | None = None
    meta: Mapping[str, Any] | None = None
    scopes: frozenset[str] = frozenset()
    timeout: float | None = None
    context_parameter: str | None = None
    is_async: bool = False
    is_method: bool = False
    """Whether the function still lacks its ``self``, which is no argument."""

    def __get__(self, instance: object | None, owner: type | None = None) -> Self:
        """Return what an object offers whose class has a method made into this."""
        if instance is None or not self.is_method:
            return self
        return replace(self, function=functools.partial(self.function, instance), is_method=False)

    @property
    def key(self) -> str:
        """What clients call it by; no other of its kind has it."""
        return self.name

    @functools.cached_property
    def arguments(self) -> Mapping[str, FieldInfo]:
        """The arguments that a client may give, by name."""
        fields = self.metadata.arg_model.model_fields
        return {given.alias or name: given for name, given in fields.items()}

    @property
    def told(self) -> dict[str, Any]:
        """What a client is told whatever the kind."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "icons": list(self.icons) if self.icons else None,
            "_meta": dict(self.meta) if self.meta else None,
        }

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the function's keyword arguments. Raises pydantic's :class:`ValidationError`."""
        return self.metadata.validate_arguments(dict(arguments))

    def keywords(self, arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
        """Return all keyword arguments of the function. Raises :class:`WrongArguments`."""
        try:
            keywords = self.validate(arguments)
        except ValidationError as error:
            raise WrongArguments(explain_arguments(self, error)) from None
        return keywords | ({self.context_parameter: context} if self.context_parameter else {})


def explain_arguments(offer: Offer, error: ValidationError) -> str:
    """Name each wrong argument in one line, for a model to correct itself."""
    known = ", ".join(offer.arguments) or "none"
    problems = [
        f"{'.'.join(str(part) for part in problem['loc'])}: "
        + ("no such argument" if problem["type"] == "extra_forbidden" else problem["msg"])
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return f"{offer.name}: {'; '.join(problems)} (arguments: {known})"


def describe(
    kind: str,
    function: Function,
    *,
    name: str | None = None,
    description: str | None = None,
    scopes: Sequence[str] = (),
    timeout: float | None = None,
    structured_output: bool | None = None,
    **told: Any,
) -> dict[str, Any]:
    """Return the fields of an :class:`Offer` that is made of a function.

    Raises :class:`TypeError` or :class:`ValueError` for a function that no client could call.
    """
    if not callable(function):
        raise TypeError(f"{kind}: {function!r} is no function")
    name = name or getattr(function, "__name__", None)
    if name is None:
        raise TypeError(f"{kind}: {function!r} has no name, give it one: name=…")
    with naming(f"{kind} {name!r}"):
        parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    is_method = begins_with_self(parameters)
    for parameter in parameters:
        if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            raise TypeError(f"{kind} {name!r}: {parameter} cannot be given by name")
    if isinstance(scopes, str) or not isinstance(scopes, Iterable):
        raise TypeError(f"{kind} {name!r}: scopes must be a list")
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise TypeError(f"{kind} {name!r}: timeout must be a number of seconds, not {timeout!r}")
    context_parameter = next((p.name for p in parameters if p.annotation is ToolContext), None)
    with naming(f"{kind} {name!r}"):
        metadata = func_metadata(
            function,
            skip_names=[*([context_parameter] if context_parameter else []), *["self"] * is_method],
            structured_output=structured_output,
        )
    arguments = type(
        metadata.arg_model.__name__,
        (metadata.arg_model,),
        {"model_config": ConfigDict(extra="forbid"), "__doc__": None},
    )
    return {
        "name": name,
        "function": function,
        "metadata": metadata.model_copy(update={"arg_model": arguments}),
        "description": description or inspect.getdoc(function),
        "scopes": frozenset(checked_scope(scope, f"{kind} {name!r}") for scope in scopes),
        "timeout": timeout,
        "context_parameter": context_parameter,
        "is_async": inspect.iscoroutinefunction(function),
        "is_method": is_method,
        **told,
    }


@contextlib.contextmanager
def naming(place: str) -> Iterator[None]:
    """Say of what goes wrong in the block where it is."""
    try:
        yield
    except NameError as error:
        advice = "import what annotations name at the top of the module"
        raise TypeError(f"{place}: {error}; {advice}") from error
    except Exception as error:
        # Without the address of a page of pydantic's, which stands below.
        raise TypeError(f"{place}: {str(error).partition(chr(10) * 2)[0]}") from error


def checked_scope(scope: object, place: str) -> str:
    """Return a scope. Raises :class:`ValueError` for what is none (RFC 6749 §3.3)."""
    try:
        return parse_scope(scope if isinstance(scope, str) else "")
    except ValueError as error:
        raise ValueError(f"{place}: the scope {scope!r} {error}") from None


def begins_with_self(parameters: Sequence[inspect.Parameter]) -> bool:
    """Whether these are the parameters of a method that belongs to no object yet."""
    first = next(iter(parameters), None)
    return first is not None and first.name == "self" and first.annotation is first.empty


@dataclass(frozen=True, kw_only=True)
class Tool(Offer):
    """A tool as its author wrote it."""

    kind = "tool"

    annotations: ToolAnnotations | None = None

    @functools.cached_property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments: an object that allows no unknown member."""
        return self.metadata.arg_model.model_json_schema(by_alias=True)

    @functools.cached_property
    def has_param_headers(self) -> bool:
        """Whether arguments are repeated in headers of the request (MCP 2026-07-28)."""
        return bool(x_mcp_header_map(self.input_schema))

    @functools.cached_property
    def definition(self) -> mcp_types.Tool:
        """The tool as ``tools/list`` shows it."""
        return mcp_types.Tool(
            **self.told,
            input_schema=self.input_schema,
            output_schema=self.metadata.output_schema,
            annotations=self.hints,
        )

    @property
    def hints(self) -> ToolAnnotations:
        """The annotations, with the protocol's own defaults said aloud: some clients need them.

        What its author does not speak of is assumed to change, destroy and reach out; only what
        says that it just reads destroys nothing.
        """
        given = self.annotations or ToolAnnotations()
        told = given.model_dump(exclude_none=True)
        read_only = bool(given.read_only_hint)
        defaults = {
            "read_only_hint": read_only,
            "destructive_hint": not read_only,
            "open_world_hint": True,
        }
        return ToolAnnotations.model_validate(defaults | told)

    def result(self, value: Any) -> mcp_types.CallToolResult:
        """Check what the function returned against the output schema and make content of it."""
        result = self.metadata.convert_result(value)
        if not isinstance(result, mcp_types.CallToolResult):
            raise TypeError(f"a tool cannot return {type(result).__name__}")
        return result


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


def tool_from_function(function: Function, **told: Any) -> Tool:
    """See :func:`tool`."""
    made = Tool(**describe(Tool.kind, function, **told))
    if not isinstance(made.annotations, ToolAnnotations | None):
        raise TypeError(f"tool {made.name!r}: annotations must be ToolAnnotations(…)")
    with naming(f"tool {made.name!r}"):
        schema = made.input_schema
    if problem := find_invalid_x_mcp_header(schema):
        raise ValueError(f"tool {made.name!r}: {problem}")
    # Up to 2025-11-25 a single tool with any other output makes the whole list invalid.
    output = made.metadata.output_schema
    if output and output.get("type") != "object":
        raise TypeError(f"tool {made.name!r} must return an object, such as a model with fields")
    return made

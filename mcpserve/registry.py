"""What the enabled plugins offer, found by name, for those who may use it.

A failure of a tool that the model should read is a result with ``is_error``; everything else that
goes wrong is an exception, which the protocol tells as an error.
"""

import functools
import logging
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic

from mcp_types import CallToolResult, GetPromptResult, ReadResourceResult, TextContent

from mcpserve.bound import Bound, CallFailed, Offered, Outcome
from mcpserve.errors import InsufficientScope, MCPServeError
from mcpserve.principal import Principal
from mcpserve.prompts import Prompt
from mcpserve.questions import CannotAsk, InputRequired
from mcpserve.resources import Resource, ResourceNotFound
from mcpserve.tools import Tool, ToolContext, ToolError, WrongArguments

logger = logging.getLogger(__name__)


class Unknown(MCPServeError):
    """Nothing of this kind is enabled under this name (JSON-RPC -32602). The message is told."""

    reason: ClassVar[str]

    def __init__(self, key: str, reason: str | None = None) -> None:
        super().__init__(f"{reason or self.reason}: {key}")


class UnknownTool(Unknown):
    """No tool of this name is enabled."""

    reason = "Unknown tool"


class ToolWithheld(MCPServeError):
    """The person has not allowed the client this tool. The message is told."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The person has not allowed this client to use the tool {name}.")


class UnknownResource(Unknown):
    """No enabled resource has this URI."""

    reason = "Resource not found"


class UnknownPrompt(Unknown):
    """No prompt of this name is enabled."""

    reason = "Unknown prompt"


@dataclass(frozen=True)
class ToolCall:
    """A finished call, as observers see it. Holds neither arguments nor result."""

    plugin: str
    tool: str
    principal: Principal
    outcome: Outcome
    seconds: float


Observer = Callable[[ToolCall], None]


class Offers(Generic[Offered]):
    """What is enabled of one kind, in an order that does not change."""

    unknown: ClassVar[type[Unknown]]

    def __init__(self, offers: Iterable[Bound[Offered]] = ()) -> None:
        self._offers = {bound.offer.key: bound for bound in offers}

    def __iter__(self) -> Iterator[Bound[Offered]]:
        return iter(self._offers.values())

    def __len__(self) -> int:
        return len(self._offers)

    @property
    def scopes(self) -> frozenset[str]:
        """Every scope that some of them needs."""
        return frozenset().union(*(bound.scopes for bound in self))

    def get(self, key: str) -> Bound[Offered]:
        """Return what clients call by this name. Raises :class:`Unknown`."""
        try:
            return self._offers[key]
        except KeyError:
            raise self.unknown(key) from None

    def require(self, key: str, scopes: frozenset[str]) -> Bound[Offered]:
        """Return what has this name, if these scopes allow to use it.

        Raises :class:`Unknown`, and :class:`~mcpserve.errors.InsufficientScope` with all scopes
        that it needs.
        """
        return allowed(self.get(key), scopes)


def allowed(bound: Bound[Offered], scopes: frozenset[str]) -> Bound[Offered]:
    """Return it, if these scopes allow to use it. Raises as :meth:`Offers.require` does."""
    if not bound.scopes <= scopes:
        raise InsufficientScope(
            f"the token lacks a scope that this {bound.offer.kind} needs", scopes=bound.scopes
        )
    return bound


class ToolRegistry(Offers[Tool]):
    """The enabled tools by name."""

    unknown = UnknownTool

    def __init__(
        self, tools: Iterable[Bound[Tool]] = (), observers: Sequence[Observer] = ()
    ) -> None:
        super().__init__(tools)
        self._observers = tuple(observers)
        self._renamed = {alias: bound for bound in self for alias in bound.aliases}

    def observed_by(self, observer: Observer) -> "ToolRegistry":
        """Return the same tools with one more observer of their calls."""
        return ToolRegistry(self, (*self._observers, observer))

    def without(self, names: Container[str]) -> "ToolRegistry":
        """Return the same without these, whatever name they are called by."""
        left = (bound for bound in self if bound.offer.name not in names)
        return ToolRegistry(left, self._observers)

    def get(self, key: str) -> Bound[Tool]:
        """Return the tool of this name, or which once had it. Raises :class:`UnknownTool`."""
        return self._renamed.get(key) or super().get(key)

    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> CallToolResult:
        """Call a tool; whatever goes wrong inside it becomes a result with ``is_error``.

        Raises :class:`UnknownTool`, :class:`~mcpserve.errors.InsufficientScope` and
        :class:`ToolWithheld`; :class:`InputRequired` if the client has to be asked first, and
        :class:`CannotAsk` if it does not take what it has to be asked.
        """
        bound = self.require(name, context.principal.scopes)
        if bound.is_withheld(context.principal):
            raise ToolWithheld(bound.offer.name)
        outcome = Outcome.CANCELLED
        started = time.perf_counter()
        try:
            result = await bound.call(arguments, context, bound.offer.result)
            outcome = Outcome.ERROR if result.is_error else Outcome.OK
            return result
        except InputRequired:
            outcome = Outcome.ASKED
            raise
        except ToolError as error:
            outcome = Outcome.ERROR
            if isinstance(error, CannotAsk) and error.required:
                raise
            return failure(str(error))
        except CallFailed as failed:
            outcome = failed.outcome
            return failure(str(failed))
        finally:
            seconds = time.perf_counter() - started
            self.observe(
                ToolCall(bound.plugin, bound.offer.name, context.principal, outcome, seconds)
            )

    @property
    def is_observed(self) -> bool:
        """Whether somebody wants to know of calls."""
        return bool(self._observers)

    def observe(self, call: ToolCall) -> None:
        """Tell every observer of a call; one that fails spares the others."""
        for observer in self._observers:
            try:
                observer(call)
            except BaseException:
                logger.exception("an observer of tool calls failed")


def failure(text: str) -> CallToolResult:
    """Return a tool result that tells the model what went wrong."""
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


class ResourceRegistry(Offers[Resource]):
    """The enabled resources by URI, and templates of URIs."""

    unknown = UnknownResource

    def __init__(self, resources: Iterable[Bound[Resource]] = ()) -> None:
        super().__init__(resources)
        self.templates = [bound for bound in self if bound.offer.is_template]
        self.plain = [bound for bound in self if not bound.offer.is_template]

    def readable(
        self, uri: str, scopes: frozenset[str]
    ) -> tuple[Bound[Resource], Mapping[str, Any]]:
        """Return what has this URI, or else the first template that fits, and its arguments.

        Raises as :meth:`require` does.
        """
        bound = self._offers.get(uri)
        if bound is not None and not bound.offer.is_template:
            return allowed(bound, scopes), {}
        for bound in self.templates:
            try:
                arguments = bound.offer.match(uri)
            except ResourceNotFound:
                break  # No other template may be laxer with what this one refuses.
            if arguments is not None:
                return allowed(bound, scopes), arguments
        raise UnknownResource(uri)

    async def read(self, uri: str, context: ToolContext) -> ReadResourceResult:
        """Read a resource.

        Raises as :meth:`readable` and :meth:`Bound.call` do; :class:`UnknownResource` also when
        its author says so, or when the URI has an argument of the wrong type.
        """
        bound, arguments = self.readable(uri, context.principal.scopes)
        convert = functools.partial(bound.offer.result, uri=uri)
        try:
            return await bound.call(arguments, context, convert)
        except (ResourceNotFound, WrongArguments) as error:
            raise UnknownResource(uri, str(error)) from error


class PromptRegistry(Offers[Prompt]):
    """The enabled prompts by name."""

    unknown = UnknownPrompt

    async def render(
        self, name: str, arguments: Mapping[str, str], context: ToolContext
    ) -> GetPromptResult:
        """Return the messages of a prompt. Raises as :meth:`require` and :meth:`Bound.call` do."""
        bound = self.require(name, context.principal.scopes)
        return await bound.call(arguments, context, bound.offer.result)


@dataclass(frozen=True)
class Registry:
    """Everything that the enabled plugins offer."""

    tools: ToolRegistry = field(default_factory=ToolRegistry)
    resources: ResourceRegistry = field(default_factory=ResourceRegistry)
    prompts: PromptRegistry = field(default_factory=PromptRegistry)

    @property
    def scopes(self) -> frozenset[str]:
        """Every scope that something needs."""
        return self.tools.scopes | self.resources.scopes | self.prompts.scopes

    @functools.cached_property
    def open(self) -> tuple[Bound[Any], ...]:
        """What may be used without a login."""
        offers = (*self.tools, *self.resources, *self.prompts)
        return tuple(bound for bound in offers if bound.is_open)

"""What the enabled plugins offer, and how one call of it is carried out.

A failure of a tool that the model should read is a result with ``is_error``; everything else that
goes wrong is an exception, which the protocol tells as an error.
"""

import asyncio
import contextlib
import functools
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from mcp_types import CallToolResult, GetPromptResult, ReadResourceResult, TextContent

from mcpserve.completion import Completable
from mcpserve.errors import InsufficientScope, MCPServeError
from mcpserve.principal import Principal
from mcpserve.prompts import Prompt
from mcpserve.questions import CannotAsk, InputRequired, Interview
from mcpserve.resources import Resource, ResourceNotFound
from mcpserve.threads import in_thread, is_cancelled
from mcpserve.tools import Offer, Tool, ToolContext, ToolError, WrongArguments

logger = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 30.0
"""Seconds for one call when neither operator nor author said otherwise."""


class Unknown(MCPServeError):
    """Nothing of this kind is enabled under this name (JSON-RPC -32602). The message is told."""

    reason: ClassVar[str]

    def __init__(self, key: str, reason: str | None = None) -> None:
        super().__init__(f"{reason or self.reason}: {key}")


class UnknownTool(Unknown):
    """No tool of this name is enabled."""

    reason = "Unknown tool"


class UnknownResource(Unknown):
    """No enabled resource has this URI."""

    reason = "Resource not found"


class UnknownPrompt(Unknown):
    """No prompt of this name is enabled."""

    reason = "Unknown prompt"


class Outcome(StrEnum):
    """How a call ended."""

    OK = "ok"
    ERROR = "error"
    ASKED = "asked"
    """The client was asked something first; there will be another call."""
    CRASH = "crash"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


class CallFailed(MCPServeError):
    """A call took too long or crashed. The message may be told; what crashed is in the log."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


@dataclass(frozen=True)
class ToolCall:
    """A finished call, as observers see it. Holds neither arguments nor result."""

    plugin: str
    tool: str
    principal: Principal
    outcome: Outcome
    seconds: float


Observer = Callable[[ToolCall], None]

Offered = TypeVar("Offered", bound=Offer)
Completed = TypeVar("Completed", bound=Completable)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Bound(Generic[Offered]):
    """What a plugin offers with what the operator decided about it."""

    offer: Offered
    plugin: str
    scopes: frozenset[str]
    """All scopes that a call needs."""
    timeout: float
    """Seconds for one call, waiting for a slot included."""
    slots: asyncio.Semaphore = field(repr=False)
    """Shared by all of a plugin. A thread that outlives its call keeps its slot."""
    aliases: tuple[str, ...] = ()
    """Earlier names, which may still be called."""

    async def call(
        self,
        arguments: Mapping[str, Any],
        context: ToolContext,
        convert: Callable[[Any], Result],
    ) -> Result:
        """Call the function and convert what it returned.

        Raises :class:`ToolError` as the function did or for wrong arguments, and
        :class:`CallFailed` for whatever else goes wrong; :class:`InputRequired` if the client has
        to be asked first.
        """
        with self._contained() as limit:
            keywords = self.offer.keywords(arguments, context)
            function = functools.partial(self.offer.function, **keywords)
            async with limit:
                running = self._run(function, is_async=self.offer.is_async)
                value = await answered(running, context.interview)
            return convert(value)

    async def complete(
        self: "Bound[Completed]", argument: str, value: str, others: Mapping[str, str]
    ) -> list[str]:
        """Return how an argument may go on. Raises as :meth:`call` does."""
        with self._contained() as limit:
            completer = self.offer.completer(argument)
            function = functools.partial(completer, value, others)
            async with limit:
                values = await self._run(function, is_async=inspect.iscoroutinefunction(completer))
            if isinstance(values, str) or not all(isinstance(value, str) for value in values):
                raise TypeError(f"the completion of {argument!r} must return a list of texts")
            return list(values)

    @contextlib.contextmanager
    def _contained(self) -> Iterator[asyncio.Timeout]:
        """Make one of two failures of whatever goes wrong in the block; yields its time limit."""
        limit = asyncio.timeout(self.timeout)
        offer = self.offer
        try:
            yield limit
        except (ToolError, InputRequired):
            raise
        except BaseException as error:
            # Whatever a plugin raises, sys.exit() and cancellations of its own included, is its
            # failure; only the cancellation of the call itself ends the request.
            if is_cancelled(error):
                raise
            if limit.expired():
                text = f"{offer.name} did not answer within {self.timeout:g} s"
                raise CallFailed(Outcome.TIMEOUT, text) from None
            logger.exception("%s %s of plugin %s failed", offer.kind, offer.name, self.plugin)
            text = f"Error executing {offer.kind} {offer.name}"
            raise CallFailed(Outcome.CRASH, text) from None

    async def _run(self, function: Callable[[], Any], *, is_async: bool) -> Any:
        """Run a function in one of the plugin's slots; raises whatever it raises."""
        await self.slots.acquire()
        if is_async:
            try:
                return await function()
            finally:
                self.slots.release()
        value = await in_thread(function, ended=self.slots.release)
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            raise TypeError("a plain function returned an awaitable; it must say async itself")
        return value


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

    def get(self, key: str) -> Bound[Tool]:
        """Return the tool of this name, or which once had it. Raises :class:`UnknownTool`."""
        return self._renamed.get(key) or super().get(key)

    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> CallToolResult:
        """Call a tool; whatever goes wrong inside it becomes a result with ``is_error``.

        Raises :class:`UnknownTool` and :class:`~mcpserve.errors.InsufficientScope`;
        :class:`InputRequired` if the client has to be asked first, and :class:`CannotAsk` if it
        does not take what it has to be asked.
        """
        bound = self.require(name, context.principal.scopes)
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
            self._observe(
                ToolCall(bound.plugin, bound.offer.name, context.principal, outcome, seconds)
            )

    def _observe(self, call: ToolCall) -> None:
        for observer in self._observers:
            try:
                observer(call)
            except BaseException:
                logger.exception("an observer of tool calls failed")


async def answered(running: Awaitable[Result], interview: Interview) -> Result:
    """Return the outcome of a run, unless a question is open: then nothing that it did counts.

    A question may have been swallowed on its way out, or be one of several asked side by side.
    Raises :class:`InputRequired`.
    """
    try:
        value = await running
    except BaseException as error:
        if is_cancelled(error) or not interview.open:
            raise
        raise InputRequired from None
    if interview.open:
        raise InputRequired
    return value


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

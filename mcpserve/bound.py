"""What a plugin offers, bound to what the operator decided, and how one call of it is contained."""

import asyncio
import contextlib
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar

from mcp_types import CallToolResult, LoggingLevel

from mcpserve.breaker import Breaker
from mcpserve.completion import Completable
from mcpserve.containment import Tasks
from mcpserve.errors import MCPServeError
from mcpserve.principal import Principal
from mcpserve.questions import InputRequired, Interview
from mcpserve.results import Results
from mcpserve.settings import PluginSettings
from mcpserve.surrogates import whole
from mcpserve.threads import in_task, in_thread, is_cancelled
from mcpserve.tools import Offer, ToolContext, ToolError, WrongArguments

logger = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 30.0
"""Seconds for one call when neither operator nor author said otherwise."""


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


class NotTried(CallFailed):
    """A call that never came to the plugin. The message may be told."""


Offered = TypeVar("Offered", bound=Offer)
Completed = TypeVar("Completed", bound=Completable)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Containment:
    """What keeps one plugin from harming the others, shared by all that it offers."""

    slots: asyncio.Semaphore
    """A thread or a task that outlives its call keeps its slot."""
    tasks: Tasks
    breaker: Breaker
    results: Results

    @classmethod
    def of(cls, plugin: str, settings: PluginSettings) -> "Containment":
        """As the operator decided. Raises :class:`~mcpserve.errors.PluginError`."""
        breaker = settings.breaker
        return cls(
            asyncio.Semaphore(settings.concurrency),
            Tasks(plugin),
            Breaker(plugin, failures=breaker.failures, pause=breaker.pause.total_seconds()),
            Results.of(plugin, settings.results),
        )


@dataclass(frozen=True)
class Bound(Generic[Offered]):
    """What a plugin offers with what the operator decided about it."""

    offer: Offered
    plugin: str
    scopes: frozenset[str]
    """All scopes that a call needs; none only if the operator opened it to everybody."""
    timeout: float
    """Seconds for one call, waiting for a slot included."""
    containment: Containment = field(repr=False)
    aliases: tuple[str, ...] = ()
    """Earlier names, which may still be called."""

    @property
    def is_open(self) -> bool:
        """Whether it may be used without a login."""
        return not self.scopes

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that it may be called by, the present name first."""
        return (self.offer.name, *self.aliases)

    def is_withheld(self, principal: Principal) -> bool:
        """Whether it is a tool that the person did not allow, by whatever name it had then."""
        asked_for = self.offer.kind == "tool" and not self.is_open
        return asked_for and not principal.withheld.isdisjoint(self.names)

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
            results, name = self.containment.results, self.offer.name
            keywords = self.offer.keywords(arguments, redacting(context, results))
            function = functools.partial(self.offer.function, **keywords)
            async with limit:
                running = self._run(function, is_async=self.offer.is_async)
                value = await answered(running, context.interview)
            results.check_value(name, value)
            try:
                result = convert(value)
                if isinstance(value, CallToolResult):
                    # Nobody looked at its keys yet, and the SDK fails at halves of pairs in them.
                    value.model_dump_json()
                return results.approved(name, result)
            except ValueError:
                mended = whole(value)
                if mended == value:
                    raise
                return results.approved(name, convert(mended))

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
            self.containment.results.check_value(self.offer.name, values)
            return list(values)

    @contextlib.contextmanager
    def _contained(self) -> Iterator[asyncio.Timeout]:
        """Make one of two failures of whatever goes wrong in the block; yields its time limit."""
        limit = asyncio.timeout(self.timeout)
        offer = self.offer
        breaker = self.containment.breaker
        if self.containment.tasks.is_lost:
            text = f"{offer.name} is out of order until the plugin is loaded again"
            raise NotTried(Outcome.CRASH, text)
        breaker.admit()
        try:
            with self.containment.tasks.working(f"{offer.kind} {offer.name}"):
                yield limit
            breaker.worked()
        except (WrongArguments, NotTried):
            breaker.told_nothing()
            raise
        except (ToolError, InputRequired) as error:
            breaker.worked()
            self.containment.results.approved_error(offer.name, error)
            raise
        except CallFailed:
            breaker.failed()
            raise
        except BaseException as error:
            # Whatever a plugin raises, sys.exit() and cancellations of its own included, is its
            # failure; only the cancellation of the call itself ends the request.
            if is_cancelled(error):
                breaker.told_nothing()
                raise
            breaker.failed()
            if limit.expired():
                text = f"{offer.name} did not answer within {self.timeout:g} s"
                raise CallFailed(Outcome.TIMEOUT, text) from None
            logger.exception("%s %s of plugin %s failed", offer.kind, offer.name, self.plugin)
            text = f"Error executing {offer.kind} {offer.name}"
            raise CallFailed(Outcome.CRASH, text) from None

    async def _run(self, function: Callable[[], Any], *, is_async: bool) -> Any:
        """Run a function in one of the plugin's slots; raises whatever it raises."""
        slots = self.containment.slots
        await slots.acquire()
        if is_async:
            return await in_task(function, ended=slots.release)
        value = await in_thread(function, ended=slots.release)
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            raise TypeError("a plain function returned an awaitable; it must say async itself")
        return value


def redacting(context: ToolContext, results: Results) -> ToolContext:
    """Return a context whose messages to the client are redacted as results are."""
    if not results.patterns:
        return context

    async def send_progress(
        progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        await context.send_progress(progress, total, results.redacted(message))

    async def send_log(level: LoggingLevel, data: Any) -> None:
        await context.send_log(level, results.redacted(data))

    return replace(context, send_progress=send_progress, send_log=send_log)


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

"""The worker: loads one plugin, and runs what the server asks for (``-m``, by ``host``)."""

import asyncio
import ctypes
import functools
import logging
import os
import signal
import sys
import threading
from contextlib import AsyncExitStack
from typing import Any, NoReturn

from pydantic import RootModel
from pydantic_core import from_json

from mcpserve import log, loop, plugins
from mcpserve.bound import Bound, CallFailed
from mcpserve.completion import Completable
from mcpserve.errors import ConfigError
from mcpserve.floods import Sieve
from mcpserve.isolation import wire
from mcpserve.principal import Principal, User
from mcpserve.questions import CannotAsk, InputRequired, Interview
from mcpserve.registry import Registry, ToolCall
from mcpserve.resources import Resource, ResourceNotFound
from mcpserve.setting_types import LONGEST_DURATION
from mcpserve.settings import BreakerSettings, LogSettings, PluginSettings
from mcpserve.threads import is_cancelled
from mcpserve.tools import Offer, Tool, ToolContext, ToolError, WrongArguments

logger = logging.getLogger(__name__)

EX_SOFTWARE = 70
DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG."""


class Connection:
    """The two pipes to the server. What a plugin prints goes to standard error."""

    def __init__(self) -> None:
        self.longest = sys.maxsize
        """Bytes of one message."""
        self._inbox = os.fdopen(os.dup(0), "rb")
        self._outbox = os.dup(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        # The server notices the end of the worker by its pipe: no fork may hold that open.
        os.register_at_fork(after_in_child=functools.partial(os.close, self._outbox))

    def receive(self) -> dict[str, Any]:
        """Wait for a message. Ends the process and all that it started if the server is gone."""
        length = self._inbox.read(wire.LENGTH.size)
        body = self._inbox.read(*wire.LENGTH.unpack(length)) if length else b""
        if not body:
            end_all()
        message: dict[str, Any] = from_json(body)
        return message

    def send(self, kind: str, message: Any) -> None:
        """Send a message; the server always reads. In the event loop only.

        Raises :class:`ValueError` for one that the server would take for nonsense.
        """
        frame = wire.frame({kind: message})
        if len(frame) > self.longest:
            raise ValueError(f"too long: {len(frame)} bytes of {self.longest}")
        # As the server reads it: there are numbers that can be written only.
        from_json(frame[wire.LENGTH.size :])
        rest = memoryview(frame)
        while rest:
            rest = rest[os.write(self._outbox, rest) :]


def main() -> None:
    """Serve until the server closes the pipe."""
    connection = Connection()
    start = wire.Start.model_validate(connection.receive()["start"])
    connection.longest = start.longest
    sys.path[:] = start.path
    log.configure(LogSettings())
    logging.root.setLevel(start.level)
    if sys.platform == "linux":
        end_with_server()
    if start.settings.memory is not None:
        limit_memory(start.settings.memory)
    loop.run(serve(connection, start))
    os._exit(0)


def end_all() -> NoReturn:
    """End this process and all that it started: the server made a group for them."""
    os.killpg(0, signal.SIGKILL)
    os._exit(EX_SOFTWARE)


def end_with_server() -> None:
    """End a second after the server, too, if compiled code keeps Python from noticing."""
    libc = ctypes.CDLL(None)
    # No code of Python runs then: SIGHUP calls alarm(SIGHUP), which is a second.
    libc.signal(signal.SIGHUP, libc.alarm)
    libc.prctl(DEATH_SIGNAL, signal.SIGHUP)


def limit_memory(size: int) -> None:
    """Let allocations beyond this fail."""
    import resource  # noqa: PLC0415 - not on every system

    resource.setrlimit(resource.RLIMIT_AS, (size, size))


async def serve(connection: Connection, start: wire.Start) -> None:
    """Load the plugin, tell what it offers, and run what comes until the server closes it."""
    async with AsyncExitStack() as exit_stack:
        try:
            settings = alone(start.settings)
            loaded = await plugins.load({start.plugin: settings}, exit_stack)
        except ConfigError as error:
            connection.send("ready", wire.Ready(problem=str(error)))
            return
        registry = loaded.registry
        offers = [offered(bound.offer) for bound in every(registry)]
        ready = wire.Ready(
            offers=offers,
            observes=registry.tools.is_observed,
            config_schema=loaded.config_schemas.get(start.plugin),
        )
        connection.send("ready", ready)
        await Desk(connection, registry, most=start.settings.concurrency).work()


def alone(settings: PluginSettings) -> PluginSettings:
    """Return the settings for the worker: the server itself does what does not stand here."""
    return PluginSettings(
        config=settings.config,
        timeout=LONGEST_DURATION,
        load_timeout=settings.load_timeout,
        concurrency=concurrency_of(settings.concurrency),
        results=settings.results.model_copy(update={"untrusted": False, "redact": ()}),
        breaker=BreakerSettings(failures=0),
    )


def concurrency_of(calls: int) -> int:
    """Return the slots for so many calls: threads that were abandoned keep theirs."""
    return min(2 * calls, 1000)


def every(registry: Registry) -> list[Bound[Any]]:
    """Return all that there is."""
    return [*registry.tools, *registry.resources, *registry.prompts]


def offered(offer: Offer) -> wire.Offered:
    """Describe what the plugin offers to the server."""
    definition: Any = offer.definition  # type: ignore[attr-defined]
    return wire.Offered(
        kind=offer.kind,
        name=offer.name,
        definition=definition.model_dump(mode="json", by_alias=True, exclude_none=True),
        arguments=list(offer.arguments),
        input_schema=offer.input_schema if isinstance(offer, Tool) else None,
        uri=offer.uri if isinstance(offer, Resource) else None,
        mime_type=offer.mime_type if isinstance(offer, Resource) else None,
        scopes=offer.scopes,
        timeout=offer.timeout,
        is_completed=isinstance(offer, Completable) and offer.is_completed,
    )


class Response(RootModel[dict[str, Any]]):
    """An answer to a question, as it came."""


class Desk:
    """Runs calls, at the same time."""

    def __init__(self, connection: Connection, registry: Registry, *, most: int) -> None:
        self._connection = connection
        self._registry = registry
        self._most = most
        self._bound = {(bound.offer.kind, bound.offer.name): bound for bound in every(registry)}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._waiting: dict[int, asyncio.Future[User | None]] = {}
        self._numbers = iter(range(sys.maxsize))
        self._closed = asyncio.Event()

    async def work(self) -> None:
        """Do what the server says, until it says to close."""
        running = asyncio.get_running_loop()

        def read() -> None:
            # In a thread: the end of the server is noticed even while the loop is blocked.
            while True:
                message = self._connection.receive()
                running.call_soon_threadsafe(self._take, message)

        threading.Thread(target=read, daemon=True).start()
        await self._closed.wait()

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"call": call}:
                checked = wire.Call.model_validate(call)
                task = asyncio.create_task(self._serve(checked))
                self._running[checked.id] = task
                task.add_done_callback(lambda _: self._running.pop(checked.id, None))
            case {"cancel": int(number)} if number in self._running:
                self._running[number].cancel()
            case {"acknowledged": acknowledged}:
                answer = wire.Acknowledged.model_validate(acknowledged)
                waiting = self._waiting.pop(answer.number, None)
                if waiting and not waiting.done():
                    waiting.set_result(answer.user)
            case {"observe": call}:
                self._registry.tools.observe(ToolCall(**call))
            case {"close": True}:
                self._closed.set()

    async def _serve(self, call: wire.Call) -> None:
        brief = call.interview
        interview = Interview(
            brief.capabilities,
            earlier=brief.earlier,
            responses={key: Response(answer) for key, answer in brief.responses.items()},  # type: ignore[misc]
        )
        log.request_id.set(call.request_id)
        ended = wire.Ended(id=call.id)
        try:
            ended.result = await self._run(call, interview)
        except InputRequired:
            ended.failure = "asked"
            ended.opened, ended.answered = interview.open, interview.transcript.answered
        except CallFailed as failed:
            ended.failure = "timeout" if failed.outcome == "timeout" else "crash"
            ended.text = str(failed)
        except ToolError as error:
            ended.failure, ended.text = kind_of(error), str(error)
            ended.required = error.required if isinstance(error, CannotAsk) else None
        except BaseException as error:
            # Cancelled by the plugin, that is: nobody waits any more after the server did.
            ended.failure, ended.text = "crash", f"Error executing {call.kind} {call.name}"
            if not is_cancelled(error):
                raise
        finally:
            self._answer(ended)
            self._leave_if_stuck(self._bound[call.kind, call.name].containment.slots._value)

    def _answer(self, ended: wire.Ended) -> None:
        """Tell how a call ended, in any case: the server waits for it."""
        try:
            self._connection.send("ended", ended)
        except Exception:
            logger.exception("the answer to a call cannot be sent")
            text = "The answer cannot be sent."
            self._connection.send("ended", wire.Ended(id=ended.id, failure="crash", text=text))

    def _leave_if_stuck(self, free: int) -> None:
        """End the process if as many abandoned threads run as there may be calls."""
        slots = concurrency_of(self._most)
        abandoned = slots - free - (len(self._running) - 1)
        if abandoned >= max(slots - self._most, 1):
            os._exit(EX_SOFTWARE)

    async def _run(self, call: wire.Call, interview: Interview) -> Any:
        bound = self._bound[call.kind, call.name]
        if call.do == "complete":
            given = call.arguments
            return await bound.complete(given["argument"], given["value"], given["others"])
        uri = {"uri": wire.REQUESTED} if call.kind == Resource.kind else {}
        result = await bound.call(
            call.arguments,
            self._context(call, interview),
            lambda value: bound.offer.result(value, **uri),
        )
        return result.model_dump(mode="json", by_alias=True, exclude_none=True)

    def _context(self, call: wire.Call, interview: Interview) -> ToolContext:
        sieve = Sieve()

        async def send_progress(
            progress: float, total: float | None = None, message: str | None = None
        ) -> None:
            if await sieve.admits(message):
                await self._tell(call, "progress", progress=progress, total=total, message=message)

        async def send_log(level: Any, data: Any) -> None:
            if await sieve.admits(data):
                await self._tell(call, "log", level=level, data=data)

        async def find_user(principal: Principal) -> User | None:
            return await self._tell(call, "user")

        return ToolContext(
            call.principal,
            send_progress,
            send_log,
            interview,
            call.trace,
            find_user=find_user,
            locale=call.locale,
        )

    async def _tell(self, call: wire.Call, do: Any, **told: Any) -> User | None:
        number = next(self._numbers)
        waiting: asyncio.Future[User | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            self._connection.send("told", wire.Told(id=call.id, number=number, do=do, **told))
            return await waiting
        finally:
            self._waiting.pop(number, None)


def kind_of(error: ToolError) -> wire.Failure:
    """Return the word for an error that its reader may know."""
    match error:
        case WrongArguments():
            return "wrong arguments"
        case ResourceNotFound():
            return "not found"
        case CannotAsk():
            return "cannot ask"
        case _:
            return "tool error"


if __name__ == "__main__":
    main()

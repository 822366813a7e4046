"""The server's side of a worker: starts it, calls it, and starts it again when it dies."""

import asyncio
import contextlib
import contextvars
import logging
import os
import signal
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from mcpserve.bound import CallFailed, NotTried, Outcome
from mcpserve.errors import PluginError
from mcpserve.isolation import wire
from mcpserve.isolation.calling import caller, outcome
from mcpserve.isolation.environment import command, environment
from mcpserve.registry import ToolCall
from mcpserve.tools import ToolContext

logger = logging.getLogger(__name__)

START_TIMEOUT = 30.0
"""Seconds for a worker to start, beside those that it has to load its plugin."""
END_TIMEOUT = 1.0
"""Seconds for a worker that closed its pipe to be gone."""
STUCK_TIMEOUT = 2.0
"""Seconds in which a worker must have ended a call that was cancelled; else it is killed."""
CLOSE_TIMEOUT = 4.0
"""Seconds for the plugin's clean-up; less than plugins have altogether."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 30.0
"""Seconds before a worker that died is started again, from the first time on and at most."""
HEALTHY = 60.0
"""Seconds that a worker must have lived to count as having been well."""


@dataclass
class Running:
    """A call under way. Without a context, nothing can be told to a client."""

    context: ToolContext | None
    ended: "asyncio.Future[wire.Ended]"
    variables: contextvars.Context = field(default_factory=contextvars.copy_context)


class Host:
    """One plugin in a process of its own, from :meth:`open` to :meth:`close`."""

    def __init__(self, start: wire.Start) -> None:
        self._start = start
        self._process: Process | None = None
        self._is_ready = False
        self._calls: dict[int, Running] = {}
        self._last = 0
        self._closing = False
        self._keeper: asyncio.Task[None] | None = None
        self._helpers: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int | None:
        """The process that runs now, if there is one."""
        return self._process.pid if self._process else None

    async def open(self) -> wire.Ready:
        """Start the worker. Raises :class:`PluginError` if it cannot load the plugin."""
        process, ready = await self._spawn()
        self._keeper = asyncio.create_task(self._keep(process))
        return ready

    async def close(self) -> None:
        """Let the plugin clean up, and end its process."""
        self._closing = True
        if self._keeper is None:
            return
        if self._is_ready:
            self._send({"close": True})
            await asyncio.wait([self._keeper], timeout=CLOSE_TIMEOUT)
        self._keeper.cancel()
        await asyncio.wait([self._keeper])

    async def call(
        self,
        offered: wire.Offered,
        arguments: Mapping[str, Any],
        context: ToolContext | None,
        *,
        do: str = "call",
    ) -> Any:
        """Call what the worker offers, and return its result as JSON.

        Raises what the function raised, if it is meant for somebody, and :class:`CallFailed`.
        """
        if not self._is_ready:
            text = f"{offered.kind} {offered.name} is being started again: try in some seconds"
            raise NotTried(Outcome.CRASH, text)
        process = self._process
        self._last += 1
        number = self._last
        ended = asyncio.get_running_loop().create_future()
        self._calls[number] = Running(context, ended)
        message = {"id": number, "do": do, "kind": offered.kind, "name": offered.name}
        self._send({"call": {**message, "arguments": arguments, **caller(context)}})
        try:
            answer: wire.Ended = await ended
        except asyncio.CancelledError:
            self._send({"cancel": number})
            self._help(self._require_end(number, process))
            raise
        self._calls.pop(number, None)
        return outcome(answer, context)

    def observe(self, call: ToolCall) -> None:
        """Tell the plugin's observer of a call."""
        self._send({"observe": call})

    async def _require_end(self, number: int, process: Process | None) -> None:
        """Kill the worker unless it soon ends a call that was cancelled: its loop is blocked."""
        running = self._calls.get(number)
        if running is None:
            return
        running.ended = asyncio.get_running_loop().create_future()
        await asyncio.wait([running.ended], timeout=STUCK_TIMEOUT)
        self._calls.pop(number, None)
        if not running.ended.done() and self._process is process:
            logger.warning("plugin %s: its process does not stop a call", self._start.plugin)
            self._kill()
        elif running.ended.done():
            running.ended.exception()

    async def _spawn(self) -> tuple[Process, wire.Ready]:
        name = self._start.plugin
        process = await asyncio.create_subprocess_exec(
            *command(),
            stdin=PIPE,
            stdout=PIPE,
            env=environment(),
            # Ctrl-C is for the server, which lets calls end first; and all of it can be killed.
            start_new_session=True,
        )
        self._process = process
        self._send({"start": self._start})
        limit = START_TIMEOUT + self._start.settings.load_timeout.total_seconds()
        try:
            async with asyncio.timeout(limit):
                ready = wire.Ready.model_validate((await self._receive(process))["ready"])
        except (TimeoutError, EOFError, ValueError, KeyError, TypeError) as error:
            why = await reason(error, process)
            await self._end(process)
            raise PluginError(name, f"isolation: its process cannot be used: {why}") from None
        except BaseException:
            await self._end(process)
            raise
        if ready.problem is not None:
            await self._end(process)
            raise PluginError(name, ready.problem.removeprefix(f"plugins.{name}: "))
        self._is_ready = True
        return process, ready

    async def _keep(self, process: Process) -> None:
        """Serve the worker, and start another one whenever it dies."""
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                await self._listen(process)
            finally:
                await self._end(process)
            if self._closing:
                return
            pause = FIRST_PAUSE if time.monotonic() - began > HEALTHY else pause
            logger.warning(
                "plugin %s: its process ended with %s, and is started again in %g s",
                *(self._start.plugin, process.returncode, pause),
            )
            process, pause = await self._restart(pause)

    async def _restart(self, pause: float) -> tuple[Process, float]:
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            try:
                process, _ = await self._spawn()
            except (PluginError, OSError) as error:
                logger.warning("%s", error)
            else:
                return process, pause

    async def _listen(self, process: Process) -> None:
        """Take what the worker says until it ends, or says what is none of our language."""
        with contextlib.suppress(EOFError):
            while True:
                try:
                    self._take(await self._receive(process))
                except (ValueError, KeyError, TypeError) as error:
                    kind = type(error).__name__
                    logger.warning("plugin %s: its process talks %s", self._start.plugin, kind)
                    return

    def _take(self, message: dict[str, Any]) -> None:
        if "ended" in message:
            ended = wire.Ended.model_validate(message["ended"])
            running = self._calls.get(ended.id)
            if running and not running.ended.done():
                running.ended.set_result(ended)
        else:
            told = wire.Told.model_validate(message["told"])
            running = self._calls.get(told.id)
            if running and running.context:
                self._help(self._tell(told, running.context), running.variables)

    async def _tell(self, told: wire.Told, context: ToolContext) -> None:
        answer = wire.Acknowledged(id=told.id, number=told.number)
        try:
            match told.do:
                case "progress":
                    await context.progress(told.progress, told.total, told.message)
                case "log":
                    await context.send_log(told.level, told.data)
                case "user":
                    answer.user = await context.user()
        except Exception:
            logger.exception("plugin %s could not be told something", self._start.plugin)
        self._send({"acknowledged": answer})

    def _help(self, work: Any, variables: contextvars.Context | None = None) -> None:
        task = asyncio.create_task(work, context=variables or contextvars.Context())
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)

    def _send(self, message: Mapping[str, Any]) -> None:
        process = self._process
        if process and process.stdin and not process.stdin.is_closing():
            process.stdin.write(wire.frame(message))

    async def _receive(self, process: Process) -> dict[str, Any]:
        """Return the next message. Raises :class:`ValueError` for one that is none."""
        if process.stdout is None:
            raise EOFError
        (length,) = wire.LENGTH.unpack(await process.stdout.readexactly(wire.LENGTH.size))
        if length > self._start.longest:
            raise ValueError("too long")
        message = from_json(await process.stdout.readexactly(length))
        if not isinstance(message, dict):
            raise TypeError("no object")
        return message

    def _kill(self) -> None:
        """Kill the worker and whatever it started, which may be left when it is gone itself."""
        if self._process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _end(self, process: Process) -> None:
        """Make sure that a worker is gone; what it was doing has failed."""
        self._kill()
        self._process = None
        self._is_ready = False
        await process.wait()
        # asyncio itself would not, while nobody reads what the worker wrote last.
        process._transport.close()  # type: ignore[attr-defined]
        for running in self._calls.values():
            if not running.ended.done():
                text = "It crashed while it worked. Try again, perhaps with less."
                running.ended.set_exception(CallFailed(Outcome.CRASH, text))
        self._calls.clear()


async def reason(error: Exception, process: Process) -> str:
    """Return why a worker cannot be used."""
    if isinstance(error, TimeoutError):
        return "it did not start in time"
    if not isinstance(error, EOFError):
        return f"it talks {type(error).__name__}"
    try:
        async with asyncio.timeout(END_TIMEOUT):
            code = await process.wait()
    except TimeoutError:
        return "it closed its pipe to the server"
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"it ended with {how} while it loaded the plugin"

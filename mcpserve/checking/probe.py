"""The programme that loads a plugin which may hang, exit or crash: `python -m` this module.

Reads a request as JSON from standard input. Appends to the file ``report`` a line of JSON for each
thing that it begins or finds, so that what it was doing is known when it comes to no good end.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, NoReturn, TextIO

from pydantic import BaseModel

from mcpserve import plugins
from mcpserve.checking import model, offers, rules, samples
from mcpserve.checking.findings import Finding, Rule, to_json
from mcpserve.checking.listening import Listener, secrets_in
from mcpserve.checking.offers import Offered
from mcpserve.errors import MCPServeError, PluginError
from mcpserve.hooks import PROJECT, config_model, make_manager, plugin_config, reason, register
from mcpserve.settings import PluginSettings

SETTLING_SECONDS = 0.5
"""In which what was told to end may end."""
HANDING_OVER = ("mcpserve_tools", "mcpserve_resources", "mcpserve_prompts")
POOLS = ("asyncio_", "AnyIO worker thread")
"""Threads of pools that belong to the loop, not to the plugin."""


@dataclass(frozen=True)
class Report:
    """The file that tells what happens."""

    file: TextIO

    def write(self, **line: Any) -> None:
        """Append a line at once."""
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def found(self, findings: Iterable[Finding]) -> None:
        """Append findings."""
        for finding in findings:
            self.write(finding=to_json(finding))


class Stopped(MCPServeError):
    """There is nothing further to look at."""

    def __init__(self, rule: Rule, detail: str) -> None:
        super().__init__(detail)
        self.finding = Finding(rule, detail=detail)


async def probe(request: Mapping[str, Any], report: Report, listener: Listener) -> None:
    """Do with the plugin what a server would, and look at it."""
    before = set(threading.enumerate())
    name = request["name"]
    plugin = imported(request, report)
    listener.secrets = secrets_in(configured(name, plugin, request["config"], report))
    report.write(phase="it is loaded")
    settings = {name: PluginSettings(config=request["config"])}
    async with AsyncExitStack() as exit_stack:
        try:
            loaded = await plugins.load(settings, exit_stack, lambda _: plugin)
        except PluginError as error:
            raise Stopped(rules.LOAD, without_name(error)) from error
        report.found(look(request, loaded))
        if not request["call"]:
            report.found(nothing(loaded, plugin))
        else:
            report.write(phase=f"tool {request['call']['tool']} is called")
            report.found([f async for f in samples.call(loaded, request["call"], listener)])
        report.write(phase="it is closed")
    report.found(listener.failures_of_closing())
    report.found([finding async for finding in leftovers(before)])


def imported(request: Mapping[str, Any], report: Report) -> object:
    """Import the plugin and say how long it took. Raises :class:`Stopped` if that fails."""
    report.write(phase="it is imported")
    started = time.perf_counter()
    try:
        plugin: object = EntryPoint(request["name"], request["value"], PROJECT).load()
    except BaseException as error:
        raise Stopped(rules.IMPORT, f"import failed: {reason(error)}") from error
    report.write(imported=time.perf_counter() - started)
    return plugin


def configured(name: str, plugin: object, given: dict[str, Any], report: Report) -> BaseModel:
    """Return the config, having looked at its model. Raises :class:`Stopped`."""
    manager = make_manager()
    try:
        register(manager, name, plugin)
        found = config_model(manager, name)
    except PluginError as error:
        raise Stopped(rules.HOOKS, without_name(error)) from error
    for check in model.CHECKS:
        report.found(check(found))
    try:
        return plugin_config(manager, name, given)
    except PluginError as error:
        raise Stopped(rules.CONFIG, without_name(error)) from error


def without_name(error: PluginError) -> str:
    """Return the message without the plugin's name, which stands before every finding."""
    return str(error).removeprefix(f"plugins.{error.plugin}: ")


def look(request: Mapping[str, Any], loaded: plugins.LoadedPlugins) -> Iterator[Finding]:
    """Yield what is wrong with what it offers."""
    offered = Offered(loaded.registry, request["readme"], request["reaches_out"])
    for check in offers.CHECKS:
        yield from check(offered)


def nothing(loaded: plugins.LoadedPlugins, plugin: object) -> Iterator[Finding]:
    """Require that it does anything."""
    registry = loaded.registry
    offered = (*registry.tools, *registry.resources, *registry.prompts)
    if not offered and not hasattr(plugin, "mcpserve_tool_called"):
        if hooks := [hook for hook in HANDING_OVER if hasattr(plugin, hook)]:
            detail = f"hands over nothing in {', '.join(hooks)}; is a `return` missing?"
            yield Finding(rules.NOTHING, detail=detail)
        else:
            yield Finding(rules.NOTHING)


async def leftovers(before: set[threading.Thread]) -> AsyncIterator[Finding]:
    """Yield the tasks and threads that outlive the plugin."""
    own = asyncio.current_task()
    until = time.monotonic() + SETTLING_SECONDS
    while True:
        tasks = [task for task in asyncio.all_tasks() if task is not own]
        threads = [
            thread
            for thread in threading.enumerate()
            if thread not in before and not thread.name.startswith(POOLS)
        ]
        if not (tasks or threads) or time.monotonic() > until:
            break
        await asyncio.sleep(0.02)
    for task in tasks:
        running = getattr(task.get_coro(), "__qualname__", task.get_name())
        yield Finding(rules.TASKS, detail=f"leaves a task behind when it is closed: {running}")
    for thread in threads:
        detail = f"leaves a thread behind when it is closed: {thread.name}"
        yield Finding(rules.THREADS, detail=detail)


def main() -> None:
    """Run the probe on the request that comes in."""
    request = json.loads(sys.stdin.buffer.read())
    report = Report(open(request["report"], "a", encoding="utf-8"))  # noqa: SIM115
    sys.path[:0] = request["search"]
    listener = Listener.start()
    try:
        asyncio.run(run_and_end(request, report, listener))
    except BaseException as error:
        detail = f"a task of it ends the process: {reason(error)}"
        report.found([Finding(rules.ENDS, detail=detail)])
    end(report)


async def run_and_end(request: Mapping[str, Any], report: Report, listener: Listener) -> None:
    """Run the probe and end, while the loop still runs: closing that would wait for tasks."""
    await run(request, report, listener)
    end(report)


async def run(request: Mapping[str, Any], report: Report, listener: Listener) -> None:
    """Run the probe and report what stopped it."""
    try:
        await probe(request, report, listener)
    except Stopped as stopped:
        report.found([stopped.finding])
    except BaseException as error:
        report.found([Finding(rules.ENDS, detail=f"ends the process: {reason(error)}")])


def end(report: Report) -> NoReturn:
    """End the process at once, which threads of the plugin could hold up."""
    report.write(done=True)
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()

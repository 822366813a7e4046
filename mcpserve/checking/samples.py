"""A sample call, and what is wrong with what came of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcp_types import CallToolResult, TextContent

from mcpserve.arguments import arguments
from mcpserve.bound import Outcome
from mcpserve.checking import rules
from mcpserve.checking.findings import Finding
from mcpserve.checking.listening import Listener
from mcpserve.plugins import LoadedPlugins
from mcpserve.registry import UnknownTool
from mcpserve.testing.loading import LoadedPlugin


@dataclass(frozen=True)
class Sample:
    """A call and what it left behind."""

    place: str
    plugin: LoadedPlugin
    result: CallToolResult
    listener: Listener

    @property
    def text(self) -> str:
        """The result as clients get it."""
        return self.result.model_dump_json(by_alias=True, exclude_none=True)


async def call(
    loaded: LoadedPlugins, sample: Mapping[str, Any], listener: Listener
) -> AsyncIterator[Finding]:
    """Call a tool and look at what comes."""
    plugin = LoadedPlugin(loaded.registry)
    place = f"tool {sample['tool']}"
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = rules.BLOCKED_SECONDS
    try:
        tool = loaded.registry.tools.get(sample["tool"]).offer
        result = await plugin.call(tool.name, **arguments(sample["arguments"], tool))
    except UnknownTool as error:
        known = ", ".join(bound.offer.name for bound in loaded.registry.tools) or "none"
        yield Finding(rules.CALL_ERROR, place, f"cannot be called: {error} (tools: {known})")
        return
    except (LookupError, ValueError) as error:
        yield Finding(rules.CALL_ERROR, place, f"cannot be called: {error}")
        return
    await asyncio.sleep(0)  # a slow step is told after it
    loop.set_debug(False)
    for check in CHECKS:
        for finding in check(Sample(place, plugin, result, listener)):
            yield finding


def ended_well(sample: Sample) -> Iterator[Finding]:
    """Require that the sample works."""
    if not sample.result.is_error:
        return
    told = " ".join(block.text for block in sample.result.content if isinstance(block, TextContent))
    rule = rules.CALL_ERROR
    if sample.plugin.calls[-1].outcome is not Outcome.ERROR:
        rule = rules.CALL_FAILED
        told = f"{told} ({sample.listener.last_line})"
    if sample.listener.tells(told):
        told = "its error has a secret in it"
    yield Finding(rule, sample.place, told)


def keeps_secrets(sample: Sample) -> Iterator[Finding]:
    """Require that no client is told what is secret."""
    told = f"{sample.text}{sample.plugin.progress}{sample.plugin.logs}"
    if sample.listener.tells(told):
        yield Finding(rules.SECRET_TOLD, sample.place)


def logs_no_secret(sample: Sample) -> Iterator[Finding]:
    """Require that nobody finds a secret in the log."""
    if sample.listener.tells(sample.listener.written.getvalue()):
        yield Finding(rules.SECRET_LOGGED, sample.place)


def gives_the_loop_back(sample: Sample) -> Iterator[Finding]:
    """Require that it does not keep all others waiting."""
    if sample.listener.slow:
        seconds = sample.listener.slow[-1].rpartition(" took ")[2]
        yield Finding(rules.CALL_BLOCKS, sample.place, f"blocks the event loop for {seconds}")


def is_bounded(sample: Sample) -> Iterator[Finding]:
    """Require no more than clients take."""
    if len(sample.text) > rules.LARGE_RESULT:
        detail = f"its result has {len(sample.text)} characters"
        yield Finding(rules.LARGE, sample.place, detail)
    if (count := len(sample.plugin.progress)) > rules.MANY_PROGRESS:
        yield Finding(rules.PROGRESS, sample.place, f"reports progress {count} times in a call")


CHECKS: tuple[Callable[[Sample], Iterator[Finding]], ...] = (
    ended_well,
    keeps_secrets,
    logs_no_secret,
    gives_the_loop_back,
    is_bounded,
)

"""Plugins that misbehave, each in one way, in tools, resources, prompts and completions alike."""

import asyncio
import threading
from collections.abc import Mapping

from mcpserve import ToolContext, hookimpl, prompt, resource, tool

over = asyncio.Event()
"""Lets what hangs end."""
ended = threading.Event()
"""The same for threads."""


async def hang(context: ToolContext | None = None) -> str:
    """Swallow every cancellation."""
    while not over.is_set():
        try:
            await asyncio.wait_for(over.wait(), 20)
        except (asyncio.CancelledError, TimeoutError):
            continue
    return ""


def stuck(context: ToolContext | None = None) -> str:
    """Block a thread."""
    ended.wait(20)
    return ""


async def flood(context: ToolContext | None = None) -> str:
    """Tell without end. A completion cannot tell anything, and only keeps turning."""
    step = 0
    while not over.is_set():
        step += 1
        if context:
            await context.progress(step, message="x" * 1000)
            await context.log("error", "x" * 10_000_000)
        await asyncio.sleep(0)
    return ""


async def spawn(context: ToolContext | None = None) -> str:
    """Leave tasks that run on."""
    for _ in range(100):
        asyncio.create_task(over.wait())  # noqa: RUF006
    return ""


async def raising(context: ToolContext | None = None) -> str:
    """Raise what is no Exception."""
    raise KeyboardInterrupt


BEHAVIOURS = {made.__name__: made for made in (hang, stuck, flood, spawn, raising)}


class Misbehaving:
    """A plugin all of whose functions do the same."""

    def __init__(self, name):
        self.name = name
        self.behaviour = BEHAVIOURS[name]
        self.begun = set()
        """The kinds of call that came to it."""

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""
        run = self.running("tool")

        def plain(ctx: ToolContext) -> str:
            """Misbehave."""
            return run(ctx)

        async def function(ctx: ToolContext) -> str:
            """Misbehave."""
            return await run(ctx)

        return [tool(self.one_of(plain, function), name=self.name)]

    @hookimpl
    def mcpserve_resources(self):
        """See the hook."""
        run = self.running("resource")

        def plain(ctx: ToolContext) -> str:
            """Misbehave."""
            return run(ctx)

        async def function(ctx: ToolContext) -> str:
            """Misbehave."""
            return await run(ctx)

        return [resource(f"bad://{self.name}", name=self.name)(self.one_of(plain, function))]

    @hookimpl
    def mcpserve_prompts(self):
        """See the hook."""
        run, complete = self.running("prompt"), self.running("completion")

        def plain(what: str, ctx: ToolContext) -> str:
            """Misbehave."""
            return run(ctx)

        async def function(what: str, ctx: ToolContext) -> str:
            """Misbehave."""
            return await run(ctx)

        def plain_completer(value: str, others: Mapping[str, str]) -> list[str]:
            return [complete()]

        async def completer(value: str, others: Mapping[str, str]) -> list[str]:
            return [await complete()]

        offered = prompt(self.one_of(plain, function), name=self.name)
        offered.completes("what")(self.one_of(plain_completer, completer))
        return [offered]

    def running(self, kind):
        """Return what misbehaves, and notes the kind of call."""

        def run(*arguments):
            self.begun.add(kind)
            return self.behaviour(*arguments)

        return run

    def one_of(self, plain, function):
        """Return the plain or the async function."""
        return plain if self.behaviour is stuck else function


class Everything:
    """A plugin that misbehaves in every way."""

    def __init__(self):
        self.each = [Misbehaving(name) for name in BEHAVIOURS]

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""
        return [offer for each in self.each for offer in each.mcpserve_tools()]

    @hookimpl
    def mcpserve_resources(self):
        """See the hook."""
        return [offer for each in self.each for offer in each.mcpserve_resources()]

    @hookimpl
    def mcpserve_prompts(self):
        """See the hook."""
        return [offer for each in self.each for offer in each.mcpserve_prompts()]


everything = Everything()

"""A server whose tools a test watches and steers."""

import asyncio
import threading

from mcp_client import McpClient
from serving import serving

from mcpserve import ToolContext, hookimpl, tool
from mcpserve.serving import drain


class Workshop:
    """A plugin that a test watches and steers."""

    def __init__(self):
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.ended = asyncio.Event()
        self.outcomes = []
        self.closed = False
        self.thread = threading.Event()

    @hookimpl
    def mcpserve_tools(self, exit_stack):
        """See the hook."""
        exit_stack.callback(setattr, self, "closed", True)

        @tool
        async def build(ctx: ToolContext) -> str:
            """Report, wait, report."""
            await ctx.progress(1, 2, "begun")
            self.started.set()
            await self.release.wait()
            assert not self.closed
            await ctx.progress(2, 2, "ready")
            return "built"

        @tool
        async def wait() -> str:
            """Wait in silence."""
            self.started.set()
            await self.release.wait()
            return "waited"

        @tool
        async def count(ctx: ToolContext) -> int:
            """Report more than a socket holds."""
            for step in range(200):
                await ctx.progress(step + 1, message="x" * 100_000)
                self.started.set()
            return 200

        @tool
        async def much() -> str:
            """Return more than a socket holds."""
            return "x" * 20_000_000

        @tool
        def stuck() -> str:
            """Hold a thread."""
            self.started.set()
            self.thread.wait(10)
            return ""

        return [build, wait, count, much, stuck]

    @hookimpl
    def mcpserve_tool_called(self, call):
        """See the hook."""
        if call.plugin == "workshop":
            self.outcomes.append((call.tool, call.outcome))
            self.ended.set()


class Other:
    """Another plugin."""

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""

        def quick() -> str:
            """Answer at once."""
            return "here"

        return [quick]


def serve(dsn, workshop, settings=None):
    """Serve a workshop."""
    chosen = dict(settings or {})
    large = {"results": {"max_size": "64MiB"}}
    plugins = {"workshop": {}, "other": {}} | chosen.get("plugins", {})
    chosen["plugins"] = plugins | {"workshop": large | plugins["workshop"]}
    return serving(dsn, chosen, made={"workshop": workshop, "other": Other()})


async def happens(event):
    """Wait for an event, but not for ever."""
    async with asyncio.timeout(10):
        await event.wait()


def text_of(message):
    """Return the text of a tool's result."""
    return message["result"]["content"][0]["text"]


async def client_of(server, modern):
    """Return a client of this era."""
    return (await McpClient.authorized(server)).in_era(modern)


def draining(server, hurry=None):
    """Begin to stop a server."""
    return asyncio.create_task(
        drain(
            [server.services.drain],
            server.http_server,
            hurry or asyncio.Event(),
            grace=server.services.settings.server.shutdown_grace.total_seconds(),
        )
    )

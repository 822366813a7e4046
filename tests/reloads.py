"""A server inside a test whose configuration can be changed while it serves."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel
from serving import DEFAULTS, PASSWORD, USER, Offline, Running, add_user
from tornado.netutil import bind_sockets

from mcpserve import ToolContext, app, hookimpl, resource, serving, tool
from mcpserve.config import Loaded
from mcpserve.errors import ConfigError
from mcpserve.generations import Generation, Generations
from mcpserve.reloading import Reloader
from mcpserve.settings import Settings, explain

PLUGIN = "sets"


@dataclass
class Opened:
    """What one generation of the plugin holds."""

    number: int
    closed: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False)
class Sets:
    """A plugin all of whose answers name the configuration that it was made with."""

    opened: list[Opened] = field(default_factory=list)
    opening: int = 0
    most_opening: int = 0

    @hookimpl
    def mcpserve_config(self):
        class Config(BaseModel, extra="forbid"):
            number: int
            broken: bool = False
            crash: bool = False
            extra: bool = False

        return Config

    @hookimpl
    async def mcpserve_tools(self, config, exit_stack):
        held = Opened(config.number)
        self.opened.append(held)

        def close():
            held.closed += 1

        exit_stack.callback(close)
        # A set that is half made, for whoever would look.
        self.opening += 1
        self.most_opening = max(self.opening, self.most_opening)
        await asyncio.sleep(0.005)
        self.opening -= 1
        if config.broken:
            raise RuntimeError("it does not work")
        if config.crash:

            async def crash():
                await held.release.wait()
                raise RuntimeError("it crashed")

            group = await exit_stack.enter_async_context(asyncio.TaskGroup())
            group.create_task(crash())

        async def number() -> int:
            before = held.closed
            await asyncio.sleep(0)
            return -1 if before or held.closed else held.number

        first = tool(name="first", description=f"set {config.number}")(number)
        second = tool(name="second", description=f"set {config.number}")(number)

        @tool(timeout=20)
        async def long(ctx: ToolContext) -> int:
            """Report, wait, and say which set it is."""
            await ctx.progress(1, 2, "begun")
            held.begun.set()
            await held.release.wait()
            return await number()

        @tool
        async def more() -> str:
            """Be there or not."""
            return "more"

        return [first, second, long, *([more] if config.extra else [])]

    @hookimpl
    def mcpserve_resources(self, config):
        @resource("sets://number")
        async def number() -> str:
            """Say which set it is."""
            return str(config.number)

        return [number]


class Changing:
    """A server that listens, and its configuration."""

    def __init__(self, settings: dict[str, Any], plugin: Sets) -> None:
        self.settings = settings
        self.plugin = plugin
        self.find: Callable[[str], object] = {PLUGIN: plugin}.__getitem__
        self.server: Running
        self.generations: Generations
        self.reloader: Reloader

    def configure(self, number: int, **changes: Any) -> None:
        """Change the configuration; ``changes`` are sections, or ``config`` of the plugin."""
        config = {"number": number, **changes.pop("config", {})}
        plugins = changes.pop("plugins", {PLUGIN: {"config": config}})
        mcp = {"name": f"set {number}", "instructions": f"set {number}"}
        self.settings |= {"mcp": mcp, "plugins": plugins, **changes}

    def read(self) -> Loaded:
        """Return what ``mcpserve.config.load`` would."""
        from pydantic import ValidationError

        try:
            return Loaded(Settings.model_validate(self.settings), None, {})
        except ValidationError as error:
            raise ConfigError("\n".join(explain(error))) from None

    async def reload(self, number: int, **changes: Any) -> Any:
        """Change the configuration and reload."""
        self.configure(number, **changes)
        return await self.reloader.reload()


@contextlib.asynccontextmanager
async def changing(dsn, *, duties=app.duties, **sections):
    """Serve set 1 of :class:`Sets` on a free port until the block ends."""
    sockets = bind_sockets(0, "127.0.0.1")
    port = sockets[0].getsockname()[1]
    known = {"server": {"port": port}, "database": {"url": dsn}}
    plugin = Sets()
    made = Changing({**DEFAULTS, **known}, plugin)
    made.configure(1, **sections)
    settings = made.read().settings
    async with app.open_database(settings.database, dsn, migrates=False) as db:

        def opening(settings):
            return app.open_services(settings, db, made.find, fetcher=Offline())

        first = await Generation.open(opening(settings))
        await app.prepare(first.services)
        await add_user(first.services, USER, PASSWORD)
        made.generations = Generations(first, duties)
        made.reloader = Reloader(
            made.generations, read=made.read, opening=opening, prepare=app.prepare
        )
        http_server = serving.listen(made.generations.front, sockets)
        made.server = Running(f"http://127.0.0.1:{port}", first.services, http_server)
        try:
            yield made
        finally:
            http_server.stop()
            await http_server.close_all_connections()
            await made.generations.close()


class Connection:
    """One kept connection to ``/mcp``: no library is as fast, and none must repeat anything."""

    def __init__(self, url: str, token: str) -> None:
        self._parts = urlsplit(url)
        self._head = (
            f"POST /mcp HTTP/1.1\r\nHost: {self._parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nMCP-Protocol-Version: 2025-11-25\r\n"
            "Accept: application/json, text/event-stream\r\nContent-Length: "
        )

    async def __aenter__(self) -> "Connection":
        parts = self._parts
        self._reader, self._writer = await asyncio.open_connection(parts.hostname, parts.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def ask(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the result of a request that must be answered 200, as JSON."""
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        body = json.dumps(message)
        self._writer.write(f"{self._head}{len(body)}\r\n\r\n{body}".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        answer = (await self._reader.readexactly(length)).decode()
        assert head.startswith("http/1.1 200 "), answer
        return json.loads(answer)["result"]

"""Two servers of one database behind one address: every request goes to the other one."""

import asyncio
import contextlib
import itertools
import re
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from browser import Browser
from e2e.process import Process, add_user, configure, started
from serving import Running, serving

CONNECTION = re.compile(rb"\r\nConnection:[^\r]*", re.IGNORECASE)


@dataclass
class Balancer:
    """Passes every request on to the next server."""

    addresses: list[str] = field(default_factory=list)
    """Who gets requests, in turn."""
    served: list[tuple[str, str]] = field(default_factory=list)
    """Who got which: the address, and method and path."""
    port: int = 0
    _turns: Iterator[int] = field(default_factory=itertools.count)
    # The loop alone does not keep a task whose connection is closed on one side.
    _tasks: set[Any] = field(default_factory=set)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen until the block ends."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            try:
                yield
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextmanager
    def listening_in_a_thread(self) -> Iterator[None]:
        """Do the same beside a program that waits, and a test that has a loop of its own."""
        listens, stop = threading.Event(), asyncio.Event()
        loops = []

        async def listen() -> None:
            loops.append(asyncio.get_running_loop())
            async with self.listening():
                listens.set()
                await stop.wait()

        thread = threading.Thread(target=asyncio.run, args=[listen()])
        thread.start()
        listens.wait()
        try:
            yield
        finally:
            loops[0].call_soon_threadsafe(stop.set)
            thread.join()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one request on, and its answer back."""
        self._tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            address = self.addresses[next(self._turns) % len(self.addresses)]
            self.served.append((address, head.split(b"?")[0].split(b" HTTP/")[0].decode()))
            parts = urlsplit(address)
            theirs, to_them = await asyncio.open_connection(parts.hostname, parts.port)
            with contextlib.closing(to_them):
                # The next request of this client shall come on another connection.
                to_them.write(CONNECTION.sub(b"", head)[:-2] + b"Connection: close\r\n\r\n")
                body = asyncio.create_task(copy(reader, to_them))
                await copy(theirs, writer)
                body.cancel()
                await asyncio.gather(body, return_exceptions=True)


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until it ends."""
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()


@dataclass(frozen=True)
class Pair:
    """Two processes; :class:`serving.Flow` goes through them like through one server."""

    url: str
    balancer: Balancer
    processes: tuple[Process, Process]

    @property
    def resource(self) -> str:
        """The MCP endpoint, as both name it."""
        return f"{self.url}/mcp"

    def http(self, **options: Any) -> httpx.AsyncClient:
        """Return a client whose requests go to one and the other."""
        return httpx.AsyncClient(base_url=self.url, verify=False, trust_env=False, **options)

    def browser(self) -> Browser:
        """Return a new browser, whose requests go to one and the other."""
        return Browser(self.url)


@asynccontextmanager
async def serving_two(
    dsn: str, settings: Mapping[str, Any] | None = None, **options: Any
) -> AsyncIterator[Running]:
    """Do what :func:`serving.serving` does, with two servers that take requests in turn.

    They are in this process, but share no object; ``services`` are those of the first.
    """
    balancer = Balancer()
    async with balancer.listening():
        given = dict(settings or {})
        public = {"public_url": f"http://localhost:{balancer.port}"}
        given["server"] = public | dict(given.get("server", {}))
        async with (
            serving(dsn, given, **options) as one,
            serving(dsn, given, **options | {"with_user": False}) as two,
        ):
            balancer.addresses += [one.url, two.url]
            yield replace(one, url=f"http://127.0.0.1:{balancer.port}")


@contextmanager
def started_pair(
    folder: Path, dsn: str, *, user: bool = True, **sections: Mapping[str, Any]
) -> Iterator[Pair]:
    """Start both; ``sections`` on top of what tests use."""
    balancer = Balancer()
    with balancer.listening_in_a_thread(), ExitStack() as stack:
        paths = configure_pair(folder, dsn, port=balancer.port, **sections)
        if user:
            add_user(paths[0])
        first, second = (stack.enter_context(started(path)) for path in paths)
        balancer.addresses += [first.address, second.address]
        yield Pair(first.url, balancer, (first, second))


def configure_pair(
    folder: Path, dsn: str, *, port: int, **sections: Mapping[str, Any]
) -> tuple[Path, Path]:
    """Write the configurations of two servers that are reached at this port."""
    made = []
    for name in ("one", "two"):
        (folder / name).mkdir()
        path = configure(folder / name, dsn=dsn, **sections)
        text = path.read_text("utf-8")
        public = f"server:\n  public_url: http://localhost:{port}\n"
        assert "server:\n" in text
        path.write_text(text.replace("server:\n", public), "utf-8")
        made.append(path)
    return made[0], made[1]

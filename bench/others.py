"""What else a server of ours does: lists, large answers, tokens, logins, idle streams, starts."""

import asyncio
import json
import statistics
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from bench import machine, prepare, servers, subject, wire
from bench.compare import Record
from bench.lab import Lab
from bench.servers import Running
from bench.subject import Subject
from mcpserve.testing.person import CLIENT_ID, Person

PLUGINS = {
    "bench": {"config": {"more": 198}},
    "streams": {"concurrency": 1000, "timeout": "2h"},
}
STREAMS = 1000
LISTED = 200
CONNECTIONS = 16
EVENT = b"event: "


@dataclass(frozen=True)
class At:
    """A server that runs, and how long to measure."""

    lab: Lab
    installed: Subject
    running: Running
    seconds: int

    def ask(self, method: str, params: dict[str, Any]) -> bytes:
        """Ask once, in the modern era, and return the body of the answer."""
        token, port = self.installed.access[0], self.installed.port
        request = wire.mcp_request("modern", token, port=port, method=method, params=params)
        status, body = servers.ask(port, request)
        if status != 200:
            raise RuntimeError(f"{method} answers {status} {body!r}")
        return body

    def load(self, method: str, *params: dict[str, Any]) -> Record:
        """Ask for the same again and again, in the modern era."""
        port = self.installed.port
        requests = [
            wire.mcp_request("modern", token, port=port, method=method, params=each)
            for token in self.installed.access
            for each in params
        ]
        load = self.lab.load_with(
            requests, port, self.running.pid, connections=CONNECTIONS, seconds=self.seconds
        )
        return {"rate": load.rate, "cpu": load.cpu, "p50": load.p50, "p99": load.p99}


def measure(lab: Lab, *, short: bool) -> dict[str, Record]:
    """Measure everything once; times in milliseconds, CPU in microseconds of a request."""
    installed = lab.install("large", subject.copy(None, lab.folder / "tree-large"), PLUGINS)
    found: dict[str, Record] = {}
    with lab.started(installed) as running:
        at = At(lab, installed, running, 1 if short else 5)
        for name, step in STEPS.items():
            print(name, flush=True)
            found[name] = step(at)
    for name, words in COMMANDS.items():
        print(name, flush=True)
        found[name] = command(installed, words, times=2 if short else 7)
    return found


def listing(at: At) -> Record:
    """List the tools, page after page."""
    pages: list[dict[str, Any]] = []
    following: dict[str, Any] | None = {}
    count = size = 0
    while following is not None:
        pages.append(following)
        body = at.ask("tools/list", following)
        result = json.loads(body)["result"]
        count, size = count + len(result["tools"]), size + len(body)
        following = {"cursor": result["nextCursor"]} if "nextCursor" in result else None
    if count < LISTED:
        raise RuntimeError(f"tools/list has {count} tools")
    seen = at.load("tools/list", *pages)
    whole = {"rate": seen["rate"] / len(pages), "cpu": seen["cpu"] * len(pages)}
    return seen | whole | {"bytes": size, "pages": len(pages)}


def large(at: At) -> Record:
    """Get a result of a million letters."""
    return at.load("tools/call", {"name": "megabyte", "arguments": {}})


def refreshing(at: At) -> Record:
    """Rotate refresh tokens: each connection has a chain of its own, and uses each token once."""
    before, began = machine.cpu_seconds(at.running.pid), time.monotonic()
    took = asyncio.run(_refresh_all(at))
    wall = time.monotonic() - began
    cpu = machine.cpu_seconds(at.running.pid) - before
    return {"rate": len(took) / wall, "cpu": cpu / len(took) * 1e6, **_quantiles(took)}


async def _refresh_all(at: At) -> list[float]:
    end = time.monotonic() + at.seconds
    chains = at.installed.refresh[:CONNECTIONS]
    took = await asyncio.gather(
        *(_refresh_chain(at.installed.port, token, end) for token in chains)
    )
    return [each for chain in took for each in chain]


async def _refresh_chain(port: int, token: str, end: float) -> list[float]:
    """Return what each rotation took, in seconds."""
    took = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (now := time.monotonic()) < end:
        form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "refresh_token": token}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        writer.write(wire.post("/token", headers, urlencode(form).encode(), port=port))
        token = json.loads(await _answer(reader))["refresh_token"]
        took.append(time.monotonic() - now)
    writer.close()
    await writer.wait_closed()
    return took


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"an answer is no success: {head!r}")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
    return await reader.readexactly(int(fields[b"Content-Length"]))


def login(at: At) -> Record:
    """Go the whole way from /authorize through login and consent to /token; bcrypt takes most."""
    person = Person(prepare.USER, prepare.PASSWORD)
    url = f"http://127.0.0.1:{at.installed.port}"
    took = []
    before = machine.cpu_seconds(at.running.pid)
    for _ in range(3 * at.seconds):
        began = time.monotonic()
        asyncio.run(person.allow(url, f"{url}/mcp", prepare.SCOPES))
        took.append(time.monotonic() - began)
    cpu = machine.cpu_seconds(at.running.pid) - before
    return {"cpu": cpu / len(took) * 1e6, **_quantiles(took)}


def streaming(at: At) -> Record:
    """Hold idle event streams, and call beside them."""
    alone = at.load("tools/call", dict(wire.ADD))
    before = machine.memory(at.running.pid)
    beside, after = asyncio.run(_hold(at))
    each = (after.rss - before.rss) * 1024 / STREAMS
    return {"streams": STREAMS, "kib_each": each, "p99_alone": alone["p99"], **beside}


async def _hold(at: At) -> tuple[Record, machine.Memory]:
    async with AsyncExitStack() as stack:
        for number in range(STREAMS):
            tokens = at.installed.access
            writer = await _open_stream(at.installed.port, tokens[number % len(tokens)])
            stack.callback(writer.close)
        held = machine.memory(at.running.pid)
        load = await asyncio.to_thread(at.load, "tools/call", dict(wire.ADD))
        return load, held


async def _open_stream(port: int, token: str) -> asyncio.StreamWriter:
    """Return once the first event has come."""
    params = {"name": "wait", "arguments": {}, "_meta": {**wire.META, "progressToken": 1}}
    request = wire.mcp_request("modern", token, port=port, params=params)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await reader.readuntil(EVENT)
    return writer


def command(installed: Subject, words: tuple[str, ...], *, times: int) -> Record:
    """Run a command of the command line, in the folder with config.yaml."""
    took = []
    for _ in range(times):
        began = time.monotonic()
        subject.run(installed, *words)
        took.append(time.monotonic() - began)
    return _quantiles(took)


def _quantiles(seconds: list[float]) -> Record:
    """Return median and 99th percentile in milliseconds."""
    ordered = sorted(seconds)
    return {
        "p50": statistics.median(ordered) * 1e3,
        "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1e3,
    }


STEPS: dict[str, Callable[[At], Record]] = {
    f"tools/list of {LISTED} tools": listing,
    "a result of 1 MB": large,
    "refreshing tokens": refreshing,
    "a whole login": login,
    f"{STREAMS} idle event streams": streaming,
}
COMMANDS = {
    "mcpserve --version": ("--version",),
    "mcpserve plugin list": ("plugin", "list"),
}

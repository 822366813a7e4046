"""Servers under load: started on their core, checked, and ended again."""

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench import wire
from bench.wire import Era

PATIENCE = 30.0
"""Seconds for a start, and for an end."""


@dataclass(frozen=True)
class Server:
    """How a server is started, and what it can do."""

    name: str
    label: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    eras: tuple[Era, ...] = ("handshake", "modern")
    folder: Path | None = None
    checks_tokens: bool = True


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    server: Server
    pid: int
    port: int
    start: float
    """Seconds from its start to its first answer to a call."""


def free_port() -> int:
    """Return a port that nobody has now."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def running(
    server: Server, *, port: int, core: int, tokens: list[str], log: Path
) -> Iterator[Running]:
    """Run a server on a core until the block ends; what it says goes to ``log``.

    Raises RuntimeError if it does not start, or lets in whom it should not.
    """
    began = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *server.command],
            cwd=server.folder,
            env={**os.environ, **server.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        request = wire.mcp_request(server.eras[0], tokens[0], port=port)
        while (first := _first_answer(port, request)) is None:
            if process.poll() is not None or time.monotonic() > began + PATIENCE:
                said = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{server.name} does not start: {said}")
            time.sleep(0.002)
        start = time.monotonic() - began
        _require(first == 200, server, f"answers the first call with {first}")
        check(server, port=port, token=tokens[-1])
        yield Running(server, process.pid, port, start)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def check(server: Server, *, port: int, token: str) -> None:
    """Raise RuntimeError unless a call is answered right, and one with a bad token by 401."""
    for era in server.eras:
        status, body = ask(port, wire.mcp_request(era, token, port=port))
        _require(status == 200, server, f"{era}: answers {status} {body!r}")
        result = json.loads(body)["result"]
        content = result["content"]
        right = content[0]["text"] == wire.SUM and not result.get("isError")
        _require(right and len(content) == 1, server, f"{era}: answers {body!r}")
        _require("structuredContent" not in result, server, f"{era}: has structured content")
        if server.checks_tokens:
            bad, _ = ask(port, wire.mcp_request(era, token[:-4] + "AAAA", port=port))
            _require(bad == 401, server, f"{era}: answers {bad} to a bad token")


def ask(port: int, request: bytes) -> tuple[int, bytes]:
    """Send one request on a connection of its own; return status and body."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection, method="POST")
        response.begin()
        return response.status, response.read()


def _first_answer(port: int, request: bytes) -> int | None:
    with suppress(OSError, http.client.HTTPException):
        return ask(port, request)[0]
    return None


def _require(fulfilled: bool, server: Server, complaint: str) -> None:
    if not fulfilled:
        raise RuntimeError(f"{server.name} {complaint}")

"""Clients that never stop asking, and notice every request that nobody answers."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from e2e.process import PATIENCE, Process
from exchanges import HANDSHAKE, enveloped, modern_headers, request


@dataclass
class Load:
    """What was answered, and what was not."""

    address: str
    requests: tuple[bytes, ...]
    """One for each era of the protocol."""
    statuses: list[int] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    """When each request was sent that was never answered."""
    _over: bool = False

    async def more(self, count: int = 100) -> None:
        """Wait until so many more have been answered."""
        before = len(self.statuses)
        async with asyncio.timeout(PATIENCE):
            while len(self.statuses) < before + count:
                await asyncio.sleep(0.005)

    async def _ask(self, number: int) -> None:
        asked, keep = self.requests[number % 2], number % 3 > 0
        parts = urlsplit(self.address)
        while not self._over:
            try:
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            except ConnectionError:  # Nothing was sent yet.
                await asyncio.sleep(0.05)
                continue
            try:
                while not self._over and await self._answered(reader, writer, asked) and keep:
                    pass
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    async def _answered(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytes
    ) -> bool:
        """Ask once; return whether the connection can be used again."""
        sent = time.monotonic()
        writer.write(asked)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.lost.append(sent)
            return False
        self.statuses.append(int(head.split()[1]))
        return b"connection: close" not in head


@asynccontextmanager
async def load(server: Process, token: str, *, clients: int = 24) -> AsyncIterator[Load]:
    """Keep a server busy: by clients that keep their connection, and by some that never do."""
    host = urlsplit(server.url).netloc
    made = Load(server.address, (asked(host, token, modern=False), asked(host, token, modern=True)))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(made._ask(number)) for number in range(clients)]
        await made.more()
        yield made
        made._over = True
        _, waiting = await asyncio.wait(tasks, timeout=5)
        for task in waiting:
            task.cancel()
        assert not waiting, "not answered"


def asked(host: str, token: str, *, modern: bool) -> bytes:
    """Return a request for the list of tools."""
    params = enveloped({}) if modern else {}
    body = json.dumps(request("tools/list", params))
    lines = modern_headers("tools/list") if modern else [("MCP-Protocol-Version", HANDSHAKE)]
    told = {
        "Host": host,
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Content-Length": str(len(body)),
        **dict(lines),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"POST /mcp HTTP/1.1\r\n{head}\r\n{body}".encode()

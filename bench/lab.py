"""Where everything is measured: two cores, a folder, a PostgreSQL, and load for what runs here."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import load, postgres, servers, subject, wire
from bench.load import Load
from bench.machine import Cores
from bench.postgres import Postgres
from bench.servers import Running, Server
from bench.subject import Subject
from bench.wire import ERAS, Era


@dataclass(frozen=True)
class Lab:
    """All that measurements share."""

    cores: Cores
    folder: Path
    postgres: Postgres

    def install(self, name: str, tree: Path, plugins: Mapping[str, Any] = subject.SMALL) -> Subject:
        """Install the mcpserve of a tree, with a database and a port of its own."""
        return subject.prepare(
            name,
            tree,
            postgres=self.postgres,
            port=servers.free_port(),
            folder=self.folder,
            plugins=plugins,
        )

    def started(
        self, installed: Subject, server: Server | None = None
    ) -> AbstractContextManager[Running]:
        """Run an installation, or a peer in its place: same port, tokens and database."""
        server = server or installed.server
        return servers.running(
            server,
            port=installed.port,
            core=self.cores.server,
            tokens=installed.access,
            log=self.folder / f"{server.name}.log",
        )

    def load(
        self, installed: Subject, pid: int, era: Era, connections: int, *, seconds: int
    ) -> Load:
        """Call the tool with all tokens in turn."""
        return self._load(installed, pid, (era,), connections=connections, seconds=seconds)

    def warm_up(
        self, installed: Subject, pid: int, eras: tuple[Era, ...] = ERAS, *, seconds: int
    ) -> None:
        """Let caches fill and compilers work."""
        self._load(installed, pid, eras, connections=16, seconds=seconds)

    def _load(
        self, at: Subject, pid: int, eras: tuple[Era, ...], *, connections: int, seconds: int
    ) -> Load:
        requests = [
            wire.mcp_request(era, token, port=at.port) for token in at.access for era in eras
        ]
        return self.load_with(requests, at.port, pid, connections=connections, seconds=seconds)

    def load_with(
        self, requests: list[bytes], port: int, pid: int, *, connections: int, seconds: int
    ) -> Load:
        """Send these requests in turn to the process ``pid``."""
        return load.run(
            wire.write(self.folder / "requests", requests),
            port=port,
            connections=connections,
            seconds=seconds,
            server=pid,
            database=self.postgres.pid,
        )


@contextmanager
def opened() -> Iterator[Lab]:
    """Keep the server's core free, and clear away in the end."""
    cores = Cores.available()
    cores.leave_the_server_alone()
    with (
        tempfile.TemporaryDirectory(prefix="mcpserve-bench-") as folder,
        postgres.running() as database,
    ):
        yield Lab(cores, Path(folder), database)

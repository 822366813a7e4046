"""The PostgreSQL of the benchmark: a cluster of its own with the settings of the embedded one."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg2

from mcpserve import embedded


@dataclass(frozen=True)
class Postgres:
    """A server that runs."""

    pid: int
    version: str
    dsn: str
    socket: Path
    """The folder of its socket."""

    def url(self, database: str) -> str:
        """Return an URL that libpq, asyncpg and node-postgres understand alike."""
        return f"postgresql://{embedded.NAME}@/{database}?host={quote(str(self.socket), safe='')}"

    def create(self, database: str) -> str:
        """Make an empty database anew and return its URL."""
        with closing(psycopg2.connect(self.dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
                cursor.execute(f"CREATE DATABASE {database}")
        return self.url(database)


@contextmanager
def running() -> Iterator[Postgres]:
    """Start it on the cores of this process; it and its data go at the end."""
    folder = Path(tempfile.mkdtemp(prefix="mcpserve-bench-"))
    try:
        folder.chmod(0o711)  # for root, whose server runs as another user
        server = embedded.start(folder)
        try:
            pid = int((server.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
            yield Postgres(pid, server.version, server.dsn, server.socket_path.parent)
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)

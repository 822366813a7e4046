"""What is seen of a server from outside, and by a tool inside of it, at one moment."""

import json
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from bench import machine, servers, wire
from bench.subject import Subject

CONNECTIONS = """
SELECT count(*) FILTER (WHERE state = 'idle') AS idle,
       count(*) FILTER (WHERE state <> 'idle') AS used
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
TABLES = """
SELECT relname, pg_total_relation_size(relid) FROM pg_stat_user_tables
WHERE pg_total_relation_size(relid) > 0 ORDER BY relname
"""


@dataclass(frozen=True)
class Sample:
    """One moment of a server."""

    at: float
    """Seconds since the load began."""
    rss: float
    """MiB, as ``pss``."""
    pss: float
    descriptors: int
    """Open files and sockets, without connections to the database."""
    threads: int
    tasks: int
    objects: int
    idle: int
    """Connections to the database that nobody uses, of the pool and for commands."""
    used: int
    log_bytes: int
    requests: int
    """That were sent until now."""
    tables: dict[str, int]
    """Bytes with indexes, by name."""


@dataclass(frozen=True)
class Watcher:
    """Samples a server that runs."""

    installed: Subject
    pid: int
    log: Path
    began: float

    def sample(self, requests: int) -> Sample:
        """Look now. Blocks for some milliseconds."""
        with closing(psycopg2.connect(self.installed.database)) as connection:
            cursor = connection.cursor()
            cursor.execute(CONNECTIONS)
            idle, used = cursor.fetchone() or (0, 0)
            cursor.execute(TABLES)
            tables = dict(cursor.fetchall())
        process = machine.PROC / str(self.pid)
        memory = machine.memory(self.pid)
        descriptors = len(list((process / "fd").iterdir()))
        return Sample(
            at=round(time.monotonic() - self.began, 1),
            rss=round(memory.rss, 2),
            pss=round(memory.pss, 2),
            descriptors=descriptors - idle - used,
            threads=len(list((process / "task").iterdir())),
            idle=idle,
            used=used,
            log_bytes=self.log.stat().st_size,
            requests=requests,
            tables=tables,
            **self._inside(),
        )

    def _inside(self) -> dict[str, int]:
        at = self.installed
        params = {"name": "inside", "arguments": {}}
        request = wire.mcp_request("modern", at.access[-1], port=at.port, params=params)
        status, body = servers.ask(at.port, request)
        if status != 200:
            return {"tasks": -1, "objects": -1}
        counts: dict[str, int] = json.loads(json.loads(body)["result"]["content"][0]["text"])
        return counts

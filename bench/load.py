"""wrk: so many connections, each asking again as soon as it has its answer."""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench import machine

SCRIPT = Path(__file__).with_name("load.lua")
QUIET, KERNEL = 0.12, 0.00003
"""Cores that others may use beside a measurement; and what the kernel does for a request a second,
in nobody's name."""


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw, and what it cost the server."""

    rate: float
    """Requests a second."""
    cpu: float
    """Microseconds of the server's core for a request."""
    p50: float
    """Milliseconds, as ``p99``."""
    p99: float
    database: float
    """Cores that PostgreSQL used."""
    other: float
    """Cores that nobody of us used."""

    @property
    def disturbed(self) -> bool:
        """Whether others took so much that the run says little."""
        return self.other > QUIET + KERNEL * self.rate


def run(
    requests: Path, *, port: int, connections: int, seconds: int, server: int, database: int
) -> Load:
    """Send these requests again and again; ``server`` and ``database`` are process ids.

    Raises RuntimeError for any answer that is no success.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(SCRIPT), f"http://127.0.0.1:{port}/", "--", str(requests)]
    before = _used(server, database)
    wrk = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output, _ = wrk.communicate()
    after = _used(server, database)
    if wrk.returncode:
        raise RuntimeError(f"wrk failed: {output}")
    told = json.loads(output.strip().splitlines()[-1])
    if told["failed"]:
        raise RuntimeError(f"{told['failed']} of {told['requests']} requests failed")
    if not told["requests"]:  # On a busy machine a second may pass without an answer.
        return run(
            requests,
            port=port,
            connections=connections,
            seconds=2 * seconds,
            server=server,
            database=database,
        )
    wall, busy, cpu, sql, ours = (b - a for a, b in zip(before, after, strict=True))
    return Load(
        rate=told["requests"] / told["seconds"],
        cpu=cpu / told["requests"] * 1e6,
        p50=told["p50"],
        p99=told["p99"],
        database=sql / wall,
        other=max(0.0, busy - cpu - sql - ours) / wall,
    )


def _used(server: int, database: int) -> tuple[float, float, float, float, float]:
    """Return wall time and the CPU time of everybody, server, database, and wrk with us."""
    times = os.times()
    ours = times.user + times.system + times.children_user + times.children_system
    return (
        time.monotonic(),
        machine.busy_seconds(),
        machine.family_cpu_seconds(server),
        machine.family_cpu_seconds(database),
        ours,
    )

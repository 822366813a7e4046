"""Becoming a supervisor, in place of the program that was started."""

import importlib.util
import math
import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from mcpserve.errors import ConfigError
from mcpserve.processes.plan import Log, Plan
from mcpserve.settings import Settings

CONNECTIONS = 90
"""What ``auto`` leaves of the hundred connections that PostgreSQL allows by default."""

CLOSE_TIMEOUT = 20.0
"""Seconds after its last request in which a process has ended, or has ended itself."""

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""What a container may use of all cores: microseconds in a period, and the period."""


def count(settings: Settings) -> int:
    """Return how many processes are to serve."""
    return resolve(
        settings.server.processes,
        embedded=not settings.database.url.get_secret_value(),
        pool_size=settings.database.pool_size,
    )


def resolve(asked: int | str, *, embedded: bool, pool_size: int) -> int:
    """Return the number that is asked for; for ``auto``, one that suits machine and database."""
    if isinstance(asked, int):
        return asked
    # It is meant for small machines, and for one's own.
    if embedded:
        return 1
    # One of them has one more connection, which listens.
    return max(1, min(cores(), (CONNECTIONS - 1) // pool_size))


def cores(quota: Path = QUOTA) -> int:
    """Return how many cores this process may use, a part of one counting as one."""
    allowed = getattr(os, "sched_getaffinity", None)
    count = len(allowed(0)) if allowed else os.cpu_count() or 1
    try:
        share, period = quota.read_text().split()
        return min(count, max(1, math.ceil(int(share) / int(period))))
    except (OSError, ValueError):  # No such file, or "max".
        return count


def become_supervisor(
    settings: Settings, sockets: Iterable[socket.socket], *, count: int
) -> NoReturn:
    """Go on as the supervisor of processes that listen on these sockets.

    It has the id that this process has. Each of its processes is started with the command line
    that this one was started with.
    """
    descriptors = [each.detach() for each in sockets]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    external = bool(settings.database.url.get_secret_value())
    plan = Plan(
        count=count,
        command=command(),
        sockets=descriptors,
        log=Log(settings.log.level, settings.log.format),
        data_dir=None if external else str(settings.data_dir),
        # Commands connect as well, and a server that is being replaced.
        connections=max(50, (count + 1) * settings.database.pool_size + 10),
        patience=settings.server.shutdown_grace.total_seconds() + CLOSE_TIMEOUT,
    )
    os.execv(sys.executable, supervisor(plan))  # noqa: S606


def command() -> list[str]:
    """Return what started this program, to start it again."""
    return [sys.executable, *sys.orig_argv[1:]]


def supervisor(plan: Plan) -> list[str]:
    """Return what starts a supervisor, which may have been compiled without its source."""
    spec = importlib.util.find_spec("mcpserve.processes.main")
    if spec is None or spec.origin is None:
        raise ConfigError("server.processes: this installation can have one process only")
    isolated = ["-I"] if sys.flags.isolated else []
    return [sys.executable, "-P", *isolated, spec.origin, plan.dumps()]

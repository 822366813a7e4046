"""Two servers as an operator runs them: behind HAProxy, with PostgreSQL behind pgbouncer.

Both programs read the files of deploy/, with the addresses of a test in place of an operator's.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chromium
import httpx
import pytest
from browser import Browser
from e2e.process import Process, add_user, configure, end, free_port, open_folder, started, until
from postgres import query
from psycopg2 import OperationalError
from psycopg2.extensions import make_dsn, parse_dsn
from tls import Authority

DEPLOY = Path(__file__).parents[2] / "deploy"
PROGRAMS = ("haproxy", "pgbouncer")
NAMES = ("one", "two")
POOL = 20
"""Connections to PostgreSQL in deploy/pgbouncer.ini."""


@dataclass(frozen=True)
class Site:
    """What clients see; :class:`serving.Flow` goes through it like through one server."""

    url: str
    replicas: tuple[Process, Process]
    pooled: str
    """DSN of the database through pgbouncer."""
    _log: Path

    @property
    def resource(self) -> str:
        """The MCP endpoint."""
        return f"{self.url}/mcp"

    def http(self, *, source: str = "127.0.0.1", **options: Any) -> httpx.AsyncClient:
        """Return a client with an address of its own, whose requests go to one and the other."""
        transport = httpx.AsyncHTTPTransport(verify=False, local_address=source)
        return httpx.AsyncClient(base_url=self.url, transport=transport, **options)

    def browser(self) -> Browser:
        """Return a new browser."""
        return Browser(self.url)

    @property
    def served(self) -> list[tuple[str, str]]:
        """Who got which request: the name of the replica, and method and path."""
        lines = [line.split() for line in self._log.read_text().splitlines()]
        return [(line[1], " ".join(line[-2:])) for line in lines if len(line) == 7]


def require_programs() -> None:
    """Install what is missing; skip the test where that cannot be done."""
    # Debian keeps servers out of the PATH of ordinary people.
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing and not chromium.can_be_installed():
        pytest.skip(f"{' and '.join(missing)} cannot be installed here: only root could")
    if missing:
        chromium.install(missing)


@contextmanager
def site(dsn: str, packages: Path, **sections: Mapping[str, Any]) -> Iterator[Site]:
    """Start everything, with plugins of a folder; ``sections`` on top of what tests use."""
    port = free_port()
    with ExitStack() as stack:
        folder = stack.enter_context(open_folder())
        pooled = stack.enter_context(pgbouncer(folder, dsn))
        public = f"https://localhost:{port}"
        server = {"public_url": public, "trusted_proxies": ["127.0.0.1"]}
        replicas = []
        for name in NAMES:
            (folder / name).mkdir()
            path = configure(folder / name, dsn=pooled, server=server, **sections)
            with path.open("a") as config:
                config.write(f"plugins_dir: {packages}\n")
            if not replicas:
                add_user(path)
            replicas.append(stack.enter_context(started(path)))
        stack.enter_context(haproxy(folder, port, [each.address for each in replicas]))
        yield Site(replicas[0].url, (replicas[0], replicas[1]), pooled, folder / "haproxy.log")


@contextmanager
def pgbouncer(folder: Path, dsn: str, *, mode: str = "transaction") -> Iterator[str]:
    """Run it in front of a database, pooling transactions or sessions, and yield the DSN."""
    parts = parse_dsn(dsn)
    user, port = parts["user"], str(free_port())
    parts.setdefault("port", "5432")
    users = folder / "userlist.txt"
    users.write_text(f'"{user}" "secret"\n')
    known = {name: parts[name] for name in ("host", "port", "dbname", "password") if name in parts}
    text = substituted(
        DEPLOY / "pgbouncer.ini",
        {
            "host=10.0.0.5 port=5432 dbname=mcpserve": make_dsn(**known),
            "listen_addr = 10.0.0.6": "listen_addr = 127.0.0.1",
            "listen_port = 6432": f"listen_port = {port}",
            "/etc/pgbouncer/userlist.txt": str(users),
            "pool_mode = transaction": f"pool_mode = {mode}",
        },
    )
    path = folder / "pgbouncer.ini"
    path.write_text(text)
    through = make_dsn(host="127.0.0.1", port=port, user=user, password="secret", dbname="mcpserve")
    # It refuses root; and nobody but the owner may use the socket of a cluster of ours.
    owner = os.stat(parts["host"]).st_uid if os.path.isdir(parts.get("host", "")) else 65534
    log = folder / "pgbouncer.log"
    with running(["pgbouncer", str(path)], log, ready=lambda: answers(through), owner=owner):
        yield through


@contextmanager
def haproxy(folder: Path, port: int, addresses: list[str]) -> Iterator[None]:
    """Run it in front of these servers."""
    Authority(folder).context("localhost")
    one, two = (address.removeprefix("http://") for address in addresses)
    path = folder / "haproxy.cfg"
    path.write_text(
        substituted(
            DEPLOY / "haproxy.cfg",
            {
                "bind :443": f"bind 127.0.0.1:{port}",
                "/etc/haproxy/mcp.pem": str(folder / "server.pem"),
                "server one 10.0.0.11:3000": f"server one {one}",
                "server two 10.0.0.12:3000": f"server two {two}",
            },
        )
    )
    url = f"https://127.0.0.1:{port}/healthz"
    with (
        httpx.Client(verify=False, trust_env=False) as http,
        running(
            ["haproxy", "-db", "-f", str(path)],
            folder / "haproxy.log",
            ready=lambda: is_up(http, url),
        ),
    ):
        yield


@contextmanager
def running(
    command: list[str], log: Path, *, ready: Callable[[], bool], owner: int | None = None
) -> Iterator[None]:
    """Run a program, as somebody else if we are root, and wait until it is ready."""
    options = {"user": owner, "group": owner} if owner and os.geteuid() == 0 else {}
    with log.open("wb") as output:
        popen = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options
        )

    def is_ready() -> bool:
        assert popen.poll() is None, log.read_text()
        return ready()

    try:
        until(is_ready)
        yield
    finally:
        end(popen)


def substituted(path: Path, values: Mapping[str, str]) -> str:
    """Return a file of deploy/ with other values; each one stands in it exactly once."""
    text = path.read_text("utf-8")
    for old, new in values.items():
        assert text.count(old) == 1, f"{path.name} has {old!r} {text.count(old)} times"
        text = text.replace(old, new)
    return text


def answers(dsn: str) -> bool:
    """Tell whether a database can be reached."""
    try:
        return bool(query(dsn, "SELECT 1"))
    except OperationalError:
        return False


def is_up(http: httpx.Client, url: str) -> bool:
    """Tell whether a page answers."""
    try:
        return http.get(url).status_code == 200
    except httpx.TransportError:
        return False

"""The embedded PostgreSQL: one cluster below ``data_dir``, run as a child of this process.

The server ends with the process that started it, however that process ends. Everything is decided
under one file lock beside the data; who does not get the lock shares the server.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from mcpserve import postgres_binaries
from mcpserve.errors import EmbeddedPostgresError

if sys.platform != "win32":
    import fcntl
    import pwd

NAME = "mcpserve"
"""The database and its superuser."""

SOCKET = ".s.PGSQL.5432"

SOCKET_PATH_BYTES = 100
"""Systems allow 103 to 107."""

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    # Ends a statement whose client was cancelled or has gone.
    "client_connection_check_interval": "500ms",
    # A laptop's share of memory and disk.
    "max_connections": "50",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    # The log tells of the server's life only; the application reports its own errors.
    "log_min_messages": "log",
    "log_checkpoints": "off",
}

ROOT_HOME = Path("/var/lib/mcpserve")
"""Where root's clusters go when the user that runs PostgreSQL for root cannot reach data_dir."""

PATIENCE = 60.0
"""Seconds for a start, also for the start of another process; a crash recovery takes a few."""


@dataclass(frozen=True)
class EmbeddedPostgres:
    """A server that is ready. The process that started it owns it, others are guests.

    A guest loses the server when the owner goes away; ``start`` then finds or starts another.
    """

    dsn: str
    """For libpq, over the Unix socket; leaves nothing to ``PG*`` variables."""
    version: str
    data_dir: Path
    """Holds the cluster (``postgres``), its lock and its log; not always the one asked for."""
    socket_path: Path
    """Where it listens."""
    _owned: ExitStack = field(default_factory=ExitStack, repr=False, compare=False)

    def is_running(self) -> bool:
        """Whether somebody still listens; one that is only slow counts."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self.socket_path))
            except (ConnectionRefusedError, FileNotFoundError):
                return False
            except OSError:
                return True
        return True

    def stop(self) -> None:
        """Stop the server and wait until it is gone, if it is ours; otherwise do nothing."""
        self._owned.close()


def start(
    data_dir: Path, *, settings: Mapping[str, str] = {}, _root_home: Path = ROOT_HOME
) -> EmbeddedPostgres:
    """Start the cluster in ``data_dir/postgres``, or attach to the server that runs it.

    ``settings`` are server settings on top of ``SETTINGS``. Call it from the main thread, before
    the event loop runs: on Linux the server follows the thread that started it. What root cannot
    share with the user that runs PostgreSQL for it goes below ``ROOT_HOME`` (see ``.data_dir``).
    Raises EmbeddedPostgresError.
    """
    if sys.platform == "win32":
        raise EmbeddedPostgresError("no embedded PostgreSQL on Windows: set DATABASE_URL")
    try:
        cluster = _choose_cluster(data_dir.resolve(), _root_home)
        with ExitStack() as owned:
            lock = owned.enter_context(open(cluster.home / "postgres.lock", "ab", buffering=0))
            if server := _lock_or_attach(cluster, lock):
                return server
            lock.truncate(0)
            binaries, version = _prepare(cluster, durable=settings.get("fsync") != "off")
            socket_dir = _socket_dir(cluster)
            process = _launch(cluster, binaries, socket_dir=socket_dir, settings=settings)
            owned.callback(_shut_down, process, lock=lock, socket_dir=socket_dir)
            _wait_until_ready(cluster, process)
            _create_database(cluster, binaries, socket_dir=socket_dir)
            lock.write(json.dumps([version, str(socket_dir)]).encode())
            return EmbeddedPostgres(
                _dsn(socket_dir), version, cluster.home, socket_dir / SOCKET, owned.pop_all()
            )
    except OSError as error:
        raise EmbeddedPostgresError(
            f"cannot keep the embedded PostgreSQL in {data_dir} ({error});"
            " set data_dir to a folder that this user may write, or DATABASE_URL"
        ) from error


@dataclass(frozen=True)
class _Cluster:
    """Where a cluster is, and which user runs it, because PostgreSQL refuses root."""

    home: Path
    uid: int
    gid: int

    @property
    def data(self) -> Path:
        """The data directory in PostgreSQL's sense."""
        return self.home / "postgres"

    def run(self, *command: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command as the cluster's user."""
        options = postgres_binaries.child_options(self.uid, self.gid)
        return subprocess.run(  # noqa: S603, PLW1510
            command, input=stdin, capture_output=True, encoding="utf-8", errors="replace", **options
        )

    def reaches(self, path: Path) -> bool:
        """Tell whether the cluster's user may enter this folder or run this program."""
        return self.run("/bin/sh", "-c", 'test -x "$0"', path).returncode == 0


def _choose_cluster(data_dir: Path, root_home: Path) -> _Cluster:
    """Return the cluster for ``data_dir``: an existing one with its owner, or where to make it."""
    if os.geteuid() != 0:
        data_dir.mkdir(parents=True, exist_ok=True)
        return _Cluster(data_dir, os.geteuid(), os.getegid())
    user = _unprivileged_user()
    elsewhere = root_home / _short_hash(data_dir)
    for home in (data_dir, elsewhere):
        with suppress(FileNotFoundError):
            owner = (home / "postgres").stat()
            return _Cluster(home, owner.st_uid or user.pw_uid, owner.st_gid or user.pw_gid)
    data_dir.mkdir(parents=True, exist_ok=True)
    cluster = _Cluster(data_dir, user.pw_uid, user.pw_gid)
    if cluster.reaches(data_dir):
        return cluster
    for folder in (root_home, elsewhere):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
    return _Cluster(elsewhere, user.pw_uid, user.pw_gid)


def _unprivileged_user() -> "pwd.struct_passwd":
    """Return the user that runs PostgreSQL for root."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _lock_or_attach(cluster: _Cluster, lock: IO[bytes]) -> EmbeddedPostgres | None:
    """Return the server of the process that holds the lock, or None once the lock is ours."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        # What the lock file says may be missing (still starting) or stale (its author was killed).
        with suppress(ValueError, OSError), socket.socket(socket.AF_UNIX) as probe:
            version, socket_dir = json.loads((cluster.home / "postgres.lock").read_bytes())
            path = Path(socket_dir, SOCKET)
            probe.connect(str(path))
            return EmbeddedPostgres(_dsn(path.parent), version, cluster.home, path)
        time.sleep(0.02)
    raise EmbeddedPostgresError(
        f"another process holds {cluster.home / 'postgres.lock'} but its PostgreSQL does not"
        " answer: stop that process and start again"
    )


def _prepare(cluster: _Cluster, *, durable: bool) -> tuple[Path, str]:
    """Make the cluster if it is missing, clear what a crash left; return programs and version."""
    for leftover in cluster.home.glob(f"{postgres_binaries.TEMPORARY}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    binaries = postgres_binaries.find()
    version = postgres_binaries.version(binaries)
    if not cluster.reaches(binaries / "postgres"):
        binaries = postgres_binaries.copy(binaries, cluster.home)
    major = re.split(r"\D", version)[0]
    marker = cluster.data / "PG_VERSION"
    if not marker.exists():
        _initialise(cluster, binaries, major=int(major), durable=durable)
    elif (found := marker.read_text().strip()) != major:
        raise EmbeddedPostgresError(
            f"{cluster.data} was made by PostgreSQL {found}, but {binaries} has {version}:"
            f" set MCPSERVE_PG_BIN to the programs of {found}, or move the folder away"
        )
    _clear_pid_file(cluster)
    return binaries, version


def _initialise(cluster: _Cluster, binaries: Path, *, major: int, durable: bool) -> None:
    """Make an empty cluster; it gets its name only when it is complete."""
    if cluster.data.exists() and any(cluster.data.iterdir()):
        raise EmbeddedPostgresError(
            f"{cluster.data} is not a database of PostgreSQL but not empty: move it away"
        )
    new = Path(tempfile.mkdtemp(prefix=postgres_binaries.TEMPORARY, dir=cluster.home))
    options = ["--locale=C", "--encoding=UTF8", "--auth=trust", f"--username={NAME}"]
    if major >= 17:  # the same order of text, but letters beyond ASCII have upper and lower case
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    if not durable:
        options += ["--no-sync"]
    try:
        os.chown(new, cluster.uid, cluster.gid)
        made = cluster.run(binaries / "initdb", *options, "-D", new)
        if made.returncode:
            raise EmbeddedPostgresError(
                f"cannot make a database in {cluster.home}: {_reason(made.stdout + made.stderr)};"
                " correct that, or set data_dir to another folder"
            )
        new.rename(cluster.data)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _clear_pid_file(cluster: _Cluster) -> None:
    """Stop a server that outlived its owner; remove a pid file that names another program.

    The pid file of a process that is gone stays: PostgreSQL wants to look into it.
    """
    pid_file = cluster.data / "postmaster.pid"
    with suppress(FileNotFoundError):
        first = pid_file.read_text().partition("\n")[0]
        pid = int(first) if first.isdigit() else 0
        if pid and _serves(pid, cluster):
            _end(pid, alive=lambda: _serves(pid, cluster))
        elif not first or (pid and _exists(pid)):  # empty when the disk was full
            pid_file.unlink()


def _exists(pid: int) -> bool:
    """Tell whether there is a process with this id, whoever owns it."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def _serves(pid: int, cluster: _Cluster) -> bool:
    """Tell whether this process is a server of the cluster: the data is its working directory."""
    process = Path("/proc", str(pid))
    if not process.parent.exists():  # macOS
        shown = cluster.run("/bin/ps", "-ww", "-o", "command=", "-p", str(pid))
        return str(cluster.data) in shown.stdout
    with suppress(OSError):
        try:
            return process.joinpath("cwd").samefile(cluster.data)
        except PermissionError:  # another user's; also for a root without CAP_SYS_PTRACE
            return os.fsencode(cluster.data) in process.joinpath("cmdline").read_bytes()
    return False


def _socket_dir(cluster: _Cluster) -> Path:
    """Return the private folder of the socket, without what a crash left in it."""
    folder = cluster.data
    if len(os.fsencode(folder / SOCKET)) > SOCKET_PATH_BYTES or "," in str(folder):  # libpq splits
        folder = Path("/tmp", f"mcpserve-{cluster.uid}-{_short_hash(folder)}")  # noqa: S108
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            os.chown(folder, cluster.uid, cluster.gid)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != cluster.uid or found.st_mode & 0o77:
            raise EmbeddedPostgresError(
                f"{folder} is not a private folder of user {cluster.uid}: remove it,"
                " or set data_dir to a folder with a shorter path"
            )
    for name in (SOCKET, f"{SOCKET}.lock"):
        (folder / name).unlink(missing_ok=True)
    return folder


def _launch(
    cluster: _Cluster, binaries: Path, *, socket_dir: Path, settings: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start the server; its log begins anew, so that it cannot grow for ever."""
    quoted = str(socket_dir).replace('"', '""')
    values = {**SETTINGS, **settings, "unix_socket_directories": f'"{quoted}"'}
    with open(cluster.home / "postgres.log", "wb") as log:
        return subprocess.Popen(  # noqa: S603
            [binaries / "postgres", "-D", cluster.data, *(f"--{k}={v}" for k, v in values.items())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us: requests in flight need the server
            **postgres_binaries.child_options(cluster.uid, cluster.gid),
        )


def _wait_until_ready(cluster: _Cluster, process: subprocess.Popen[bytes]) -> None:
    """Return when the server takes connections, which the eighth line of its pid file tells."""
    log = cluster.home / "postgres.log"
    pid_file = cluster.data / "postmaster.pid"

    def ready() -> bool:
        if process.poll() is not None:
            raise EmbeddedPostgresError(
                f"PostgreSQL did not start in {cluster.data}:"
                f" {_reason(log.read_text(errors='replace'))}; see {log}"
            )
        lines = pid_file.read_text().splitlines() if pid_file.exists() else []
        return lines[:1] == [str(process.pid)] and lines[7:8] == ["ready   "]

    if not _wait(ready, PATIENCE):
        raise EmbeddedPostgresError(
            f"PostgreSQL in {cluster.data} is not ready after {PATIENCE:.0f} seconds: see {log}"
        )


def _create_database(cluster: _Cluster, binaries: Path, *, socket_dir: Path) -> None:
    """Create the database if it is missing."""
    statement = (
        f"select 'create database {NAME}'"  # noqa: S608
        f" where not exists (select from pg_database where datname = '{NAME}') \\gexec"
    )
    dsn = _dsn(socket_dir, database="postgres")
    created = cluster.run(binaries / "psql", "-Xq", "-vON_ERROR_STOP=1", "-d", dsn, stdin=statement)
    if created.returncode:
        raise EmbeddedPostgresError(
            f"cannot create the database {NAME} in {cluster.data}: {_reason(created.stderr)};"
            f" see {cluster.home / 'postgres.log'}"
        )


def _shut_down(process: subprocess.Popen[bytes], *, lock: IO[bytes], socket_dir: Path) -> None:
    """End our server. In a forked child of its owner do nothing: it has no such child."""
    if process.poll() is not None:
        return
    lock.truncate(0)  # nobody attaches from here on
    _end(process.pid, alive=lambda: process.poll() is None)
    with suppress(OSError):  # only an empty folder goes, so never the data
        socket_dir.rmdir()


def _end(pid: int, *, alive: Callable[[], bool]) -> None:
    """Make a server break off its transactions, and wait until it is gone; insist if need be."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if _wait(lambda: not alive(), PATIENCE / 2):
            return
    raise EmbeddedPostgresError(f"PostgreSQL does not stop: end process {pid} and start again")


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _dsn(socket_dir: Path, *, database: str = NAME) -> str:
    """Return a connection string that leaves nothing to the environment."""
    host = re.sub(r"([\\'])", r"\\\1", str(socket_dir))
    return (
        f"host='{host}' hostaddr='' port=5432 dbname={database} user={NAME}"
        " options='' client_encoding=UTF8 sslmode=disable"
    )


def _reason(output: str) -> str:
    """Return the one line of a program's output that says why it failed."""
    for pattern in (r"(?:FATAL|PANIC|ERROR|error): +(.+)", r"(.*could not .+)", r"(.+)\s*\Z"):
        if found := re.search(pattern, output):
            return found[1].strip()
    return "it gave no reason"


def _short_hash(path: Path) -> str:
    """Return a short name that only this path has."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]

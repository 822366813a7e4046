"""A really started server: a process of its own, with its own configuration, port and output."""

import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import yaml
from browser import Browser
from click.testing import CliRunner, Result
from serving import DEFAULTS, PASSWORD, USER

from mcpserve import config
from mcpserve.cli import main

PATIENCE = 30.0
"""Seconds after which what should have happened counts as not happening."""


@dataclass(frozen=True)
class Process:
    """One ``mcpserve serve``. :class:`serving.Flow` goes through it like through any server."""

    config: Path
    url: str
    """What it is called from outside."""
    address: str
    """Where it listens."""
    popen: "subprocess.Popen[bytes]"

    @classmethod
    def of(cls, path: Path, popen: "subprocess.Popen[bytes]", **env: str) -> Self:
        """Return what this configuration makes of the process."""
        server = config.load(path, env).settings.server
        return cls(path, server.issuer, f"http://127.0.0.1:{server.port}", popen)

    @property
    def resource(self) -> str:
        """The MCP endpoint, as the server names it."""
        return f"{self.url}/mcp"

    @property
    def output(self) -> str:
        """What was written to standard output."""
        return self.config.with_name("stdout").read_text()

    @property
    def log(self) -> str:
        """What was written to standard error."""
        return self.config.with_name("stderr").read_text()

    def http(self, **options: Any) -> httpx.AsyncClient:
        """Return a client that follows no redirects."""
        # Without TLS to check: loading the certificates takes longer than most requests.
        return httpx.AsyncClient(base_url=self.address, verify=False, trust_env=False, **options)

    def browser(self) -> Browser:
        """Return a new browser, logged in nowhere."""
        return Browser(self.url)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole process group, as a terminal does."""
        os.killpg(self.popen.pid, number)

    def wait(self) -> int:
        """Wait until the process has ended, and return its exit code."""
        return self.popen.wait(PATIENCE)

    def is_ready(self, http: httpx.Client) -> bool:
        """Tell whether it serves. Fails with the log when it has ended instead."""
        assert self.popen.poll() is None, f"ended with {self.popen.returncode}:\n{self.log}"
        with suppress(httpx.TransportError):
            return http.get(f"{self.address}/readyz").status_code == 200
        return False


def end(popen: "subprocess.Popen[bytes]") -> None:
    """End a process with SIGTERM; with force only if it does not go, which is an error."""
    if popen.poll() is not None:
        return
    popen.terminate()
    try:
        popen.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.wait()
        raise


def until(condition: Callable[[], Any]) -> Any:
    """Wait for the first true value of the condition, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return value


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def open_folder() -> Iterator[Path]:
    """Yield a new folder for an embedded database, whose user may not enter pytest's own."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="mcpserve-e2e-", dir=memory if memory.is_dir() else None))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def configure(folder: Path, *, dsn: str = "", **sections: Mapping[str, Any]) -> Path:
    """Write config.yaml for a server on a free port; ``sections`` on top of what tests use."""
    server = {"port": free_port(), "processes": 1}
    settings = {**DEFAULTS, "server": server, "database": {"url": dsn}}
    for section, values in sections.items():
        settings[section] = {**settings.get(section, {}), **values}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
    return path


def environment(**more: str) -> dict[str, str]:
    """Return this environment without what would configure a server, and with ``more``."""
    settings = {*config.SHORT_NAMES, *config.CLIENT_NAMES.values()}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in settings and not name.startswith(config.PREFIX)
    }
    return {**kept, **more}


@contextmanager
def started(path: Path, **env: str) -> Iterator[Process]:
    """Start a server and wait until it is ready; end it when the block ends."""
    command = [sys.executable, "-m", "mcpserve", "serve", "-c", str(path)]
    with (
        open(path.with_name("stdout"), "wb") as stdout,
        open(path.with_name("stderr"), "wb") as stderr,
    ):
        popen = subprocess.Popen(
            command,
            cwd=path.parent,
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,  # Signals to its group must not reach the tests.
        )
    process = Process.of(path, popen, **env)
    try:
        with httpx.Client(verify=False, trust_env=False) as http:
            until(lambda: process.is_ready(http))
        yield process
    finally:
        end(popen)


@dataclass
class Terminal:
    """A terminal with a command in its foreground."""

    popen: "subprocess.Popen[bytes]"
    _descriptor: int
    _bytes: bytearray = field(default_factory=bytearray)

    @property
    def shown(self) -> str:
        """All that was shown until now."""
        return self._bytes.decode(errors="replace")

    def type(self, text: str) -> None:
        """Type; ``\\x03`` is Ctrl-C."""
        os.write(self._descriptor, text.encode())

    def read_until(self, text: str) -> str:
        """Wait until this is shown after what was read before, and return what is new."""
        before = len(self.shown)
        until(lambda: text in self.shown[before:] or not self._read())
        assert text in self.shown[before:], self.shown
        return self.shown[before:]

    def read_to_the_end(self) -> str:
        """Wait until the command has let go of the terminal, and return all that was shown."""
        until(lambda: not self._read())
        return self.shown

    def _read(self) -> bool:
        """Read what is shown next; False if nobody is left who could show anything."""
        if not select.select([self._descriptor], [], [], PATIENCE)[0]:
            return True
        try:
            chunk = os.read(self._descriptor, 10_000)
        except OSError:  # What Linux says instead of an end of file.
            chunk = b""
        self._bytes += chunk
        return bool(chunk)


ATTACH = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"
"""Makes its standard input the controlling terminal, then becomes another program."""


@contextmanager
def at_terminal(path: Path, *words: str, **env: str) -> Iterator[Terminal]:
    """Run a command at a terminal of its own."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "mcpserve", "-c", str(path), *words]
    popen = subprocess.Popen(
        [sys.executable, "-c", ATTACH, *command],
        cwd=path.parent,
        env=environment(**env),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield Terminal(popen, ours)
    finally:
        end(popen)
        os.close(ours)


def invoke(path: Path, *words: str, stdin: str | bytes = "", **env: str) -> Result:
    """Run a command inside this process. Fails for what would be a traceback in one of its own."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    unset = dict.fromkeys(set(os.environ) - set(environment()))
    try:
        words = ("-c", str(path), *words)
        result = CliRunner().invoke(
            main, words, input=stdin, env={**unset, **env}, prog_name="mcpserve"
        )
    finally:  # Some commands configure the logging of the whole process.
        root.handlers[:] = handlers
        root.setLevel(level)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def add_user(path: Path, name: str = USER, password: str = PASSWORD) -> None:
    """Add a person."""
    added = invoke(path, "user", "add", name, "--password-stdin", stdin=password)
    assert added.exit_code == 0, added.stderr

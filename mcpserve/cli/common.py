"""What the commands share: loading the configuration, opening the database, telling errors."""

import asyncio
import functools
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from mcpserve import config, log, migrate, plugins_dir
from mcpserve.cli.operator import operator
from mcpserve.config import Loaded
from mcpserve.crypto import PasswordHasher
from mcpserve.db import Database
from mcpserve.embedded import EmbeddedPostgres
from mcpserve.errors import ConfigError, MCPServeError, UsageError
from mcpserve.processes.member import Member
from mcpserve.settings import Settings
from mcpserve.supervision import Supervised
from mcpserve.text import printable

T = TypeVar("T")


@dataclass(frozen=True)
class DatabaseServer:
    """Where the database is."""

    dsn: str
    embedded: Supervised | None

    @property
    def migrates(self) -> bool:
        """Whether it is brought up to date without asking: the embedded one has no other user."""
        return self.embedded is not None


@contextmanager
def database_server(
    settings: Settings, member: Member | None = None, *, meanwhile: Callable[[], object] = object
) -> Iterator[DatabaseServer]:
    """Return the configured database, starting the embedded one if it does not run yet.

    The supervisor of several processes has started it. ``meanwhile`` is done in a thread while it
    starts, and has ended when this returns or raises: the database follows the main thread.
    """
    if url := settings.database.url.get_secret_value():
        yield DatabaseServer(url, None)
        return
    if member and (told := member.embedded):
        paths = Path(told.data_dir), Path(told.socket_path)
        server = EmbeddedPostgres(told.dsn, told.version, *paths)
        yield DatabaseServer(server.dsn, Supervised(settings.data_dir, server=server))
        return
    with ThreadPoolExecutor(1) as other:
        done = other.submit(meanwhile)
        supervised = Supervised(settings.data_dir)
        try:
            done.result()
            other.shutdown()
            yield DatabaseServer(supervised.server.dsn, supervised)
        finally:
            supervised.stop()


def with_database(settings: Settings, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    """Run ``work`` with the database, whose schema must be current."""

    async def run(server: DatabaseServer) -> T:
        log.operator.set(operator())
        opened = migrate.open_database(settings.database, server.dsn, migrates=server.migrates)
        async with opened as db:
            return await work(db)

    with database_server(settings) as server:
        return asyncio.run(run(server))


def told_errors(function: Callable[..., None]) -> Callable[..., None]:
    """Turn our exceptions into one line on standard error and an exit code."""

    @functools.wraps(function)
    def told(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except ConfigError as error:
            fail(str(error), 2)
        except MCPServeError as error:
            fail(str(error), 1)

    return told


def fail(message: str, status: int) -> NoReturn:
    """Say what is wrong and end."""
    for line in message.splitlines():
        click.secho(f"error: {printable(line)}", err=True, fg="red")
    sys.exit(status)


def configured(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--config``, and pass what it loads as the first argument.

    From then on plugins are looked for in ``plugins_dir``, too.
    """

    @click.option(
        "-c",
        "--config",
        "path",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="The configuration; without it $MCPSERVE_CONFIG, else ./config.yaml if there is one.",
    )
    @functools.wraps(function)
    @told_errors
    def loading(path: Path | None, **kwargs: Any) -> None:
        context = click.get_current_context()
        loaded = config.load(path or context.find_root().params.get("path"))
        try:
            plugins_dir.add(loaded.settings.plugins_folder)
        except plugins_dir.UnfinishedError as error:
            click.echo(printable(f"warning: {error}"), err=True)
        function(loaded, **kwargs)

    return loading


def hasher_of(loaded: Loaded) -> PasswordHasher:
    """Return a hasher of the configured cost."""
    return PasswordHasher(loaded.settings.login.bcrypt_rounds)


def read_password(*, from_stdin: bool) -> str:
    """Return a new password, typed twice or piped in; never an argument.

    Raises ``UsageError`` where nobody can type.
    """
    if from_stdin:
        return read_secret("password")
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here: pipe the password in with --password-stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt="Again"))


def read_secret(what: str) -> str:
    """Return the first line of standard input. Raises ``UsageError`` if it is empty or no text."""
    try:
        # UTF-8 whatever the locale is: what is hashed here is compared with what browsers send.
        secret = sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError(f"the {what} on standard input is not UTF-8 text") from None
    if not secret:
        raise UsageError(f"no {what} came in on standard input")
    return secret


def moment(time: datetime | None) -> str:
    """Return a time as people read it, with the zone."""
    return time.astimezone().isoformat(" ", "seconds") if time else "-"


def counted(count: int, what: str) -> str:
    """Return a number and what it counts."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print aligned columns."""
    lines = [head, *(tuple(map(printable, row)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        click.echo(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )

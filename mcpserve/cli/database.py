"""``db`` and ``cleanup``."""

import asyncio

import click

from mcpserve import migrate
from mcpserve.cli.common import configured, database_server, with_database
from mcpserve.cli.groups import Command, Group
from mcpserve.config import Loaded
from mcpserve.db import Database
from mcpserve.errors import UsageError
from mcpserve.oauth.store import cleanup as cleanup_store
from mcpserve.version import __version__


@click.group("db", cls=Group)
def db_group() -> None:
    """Look at the database, and bring its schema up to date."""


@db_group.command("check", epilog="mcpserve db check")
@configured
def db_check(loaded: Loaded) -> None:
    """Say what is reachable, which version, and what is pending. Exit code 1 if anything is."""

    async def report(dsn: str) -> migrate.Status:
        async with Database.connect(dsn, pool_size=1) as db:
            version = await db.server_version()
            click.echo(f"{db.server}: PostgreSQL {version}")
            return await migrate.status(db)

    with database_server(loaded.settings) as server:
        status = asyncio.run(report(server.dsn))
    for word, names in (
        ("applied", status.applied),
        ("pending", status.pending),
        ("altered since", status.altered),
        ("unknown here", status.unknown),
    ):
        for name in names:
            click.echo(f"  {word:<14} {name}")
    if not status.current:
        hint = "run: mcpserve db init" if not (status.altered or status.unknown) else ""
        raise UsageError(f"the schema is not that of mcpserve {__version__}; {hint}".rstrip("; "))


@db_group.command(
    "init",
    epilog="""mcpserve db init
DATABASE_URL=postgresql://mcpserve@db.example.org/mcpserve mcpserve db init""",
)
@configured
def db_init(loaded: Loaded) -> None:
    """Apply the pending migrations; nothing is ever taken back."""

    async def apply(dsn: str) -> tuple[str, ...]:
        async with Database.connect(dsn, pool_size=1) as db:
            return await migrate.apply(db)

    with database_server(loaded.settings) as server:
        applied = asyncio.run(apply(server.dsn))
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("nothing to do")


@click.command(cls=Command, epilog="mcpserve cleanup")
@configured
def cleanup(loaded: Loaded) -> None:
    """Delete what is expired and spent, once, and say how much it was."""
    settings = loaded.settings
    counts = with_database(settings, lambda db: cleanup_store.purge(db, settings))
    if counts is None:
        click.echo("another process is cleaning up")
        return
    for table, count in counts.items():
        click.echo(f"{table:<28} {count}")

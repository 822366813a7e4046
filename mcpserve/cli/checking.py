"""``check``."""

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import click

from mcpserve import app, config_report, pinning, plugins_dir, tracing
from mcpserve.cli.common import configured, with_database
from mcpserve.cli.groups import Command
from mcpserve.cli.listing import loadable
from mcpserve.config import Loaded
from mcpserve.config_keys import Schema
from mcpserve.db import Database
from mcpserve.errors import ConfigError
from mcpserve.oauth import clients, keys
from mcpserve.oauth.keys import KeyRing
from mcpserve.settings import Settings
from mcpserve.text import printable


@click.command(
    cls=Command,
    epilog="""mcpserve check
mcpserve check --show""",
)
@click.option("--show", is_flag=True, help="Print every setting and where it comes from.")
@configured
def check(loaded: Loaded, *, show: bool) -> None:
    """Do everything that `serve` does before it listens, and say what is wrong.

    Exit code 2 for the configuration and plugins, 1 for the database.
    """
    settings = loaded.settings
    if show:
        click.echo(config_report.effective(loaded, asyncio.run(plugin_schemas(settings))))
    asyncio.run(_check_configuration(settings))
    if not settings.database.url.get_secret_value() and not settings.data_dir.exists():
        check_folder(settings.data_dir)
        click.echo("ok; the embedded database is made at the first start")
        return

    async def complete(db: Database) -> None:
        await keys.require_complete(db, KeyRing.of(settings.oauth.keys))

    with_database(settings, complete)
    click.echo("ok")


async def plugin_schemas(settings: Settings) -> Mapping[str, Schema]:
    """Return what the config of each plugin looks like, as far as it can be loaded."""
    async with AsyncExitStack() as exit_stack:
        return (await loadable(settings, exit_stack)).config_schemas


def check_folder(data_dir: Path) -> None:
    """Raise :class:`~mcpserve.errors.ConfigError` if ``data_dir`` cannot be made."""
    there = next(folder for folder in data_dir.parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"data_dir: {data_dir} cannot be made, {there} may not be written")


async def _check_configuration(settings: Settings) -> None:
    problems = []
    for warning in plugins_dir.warnings(settings.plugins_folder):
        click.echo(printable(warning))
    try:
        clients.validate(settings.oauth.clients.configured)
    except ConfigError as error:
        problems.append(str(error))
    try:
        async with AsyncExitStack() as exit_stack:
            loaded = await pinning.load(settings, exit_stack)
            app.open_scopes(settings, loaded)
            for bound in loaded.registry.open:
                click.echo(f"{bound.offer.kind} {bound.offer.name} is open to everybody")
            for unapproved in loaded.unapproved:
                click.echo(str(unapproved))
    except ConfigError as error:
        problems.append(str(error))
    try:
        tracing.require(settings.tracing)
    except ConfigError as error:
        problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))

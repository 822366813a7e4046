"""``user``."""

import click

from mcpserve.cli.common import (
    Group,
    configured,
    hasher_of,
    moment,
    read_password,
    table,
    with_database,
)
from mcpserve.config import Loaded
from mcpserve.db import Database
from mcpserve.oauth import users
from mcpserve.oauth.store import users as user_store


@click.group("user", cls=Group)
def user_group() -> None:
    """People who may log in."""


PASSWORD_STDIN = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input."
)


@user_group.command(
    "add",
    epilog="""mcpserve user add alice
pass show alice | mcpserve user add alice --password-stdin""",
)
@click.argument("name")
@PASSWORD_STDIN
@configured
def user_add(loaded: Loaded, *, name: str, password_stdin: bool) -> None:
    """Add a person; asks for the password."""
    users.check_name(name)
    password = read_password(from_stdin=password_stdin)
    settings = loaded.settings

    async def add(db: Database) -> None:
        await users.add(db, hasher_of(loaded), settings.login, name=name, password=password)

    with_database(settings, add)
    click.echo(f"added {name}")


@user_group.command(
    "password",
    epilog="""mcpserve user password alice
pass show alice | mcpserve user password alice --password-stdin""",
)
@click.argument("name")
@PASSWORD_STDIN
@configured
def user_password(loaded: Loaded, *, name: str, password_stdin: bool) -> None:
    """Change a password. Every browser is logged out; what clients were granted stays."""
    password = read_password(from_stdin=password_stdin)
    settings = loaded.settings

    async def change(db: Database) -> None:
        await users.change_password(
            db, hasher_of(loaded), settings.login, name=name, password=password
        )

    with_database(settings, change)
    click.echo(f"changed the password of {name}")


@user_group.command("list", epilog="mcpserve user list")
@configured
def user_list(loaded: Loaded) -> None:
    """List the people."""
    found = with_database(loaded.settings, user_store.find_all)
    table(
        ("NAME", "ADDED", "STATE"),
        (
            (user.name, moment(user.created_at), "disabled" if user.disabled_at else "enabled")
            for user in found
        ),
    )


@user_group.command("disable", epilog="mcpserve user disable alice")
@click.argument("name")
@configured
def user_disable(loaded: Loaded, *, name: str) -> None:
    """Lock a person out: no login, no session, no grant is left."""
    with_database(loaded.settings, lambda db: users.set_disabled(db, name, disabled=True))
    click.echo(f"disabled {name}; sessions and grants are ended")


@user_group.command("enable", epilog="mcpserve user enable alice")
@click.argument("name")
@configured
def user_enable(loaded: Loaded, *, name: str) -> None:
    """Let a disabled person log in again."""
    with_database(loaded.settings, lambda db: users.set_disabled(db, name, disabled=False))
    click.echo(f"enabled {name}")

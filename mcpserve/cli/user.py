"""``user``."""

import click

from mcpserve.cli.common import configured, hasher_of, moment, read_password, table, with_database
from mcpserve.cli.groups import Group
from mcpserve.config import Loaded
from mcpserve.db import Database
from mcpserve.oauth import users
from mcpserve.oauth.store import users as user_store
from mcpserve.oauth.store.users import User


@click.group("user", cls=Group)
def user_group() -> None:
    """People who may log in."""


PASSWORD_STDIN = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input."
)


@user_group.command(
    "add",
    epilog="""mcpserve user add alice
mcpserve user add alice --email alice@example.org
pass show alice | mcpserve user add alice --password-stdin""",
)
@click.argument("name")
@click.option("--email", help="Their e-mail address; you vouch that it is theirs.")
@PASSWORD_STDIN
@configured
def user_add(loaded: Loaded, *, name: str, email: str | None, password_stdin: bool) -> None:
    """Add a person; asks for the password."""
    users.check_name(name)
    if email is not None:
        users.check_email(email)
    password = read_password(from_stdin=password_stdin)
    settings = loaded.settings

    async def add(db: Database) -> None:
        await users.add(
            db, hasher_of(loaded), settings.login, name=name, password=password, email=email
        )

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


@user_group.command(
    "email",
    epilog="""mcpserve user email alice alice@example.org
mcpserve user email alice alice@example.org --unverified
mcpserve user email alice --remove""",
)
@click.argument("name")
@click.argument("address", required=False)
@click.option("--unverified", is_flag=True, help="You do not vouch that the address is theirs.")
@click.option("--remove", is_flag=True, help="Forget the address.")
@configured
def user_email(
    loaded: Loaded, *, name: str, address: str | None, unverified: bool, remove: bool
) -> None:
    """Set the e-mail address that clients are told, if the person lets them."""
    if (address is None) != remove:
        raise click.UsageError("give either an address or --remove")
    verified = not unverified
    with_database(loaded.settings, lambda db: users.set_email(db, name, address, verified=verified))
    click.echo(f"removed the address of {name}" if remove else f"{name} has the address {address}")


@user_group.command("list", epilog="mcpserve user list")
@configured
def user_list(loaded: Loaded) -> None:
    """List the people."""
    found = with_database(loaded.settings, user_store.find_all)
    table(
        ("NAME", "ADDED", "STATE", "E-MAIL"),
        (
            (
                user.name,
                moment(user.created_at),
                "disabled" if user.disabled_at else "enabled",
                email_of(user),
            )
            for user in found
        ),
    )


def email_of(user: User) -> str:
    """Return the address of a person as a list shows it."""
    if user.email is None:
        return "-"
    return user.email if user.email_verified else f"{user.email} (unverified)"


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

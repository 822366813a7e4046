"""``key``."""

import click

from mcpserve import crypto
from mcpserve.cli.common import configured, counted, moment, table, with_database
from mcpserve.cli.groups import Group
from mcpserve.config import Loaded
from mcpserve.oauth import keys
from mcpserve.oauth.keys import KeyRing


@click.group("key", cls=Group)
def key_group() -> None:
    """Keys: what answers are derived with that may be repeated in the reuse window."""


@key_group.command(
    "add",
    epilog="""mcpserve key add
mcpserve key add --for-config""",
)
@click.option("--for-config", is_flag=True, help="Print it for oauth.keys, also if that is empty.")
@configured
def key_add(loaded: Loaded, *, for_config: bool) -> None:
    """Make a new key, which is used instead of the ones before it.

    Where oauth.keys is empty, it is kept in the database and every server uses it at once. Else
    its secret is printed once.
    """
    if not (for_config or loaded.settings.oauth.keys):
        click.echo(f"added {with_database(loaded.settings, keys.add)}; it is used from now on")
        return
    secret = crypto.new_token(crypto.SERVER_KEY)
    click.echo(f"key     {crypto.key_id(secret.encode())}")
    click.echo(f"secret  {secret}   (shown once)")
    click.echo("Put the secret in front of oauth.keys, for every server, and restart them.")


@key_group.command("list", epilog="mcpserve key list")
@configured
def key_list(loaded: Loaded) -> None:
    """List the keys, the newest first."""
    ring = KeyRing.of(loaded.settings.oauth.keys)
    found = with_database(loaded.settings, lambda db: keys.find_all(db, ring))
    table(
        ("ID", "KEPT IN", "ADDED", "STATE", "NEEDED BY"),
        (
            (
                key.key_id,
                key.kept_in,
                moment(key.created_at),
                key.state,
                counted(key.grants, "live grant") if key.grants else "-",
            )
            for key in found
        ),
    )


@key_group.command(
    "retire",
    epilog="""mcpserve key retire 3fa94c0d7be1
mcpserve key retire 3fa94c0d7be1 --force""",
)
@click.argument("identifier", metavar="ID")
@click.option("--force", is_flag=True, help="Although live grants need it; none of them ends.")
@configured
def key_retire(loaded: Loaded, *, identifier: str, force: bool) -> None:
    """Forget a key for good: what was answered with it cannot be repeated any more."""
    ring = KeyRing.of(loaded.settings.oauth.keys)
    with_database(loaded.settings, lambda db: keys.retire(db, ring, identifier, force=force))
    here = "; take it out of oauth.keys, for every server" if identifier in ring.secrets else ""
    click.echo(f"retired {identifier}{here}")

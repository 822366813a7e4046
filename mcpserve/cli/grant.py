"""``grant``."""

import click

from mcpserve.cli.common import Group, configured, counted, moment, table, with_database
from mcpserve.config import Loaded
from mcpserve.db import Database
from mcpserve.oauth import revocation, story
from mcpserve.oauth.store import grants as grant_store


@click.group("grant", cls=Group)
def grant_group() -> None:
    """Grants: what people allowed clients."""


@grant_group.command(
    "list",
    epilog="""mcpserve grant list
mcpserve grant list --all""",
)
@click.option("--all", "everything", is_flag=True, help="Ended and expired ones too.")
@configured
def grant_list(loaded: Loaded, *, everything: bool) -> None:
    """List the grants, the newest first."""
    found = with_database(
        loaded.settings, lambda db: grant_store.find_all(db, active_only=not everything)
    )
    table(
        ("GRANT", "CLIENT", "NAME", "USER", "STATE", "SCOPES", "SINCE", "LAST USED"),
        (
            (
                grant.id,
                grant.client_id,
                grant.client_name,
                grant.user_name,
                grant.state,
                " ".join(grant.scopes),
                moment(grant.created_at),
                moment(grant.last_used_at),
            )
            for grant in found
        ),
    )


@grant_group.command(
    "explain",
    epilog="""mcpserve grant explain 0b6f3c8e-6a51-4f4e-9d7c-2f1f6f3f8a11
mcpserve grant explain 0b6f""",
)
@click.argument("grant_id")
@configured
def grant_explain(loaded: Loaded, *, grant_id: str) -> None:
    """Tell the life of a grant, also of one that is deleted. The beginning of its id is enough."""
    lines = with_database(loaded.settings, lambda db: story.explain(db, grant_id, moment=moment))
    click.echo("\n".join(lines))


@grant_group.command(
    "revoke",
    epilog="""mcpserve grant revoke 0b6f
mcpserve grant revoke --client chatgpt
mcpserve grant revoke --user alice""",
)
@click.argument("grant_id", required=False)
@click.option("--client", "client_id", help="All grants of this client.")
@click.option("--user", "name", help="All grants of this person.")
@click.option("--all", "everything", is_flag=True, help="All grants of everybody.")
@configured
def grant_revoke(
    loaded: Loaded,
    *,
    grant_id: str | None,
    client_id: str | None,
    name: str | None,
    everything: bool,
) -> None:
    """End a grant, or many; their tokens are refused from the next request on.

    The beginning of a grant's id is enough.
    """
    if sum(bool(choice) for choice in (grant_id, client_id, name, everything)) != 1:
        raise click.UsageError("name one grant, or one of --client, --user and --all")

    async def revoke(db: Database, beginning: str) -> str:
        found = await story.find(db, beginning)
        await revocation.revoke_grant(db, found)
        return found

    if grant_id:
        revoked = with_database(loaded.settings, lambda db: revoke(db, grant_id))
        click.echo(f"revoked {revoked}")
        return
    count = with_database(
        loaded.settings,
        lambda db: revocation.revoke_grants(db, client_id=client_id, user_name=name),
    )
    click.echo(f"revoked {counted(count, 'grant')}")

"""``grant``."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

import click

from mcpserve import plugins
from mcpserve.cli.common import configured, counted, moment, table, with_database
from mcpserve.cli.groups import Group
from mcpserve.config import Loaded
from mcpserve.db import Database
from mcpserve.errors import UsageError
from mcpserve.oauth import revocation, story, withholding
from mcpserve.oauth.scopes import Scopes
from mcpserve.oauth.store import grants as grant_store
from mcpserve.oauth.store.grants import Grant
from mcpserve.registry import ToolRegistry, UnknownTool


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
    "tools",
    epilog="""mcpserve grant tools 0b6f
mcpserve grant tools 0b6f --withhold delete_note --allow add_note""",
)
@click.argument("grant_id")
@click.option(
    "--withhold", multiple=True, metavar="NAME", help="Do not allow this tool. Repeatable."
)
@click.option("--allow", multiple=True, metavar="NAME", help="Allow this tool again. Repeatable.")
@configured
def grant_tools(
    loaded: Loaded, *, grant_id: str, withhold: tuple[str, ...], allow: tuple[str, ...]
) -> None:
    """Show which tools a client may use, or change that from its next call on.

    What its scopes do not cover needs a new login, whatever is allowed here.
    """

    async def work(db: Database) -> list[tuple[str, ...]]:
        found = await story.find(db, grant_id)
        async with AsyncExitStack() as exit_stack:
            registry = (await plugins.load(loaded.settings.plugins, exit_stack)).registry
            if withhold or allow:
                grant = await _present(db, found)
                refused, allowed = (
                    names_of(given, registry.tools, grant) for given in (withhold, allow)
                )
                if refused & allowed:
                    raise click.UsageError("a tool cannot be both withheld and allowed")
                await withholding.change(db, found, withhold=refused, allow=allowed)
            oauth = loaded.settings.oauth
            scopes = Scopes.of(oauth.scopes, registry.scopes, oauth.scope_implies)
            return states(registry.tools, await _present(db, found), scopes)

    table(("TOOL", "PLUGIN", "STATE"), with_database(loaded.settings, work))


async def _present(db: Database, grant_id: str) -> Grant:
    grant = await grant_store.find(db, grant_id)
    if grant is None:
        raise UsageError(f"the grant {grant_id} is deleted")
    return grant


def names_of(given: Sequence[str], tools: ToolRegistry, grant: Grant) -> frozenset[str]:
    """Return all names of these tools.

    Raises ``UsageError`` for one that nobody has, unless it is withheld, and for an open tool.
    """
    names: set[str] = set()
    for name in given:
        try:
            bound = tools.get(name)
        except UnknownTool:
            if name not in grant.withheld:
                known = ", ".join(bound.offer.name for bound in tools) or "none"
                raise UsageError(f"there is no tool {name!r}; enabled tools: {known}") from None
            names.add(name)
            continue
        if bound.is_open:
            raise UsageError(f"the tool {name!r} is open to everybody, without any grant")
        names |= set(bound.names)
    return frozenset(names)


def states(tools: ToolRegistry, grant: Grant, scopes: Scopes) -> list[tuple[str, ...]]:
    """Return a line for every tool, and for every name that is withheld of none."""
    granted = scopes.effective(frozenset(grant.scopes))
    lines = []
    for bound in tools:
        if bound.is_open:
            state = "open to everybody"
        else:
            state = "allowed" if grant.withheld.isdisjoint(bound.names) else "withheld"
            if not bound.scopes <= granted:
                state = "not in its scopes" + (", withheld" if state == "withheld" else "")
        lines.append((bound.offer.name, bound.plugin, state))
    gone = grant.withheld.difference(*(bound.names for bound in tools))
    return [*lines, *((name, "-", "withheld") for name in sorted(gone))]


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

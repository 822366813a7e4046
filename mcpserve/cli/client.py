"""``client``."""

import click
from pydantic import ValidationError

from mcpserve import crypto
from mcpserve.cli.common import (
    Group,
    configured,
    hasher_of,
    moment,
    read_secret,
    table,
    with_database,
)
from mcpserve.config import Loaded
from mcpserve.db import Database
from mcpserve.errors import UsageError
from mcpserve.oauth import clients, redirect_uris
from mcpserve.oauth.store import clients as client_store
from mcpserve.oauth.store.clients import Client
from mcpserve.settings import ClientSettings, explain


@click.group("client", cls=Group)
def client_group() -> None:
    """OAuth clients: the applications that may ask people for access."""


@client_group.command(
    "add",
    epilog="""mcpserve client add --id chatgpt --name ChatGPT \\
    --redirect-uri https://chatgpt.com/connector_platform_oauth_redirect
mcpserve client add --id inspector --public --redirect-uri http://localhost:6274/oauth/callback""",
)
@click.option("--id", "client_id", required=True, help="The client_id.")
@click.option("--name", help="Shown to people on the consent page.  [default: the id]")
@click.option(
    "--redirect-uri", "uris", multiple=True, required=True, help="Exact; may be given repeatedly."
)
@click.option("--public", is_flag=True, help="No secret: PKCE only (desktop and browser clients).")
@click.option("--secret-stdin", is_flag=True, help="Read the secret instead of making one.")
@click.option("--reuse-window", help="How long a lost refresh may be repeated, e.g. 60s.")
@click.option("--replace", is_flag=True, help="Overwrite the client of this id.")
@configured
def client_add(
    loaded: Loaded,
    *,
    client_id: str,
    name: str | None,
    uris: tuple[str, ...],
    public: bool,
    secret_stdin: bool,
    reuse_window: str | None,
    replace: bool,
) -> None:
    """Register a client. Its secret is made here and printed once."""
    if public and secret_stdin:
        raise click.UsageError("--public has no secret")
    checked = check(
        id=client_id, name=name or "", redirect_uris=uris, refresh_reuse_window=reuse_window
    )
    made = crypto.new_token(crypto.CLIENT_SECRET) if not (public or secret_stdin) else None
    typed = read_secret("secret") if secret_stdin else None

    async def add(db: Database) -> None:
        secret_hash = crypto.hash_generated_secret(made) if made else None
        if typed is not None:
            secret_hash = await hasher_of(loaded).hash_typed_secret(typed)
        client = Client(
            client_id=checked.id,
            name=checked.name or checked.id,
            secret_hash=secret_hash,
            redirect_uris=checked.redirect_uris,
            refresh_reuse_window=checked.refresh_reuse_window,
            origin="cli",
        )
        await clients.add(db, client, replace=replace)

    with_database(loaded.settings, add)
    click.echo(f"client_id      {client_id}")
    if made:
        click.echo(f"client_secret  {made}   (shown once)")


@client_group.command("list", epilog="mcpserve client list")
@configured
def client_list(loaded: Loaded) -> None:
    """List the clients."""
    found = with_database(loaded.settings, client_store.find_all)
    table(
        ("CLIENT", "NAME", "KIND", "FROM", "STATE"),
        (
            (
                client.client_id,
                client.name,
                "public" if client.public else "confidential",
                client.origin,
                "disabled" if client.disabled_at else "enabled",
            )
            for client in found
        ),
    )


@client_group.command("show", epilog="mcpserve client show chatgpt")
@click.argument("client_id")
@configured
def client_show(loaded: Loaded, *, client_id: str) -> None:
    """Show one client."""
    client = with_database(loaded.settings, lambda db: client_store.find(db, client_id))
    if client is None:
        raise UsageError(f"there is no client {client_id!r}")
    window = client.refresh_reuse_window
    methods = "none" if client.public else "client_secret_basic, client_secret_post"
    for key, value in (
        ("client_id", client.client_id),
        ("name", client.name),
        ("methods", methods),
        ("redirect URIs", "\n               ".join(client.redirect_uris)),
        ("reuse window", "as configured" if window is None else str(window)),
        ("kept by", client.origin),
        ("created", moment(client.created_at)),
        ("disabled", moment(client.disabled_at) if client.disabled_at else "no"),
    ):
        click.echo(f"{key:<14} {value}")


@client_group.command("disable", epilog="mcpserve client disable chatgpt")
@click.argument("client_id")
@configured
def client_disable(loaded: Loaded, *, client_id: str) -> None:
    """Refuse a client from now on and end all its grants."""
    with_database(loaded.settings, lambda db: clients.set_disabled(db, client_id, disabled=True))
    click.echo(f"disabled {client_id}; its grants are revoked")


@client_group.command("enable", epilog="mcpserve client enable chatgpt")
@click.argument("client_id")
@configured
def client_enable(loaded: Loaded, *, client_id: str) -> None:
    """Let a disabled client ask people again."""
    with_database(loaded.settings, lambda db: clients.set_disabled(db, client_id, disabled=False))
    click.echo(f"enabled {client_id}")


def check(**values: object) -> ClientSettings:
    """Hold a client to the same rules as a configured one. Raises click's ``UsageError``."""
    try:
        checked = ClientSettings.model_validate(values)
    except ValidationError as error:
        raise click.UsageError("; ".join(explain(error))) from error
    for uri in checked.redirect_uris:
        if problem := redirect_uris.problem(uri):
            raise click.UsageError(f"--redirect-uri {uri!r} {problem}")
    return checked

"""``client``."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from mcpserve import crypto
from mcpserve.cli.common import configured, hasher_of, moment, read_secret, table, with_database
from mcpserve.cli.groups import Group
from mcpserve.config import Loaded
from mcpserve.db import Database
from mcpserve.errors import UsageError
from mcpserve.oauth import clients, jwks, presets, redirect_uris
from mcpserve.oauth.store import clients as client_store
from mcpserve.oauth.store.clients import Client
from mcpserve.setting_types import PRESETS, format_duration
from mcpserve.settings import ClientSettings, explain
from mcpserve.text import printable

OPTIONS = {"redirect_uris": "--redirect-uri", "refresh_reuse_window": "--reuse-window"}
"""Options that are not called like the setting."""


@click.group("client", cls=Group)
def client_group() -> None:
    """OAuth clients: the applications that may ask people for access."""


@client_group.command(
    "add",
    epilog="""mcpserve client add --preset chatgpt
mcpserve client add --id inspector --public --redirect-uri http://localhost:6274/oauth/callback
mcpserve client add --id robot --jwks-file robot.jwks.json \\
    --redirect-uri https://robot.example.org/callback""",
)
@click.option(
    "--preset",
    type=click.Choice(PRESETS),
    help="Take id, name, redirect URIs and reuse window of a well-known client.",
)
@click.option("--id", "client_id", help="The client_id.  [default: the preset]")
@click.option("--name", help="Shown to people on the consent page.  [default: the id]")
@click.option("--redirect-uri", "uris", multiple=True, help="Exact; may be given repeatedly.")
@click.option(
    "--public",
    is_flag=True,
    help="No secret: PKCE only (desktop and browser clients, and the presets of such).",
)
@click.option("--secret-stdin", is_flag=True, help="Read the secret instead of making one.")
@click.option(
    "--jwks-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="No secret: it signs (private_key_jwt), and these are its public keys.",
)
@click.option("--jwks-uri", help="The same, with its public keys at this address.")
@click.option("--introspection", is_flag=True, help="It may ask about the tokens of all clients.")
@click.option("--reuse-window", help="How long a lost refresh may be repeated, e.g. 60s.")
@click.option("--replace", is_flag=True, help="Overwrite the client of this id.")
@configured
def client_add(
    loaded: Loaded,
    *,
    preset: str | None,
    client_id: str | None,
    name: str | None,
    uris: tuple[str, ...],
    public: bool,
    secret_stdin: bool,
    jwks_file: Path | None,
    jwks_uri: str | None,
    introspection: bool,
    reuse_window: str | None,
    replace: bool,
) -> None:
    """Register a client. Its secret is made here and printed once."""
    if sum(map(bool, (public, secret_stdin, jwks_file, jwks_uri))) > 1:
        raise click.UsageError("use one of --public, --secret-stdin, --jwks-file and --jwks-uri")
    if public and introspection:
        raise click.UsageError("--introspection is not for public clients")
    known = next((known for known in presets.load() if known.name == preset), None)
    if known is None and (client_id is None or not uris):
        raise click.UsageError("--id and --redirect-uri are needed, or --preset")
    checked = check(
        id=preset if client_id is None else client_id,
        name=name or (known.title if known else ""),
        redirect_uris=(*(known.exact_redirect_uris if known else ()), *uris),
        jwks=read_keys(jwks_file) if jwks_file else {},
        jwks_uri=jwks_uri or "",
        refresh_reuse_window=reuse_window or (known and known.refresh_reuse_window),
    )
    signs = bool(checked.jwks or checked.jwks_uri)
    public = public or bool(known and known.public and not introspection)
    made = None if public or secret_stdin or signs else crypto.new_token(crypto.CLIENT_SECRET)
    typed = read_secret("secret") if secret_stdin else None

    async def add(db: Database) -> Client:
        secret_hash = crypto.hash_generated_secret(made) if made else None
        if typed is not None:
            secret_hash = await hasher_of(loaded).hash_typed_secret(typed)
        client = Client(
            client_id=checked.id,
            name=checked.name or checked.id,
            redirect_uris=checked.redirect_uris,
            auth_methods=clients.auth_methods(secret=bool(secret_hash), keys=signs),
            origin="cli",
            secret_hash=secret_hash,
            jwks=checked.jwks or None,
            jwks_uri=checked.jwks_uri or None,
            may_introspect=introspection,
            preset=preset,
            refresh_reuse_window=checked.refresh_reuse_window,
        )
        return await clients.add(db, client, replace=replace)

    added = with_database(loaded.settings, add)
    for pattern in known.patterns_without(uris) if known else ():
        click.echo(f"not taken over: {pattern}; give yours with --redirect-uri", err=True)
    if added.disabled_at:
        click.echo("it is disabled, see: mcpserve client enable", err=True)
    if any(client.id == checked.id for client in loaded.settings.oauth.clients.configured):
        click.echo(
            "oauth.clients.configured has this client, too: the next start undoes this", err=True
        )
    click.echo(f"client_id      {checked.id}")
    if made:
        click.echo(f"client_secret  {made}   (shown once)")


@client_group.command("list", epilog="mcpserve client list --all")
@click.option("--all", "each", is_flag=True, help="Registrations that are alike, too, one by one.")
@configured
def client_list(loaded: Loaded, *, each: bool) -> None:
    """List the clients; registrations that are alike are one line, with the id used last."""
    found = with_database(loaded.settings, client_store.find_all)
    table(
        ("CLIENT", "COUNT", "NAME", "KIND", "FROM", "PRESET", "LAST LOGIN", "STATE"),
        (
            (
                alike[0].client_id,
                str(len(alike)),
                alike[0].name,
                "public" if "none" in alike[0].auth_methods else "confidential",
                alike[0].origin.removeprefix("metadata_"),
                alike[0].preset or "-",
                moment(alike[0].last_used_at),
                "disabled" if alike[0].disabled_at else "enabled",
            )
            for alike in ([[client] for client in found] if each else grouped(found))
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
    for key, value in (
        ("client_id", printable(client.client_id)),
        ("name", printable(client.name)),
        ("methods", ", ".join(client.auth_methods)),
        ("public keys", client.jwks_uri or (json.dumps(client.jwks) if client.jwks else "-")),
        ("introspects", "tokens of all clients" if client.may_introspect else "its own tokens"),
        ("redirect URIs", "\n               ".join(client.redirect_uris)),
        ("reuse window", "as configured" if window is None else format_duration(window)),
        ("from", client.origin.removeprefix("metadata_")),
        ("preset", client.preset or "-"),
        ("usual scopes", " ".join(client.scopes) or "as configured"),
        ("created", moment(client.created_at)),
        ("last login", moment(client.last_used_at)),
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


def grouped(found: Iterable[Client]) -> list[list[Client]]:
    """Put registrations together that differ in nothing but their ids; what was used last first."""
    groups: dict[object, list[Client]] = {}
    for client in found:
        uris = tuple(map(redirect_uris.without_port, client.redirect_uris))
        told = (client.name, uris, client.auth_methods, client.disabled_at is None)
        alike = told if client.origin == "registration" else client.client_id
        groups.setdefault(alike, []).append(client)
    return [sorted(group, key=last_login, reverse=True) for group in groups.values()]


def last_login(client: Client) -> float:
    """Return when somebody last logged in with the client, in a form that can be compared."""
    return client.last_used_at.timestamp() if client.last_used_at else 0.0


def read_keys(path: Path) -> Any:
    """Return the key set in a file. Raises click's ``UsageError``."""
    try:
        keys = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"--jwks-file {path}: {error}") from error
    if problem := jwks.problem(keys):
        raise click.UsageError(f"--jwks-file {path}: {problem}")
    return keys


def check(**values: object) -> ClientSettings:
    """Hold a client to the same rules as a configured one. Raises click's ``UsageError``."""
    try:
        checked = ClientSettings.model_validate(values)
    except ValidationError as error:
        raise click.UsageError("; ".join(map(_as_option, explain(error)))) from error
    for uri in checked.redirect_uris:
        if problem := redirect_uris.problem(uri):
            raise click.UsageError(f"--redirect-uri {uri!r} {problem}")
    return checked


def _as_option(line: str) -> str:
    """Return a problem with the option in front, instead of the setting."""
    setting, colon, problem = line.partition(":")
    return OPTIONS.get(setting, f"--{setting.replace('_', '-')}") + colon + problem

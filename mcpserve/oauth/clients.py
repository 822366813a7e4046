"""Who is this client_id; and the clients that the configuration keeps in the database."""

import dataclasses
from collections.abc import Container, Iterable

from mcpserve import audit
from mcpserve.audit import Event
from mcpserve.crypto import PasswordHasher
from mcpserve.db import Database, Queryable, Transaction
from mcpserve.errors import ConfigError, UsageError
from mcpserve.oauth import jwks, redirect_uris
from mcpserve.oauth.store import clients as store
from mcpserve.oauth.store.clients import Client
from mcpserve.settings import ClientSettings

PUBLIC_METHODS = ("none",)
SECRET_METHODS = ("client_secret_basic", "client_secret_post")
KEY_METHODS = ("private_key_jwt",)


async def resolve(db: Queryable, client_id: str) -> Client | None:
    """Return the client if it exists and is enabled."""
    return if_enabled(await store.find(db, client_id))


def if_enabled(client: Client | None) -> Client | None:
    """Return the client unless it is disabled: then it is as unknown as one that is not there."""
    return client if client and client.disabled_at is None else None


def validate(configured: Iterable[ClientSettings]) -> None:
    """Raise :class:`~mcpserve.errors.ConfigError` for a redirect URI or keys that may not be."""
    for position, settings in enumerate(configured):
        if settings.jwks and (problem := jwks.problem(settings.jwks)):
            raise ConfigError(f"oauth.clients.configured.{position}.jwks: {problem}")
        for uri in settings.redirect_uris:
            if problem := redirect_uris.problem(uri):
                raise ConfigError(
                    f"oauth.clients.configured.{position}.redirect_uris: {uri!r} {problem}"
                )


def require_scopes(configured: Iterable[ClientSettings], known: Container[str]) -> None:
    """Raise :class:`~mcpserve.errors.ConfigError` for a scope that there is not."""
    for position, settings in enumerate(configured):
        for scope in settings.scopes:
            if scope not in known:
                raise ConfigError(
                    f"oauth.clients.configured.{position}.scopes: there is no scope {scope!r}, "
                    "see oauth.scopes"
                )


async def seed(db: Database, hasher: PasswordHasher, configured: Iterable[ClientSettings]) -> None:
    """Write the configured clients to the database; twice or from two processes at once is once.

    They must be :func:`validate`-d. A client that an operator disabled stays disabled.
    """
    for settings in configured:
        async with db.transaction() as tx:
            await store.lock(tx, settings.id)
            present = await store.find(tx, settings.id)
            wanted = Client(
                client_id=settings.id,
                name=settings.name or settings.id,
                redirect_uris=settings.redirect_uris,
                auth_methods=auth_methods(
                    secret=bool(settings.secret.get_secret_value()),
                    keys=bool(settings.jwks or settings.jwks_uri),
                ),
                origin="config",
                secret_hash=await _secret_hash(hasher, settings, present),
                jwks=settings.jwks or None,
                jwks_uri=settings.jwks_uri or None,
                scopes=settings.scopes,
                may_introspect=settings.introspection,
                refresh_reuse_window=settings.refresh_reuse_window,
                created_at=present.created_at if present else None,
                last_used_at=present.last_used_at if present else None,
                disabled_at=present.disabled_at if present else None,
            )
            if wanted != present:
                await _save(tx, wanted, present)


async def add(db: Database, client: Client, *, replace: bool) -> Client:
    """Add a client whose redirect URIs were checked; overwrite one only if ``replace``.

    Return it as it is kept: one that was disabled stays so. Raises
    :class:`~mcpserve.errors.UsageError`.
    """
    async with db.transaction() as tx:
        await store.lock(tx, client.client_id)
        present = await store.find(tx, client.client_id)
        if present and not replace:
            raise UsageError(f"there is already a client {client.client_id!r}, see --replace")
        if present:
            client = dataclasses.replace(client, disabled_at=present.disabled_at)
        await _save(tx, client, present)
    return client


async def _save(tx: Transaction, client: Client, present: Client | None) -> None:
    await store.save(tx, client)
    await audit.record(
        tx,
        Event.CLIENT_CHANGED if present else Event.CLIENT_ADDED,
        client_id=client.client_id,
        client_name=client.name,
        origin=client.origin,
        redirect_uris=client.redirect_uris,
        auth_methods=client.auth_methods,
        changed=_changed(client, present) if present else [],
    )


def _changed(client: Client, present: Client) -> list[str]:
    """Name what is different, except for what nobody decides."""
    before = vars(present)
    kept_here = ("created_at", "last_used_at")
    return [
        name
        for name, value in vars(client).items()
        if name not in kept_here and value != before[name]
    ]


async def set_disabled(db: Database, client_id: str, *, disabled: bool) -> None:
    """Disable a client and end its grants, or enable it. Raises ``UsageError`` for none."""
    async with db.transaction() as tx:
        await store.lock(tx, client_id)
        present = await store.find(tx, client_id)
        if present and (present.disabled_at is not None) == disabled:
            return
        ended = await store.set_disabled(tx, client_id, disabled=disabled)
        if ended is None:
            raise UsageError(f"there is no client {client_id!r}")
        await audit.record(
            tx, Event.CLIENT_DISABLED if disabled else Event.CLIENT_ENABLED, client_id=client_id
        )
        await audit.record(tx, Event.GRANT_REVOKED, grants=ended, reason="client disabled")


def auth_methods(*, secret: bool, keys: bool) -> tuple[str, ...]:
    """Return how a client may authenticate that has a secret, or keys, or neither."""
    if keys:
        return KEY_METHODS
    return SECRET_METHODS if secret else PUBLIC_METHODS


async def _secret_hash(
    hasher: PasswordHasher, settings: ClientSettings, present: Client | None
) -> str | None:
    secret = settings.secret.get_secret_value()
    if not secret:
        return None
    if present and present.secret_hash and await hasher.verify_secret(secret, present.secret_hash):
        return present.secret_hash
    return await hasher.hash_typed_secret(secret)

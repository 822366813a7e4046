"""Who is this client_id; and the clients that the configuration keeps in the database."""

import logging
from collections.abc import Iterable

from mcpserve.crypto import PasswordHasher
from mcpserve.db import Database, Queryable
from mcpserve.errors import ConfigError, UsageError
from mcpserve.oauth import redirect_uris
from mcpserve.oauth.store import clients as store
from mcpserve.oauth.store.clients import Client
from mcpserve.settings import ClientSettings

logger = logging.getLogger(__name__)


async def resolve(db: Queryable, client_id: str) -> Client | None:
    """Return the client if it exists and is enabled."""
    client = await store.find(db, client_id)
    return client if client and client.disabled_at is None else None


def validate(configured: Iterable[ClientSettings]) -> None:
    """Raise :class:`~mcpserve.errors.ConfigError` for a redirect URI that may not be registered."""
    for position, settings in enumerate(configured):
        for uri in settings.redirect_uris:
            if problem := redirect_uris.problem(uri):
                raise ConfigError(f"oauth.clients.{position}.redirect_uris: {uri!r} {problem}")


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
                secret_hash=await _secret_hash(hasher, settings, present),
                redirect_uris=settings.redirect_uris,
                refresh_reuse_window=settings.refresh_reuse_window,
                origin="config",
                created_at=present.created_at if present else None,
                disabled_at=present.disabled_at if present else None,
            )
            if wanted != present:
                await store.save(tx, wanted)
                logger.info("client %s written from the configuration", settings.id)


async def add(db: Database, client: Client, *, replace: bool) -> None:
    """Add a client whose redirect URIs were checked; overwrite one only if ``replace``.

    Raises :class:`~mcpserve.errors.UsageError`.
    """
    async with db.transaction() as tx:
        await store.lock(tx, client.client_id)
        if not replace and await store.find(tx, client.client_id):
            raise UsageError(f"there is already a client {client.client_id!r}, see --replace")
        await store.save(tx, client)


async def set_disabled(db: Database, client_id: str, *, disabled: bool) -> None:
    """Disable a client and end its grants, or enable it. Raises ``UsageError`` for none."""
    async with db.transaction() as tx:
        await store.lock(tx, client_id)
        if not await store.set_disabled(tx, client_id, disabled=disabled):
            raise UsageError(f"there is no client {client_id!r}")


async def _secret_hash(
    hasher: PasswordHasher, settings: ClientSettings, present: Client | None
) -> str | None:
    secret = settings.secret.get_secret_value()
    if not secret:
        return None
    if present and present.secret_hash and await hasher.verify_secret(secret, present.secret_hash):
        return present.secret_hash
    return await hasher.hash_typed_secret(secret)

"""The table ``oauth_clients``."""

import json
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mcpserve import audit
from mcpserve.audit import Event
from mcpserve.db import Queryable, Row, Transaction
from mcpserve.oauth.store import grants

COLUMNS = """client_id, client_name, client_secret_hash, redirect_uris, auth_methods, jwks,
    jwks_uri, scopes, may_introspect, preset, refresh_reuse_window, origin, document_digest,
    created_at, last_used_at, disabled_at"""

NOTHING_IS_LEFT = """
    NOT EXISTS (SELECT FROM mcp_sessions t WHERE t.client_id = c.client_id)
    AND NOT EXISTS (SELECT FROM oauth_authorization_codes t WHERE t.client_id = c.client_id)
    AND NOT EXISTS (SELECT FROM authorization_requests t
                    JOIN browser_sessions b ON b.id = t.browser_session_id
                    WHERE t.client_id = c.client_id
                      AND (b.user_id IS NOT NULL OR c.last_used_at IS NOT NULL))"""
"""Of a client ``c``. A request that nobody is behind does not keep one that nobody ever used: who
registered it could make requests for ever."""
CROWDED = timedelta(hours=1)
"""How long a client that nobody used is kept at least."""
BATCH = 100
"""Clients that are deleted in one transaction."""


@dataclass(frozen=True)
class Client:
    """An OAuth client, however it came to be known."""

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]
    auth_methods: tuple[str, ...]
    """How it may authenticate, of ``metadata.AUTH_METHODS``."""
    origin: str
    """Who keeps it: ``config``, ``cli``, ``registration`` or ``metadata_document``."""
    secret_hash: str | None = None
    """Set if and only if a method needs a secret."""
    jwks: Mapping[str, Any] | None = None
    """Its public keys, for ``private_key_jwt``; or they are at ``jwks_uri``."""
    jwks_uri: str | None = None
    scopes: tuple[str, ...] = ()
    """What it gets when it asks for nothing; empty: the server's default."""
    may_introspect: bool = False
    """Whether it may ask about the access tokens of all clients, not only about its own."""
    preset: str | None = None
    """The preset that its redirect URIs or its document belong to."""
    refresh_reuse_window: timedelta | None = None
    """``None``: as configured for all."""
    document_digest: bytes | None = None
    """Of its metadata document, if it has one."""
    created_at: datetime | None = None
    last_used_at: datetime | None = None
    """When a code was last exchanged, if one ever was."""
    disabled_at: datetime | None = None

    def vouched_for(self, presets: Container[str]) -> bool:
        """Whether somebody here chose it: the operator, or one of the ``presets`` let in now."""
        return self.origin in ("config", "cli") or (self.preset or "") in presets


async def find(db: Queryable, client_id: str) -> Client | None:
    """Return the client, disabled or not; ``None`` if there is none."""
    row = await db.row(
        f"SELECT {COLUMNS} FROM oauth_clients WHERE client_id = %(id)s", id=client_id
    )
    return _client(row) if row else None


async def find_some(db: Queryable, client_ids: Collection[str]) -> dict[str, Client]:
    """Return those of these clients that there are, by their ids."""
    rows = await db.rows(
        f"SELECT {COLUMNS} FROM oauth_clients WHERE client_id = ANY(%(ids)s::text[])",
        ids=sorted(client_ids),
    )
    return {row.client_id: _client(row) for row in rows}


async def find_all(db: Queryable) -> list[Client]:
    """Return every client, in the order of their ids."""
    return [
        _client(row)
        for row in await db.rows(f"SELECT {COLUMNS} FROM oauth_clients ORDER BY client_id")
    ]


async def save(tx: Transaction, client: Client) -> datetime:
    """Insert the client, or overwrite the one with its id; return when it was first kept."""
    row = await tx.one(
        """INSERT INTO oauth_clients
               (client_id, client_name, client_secret_hash, redirect_uris, auth_methods, jwks,
                jwks_uri, scopes, may_introspect, preset, refresh_reuse_window, origin,
                document_digest, disabled_at)
           VALUES (%(id)s, %(name)s, %(secret_hash)s, %(uris)s, %(methods)s, %(jwks)s,
                   %(jwks_uri)s, %(scopes)s, %(may_introspect)s, %(preset)s, %(window)s,
                   %(origin)s, %(digest)s, %(disabled_at)s)
           ON CONFLICT (client_id) DO UPDATE SET
               client_name = excluded.client_name,
               client_secret_hash = excluded.client_secret_hash,
               redirect_uris = excluded.redirect_uris,
               auth_methods = excluded.auth_methods,
               jwks = excluded.jwks,
               jwks_uri = excluded.jwks_uri,
               scopes = excluded.scopes,
               may_introspect = excluded.may_introspect,
               preset = excluded.preset,
               refresh_reuse_window = excluded.refresh_reuse_window,
               origin = excluded.origin,
               document_digest = excluded.document_digest,
               updated_at = clock_timestamp(),
               disabled_at = excluded.disabled_at
           RETURNING created_at""",
        id=client.client_id,
        name=client.name,
        secret_hash=client.secret_hash,
        uris=list(client.redirect_uris),
        methods=list(client.auth_methods),
        jwks=json.dumps(client.jwks) if client.jwks is not None else None,
        jwks_uri=client.jwks_uri,
        scopes=list(client.scopes),
        may_introspect=client.may_introspect,
        preset=client.preset,
        window=client.refresh_reuse_window,
        origin=client.origin,
        digest=client.document_digest,
        disabled_at=client.disabled_at,
    )
    created_at: datetime = row.created_at
    return created_at


async def has_room(tx: Transaction, max_unused: int) -> bool:
    """Tell whether one more client may register, which then nobody else can meanwhile.

    If all places are taken, those go that nobody used for an hour.
    """
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('mcpserve.registration', 0))")
    # A second statement on purpose: it counts what was registered while the first one waited.
    unused = await tx.one(
        """SELECT count(*) AS n FROM oauth_clients
           WHERE origin = 'registration' AND last_used_at IS NULL""",
    )
    return unused.n < max_unused or bool(await delete_never_used(tx, CROWDED))


async def mark_used(tx: Transaction, client_id: str) -> None:
    """Remember that somebody completed a login with a client, which is locked to be written."""
    await tx.execute(
        """UPDATE oauth_clients SET last_used_at = clock_timestamp()
           WHERE client_id = %(id)s""",
        id=client_id,
    )


async def delete_never_used(tx: Transaction, lifetime: timedelta) -> list[Client]:
    """Delete a batch of clients that nobody here keeps and nobody ever logged in with."""
    old = "last_used_at IS NULL AND created_at < statement_timestamp() - %(lifetime)s"
    return await _delete_disused(tx, old, lifetime=lifetime)


async def delete_idle(tx: Transaction, lifetime: timedelta) -> list[Client]:
    """Delete a batch of clients that nobody here keeps and nobody logged in with for long."""
    old = "last_used_at < statement_timestamp() - %(lifetime)s"
    return await _delete_disused(tx, old, lifetime=lifetime)


async def _delete_disused(tx: Transaction, old: str, *, lifetime: timedelta) -> list[Client]:
    """Delete them unless something of them is left or under way.

    What an operator disabled stays: once forgotten, it would be welcome again.
    """
    locked = await tx.rows(
        f"""SELECT client_id FROM oauth_clients c
            WHERE origin IN ('registration', 'metadata_document') AND disabled_at IS NULL
              AND {old} AND {NOTHING_IS_LEFT}
            LIMIT {BATCH} FOR UPDATE SKIP LOCKED""",
        lifetime=lifetime,
    )
    # A second statement on purpose: the first one looked before it locked, and somebody may have
    # started to log in in between. Now nobody can.
    gone = await tx.rows(
        f"""DELETE FROM oauth_clients c
            WHERE client_id = ANY(%(ids)s) AND {NOTHING_IS_LEFT} RETURNING {COLUMNS}""",
        ids=[row.client_id for row in locked],
    )
    deleted = [_client(row) for row in gone]
    for client in deleted:
        await audit.record(
            tx,
            Event.CLIENT_DELETED,
            client_id=client.client_id,
            client_name=client.name,
            origin=client.origin,
            ever_used=client.last_used_at is not None,
        )
    return deleted


async def lock(tx: Transaction, client_id: str) -> None:
    """Let writers of this client id follow one another, also before its row exists."""
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('oauth_clients:' || %(id)s, 0))",
        id=client_id,
    )


async def set_disabled(tx: Transaction, client_id: str, *, disabled: bool) -> list[str] | None:
    """Disable the client and end its grants, or enable it.

    Return the grants that ended; ``None`` if there is no such client.
    """
    found = await tx.execute(
        """UPDATE oauth_clients
           SET disabled_at = CASE WHEN %(disabled)s THEN clock_timestamp() END,
               updated_at = clock_timestamp()
           WHERE client_id = %(id)s""",
        id=client_id,
        disabled=disabled,
    )
    if not found:
        return None
    return await grants.end_all(tx, client_id=client_id) if disabled else []


def _client(row: Row) -> Client:
    return Client(
        client_id=row.client_id,
        name=row.client_name,
        redirect_uris=tuple(row.redirect_uris),
        auth_methods=tuple(row.auth_methods),
        origin=row.origin,
        secret_hash=row.client_secret_hash,
        jwks=row.jwks,
        jwks_uri=row.jwks_uri,
        scopes=tuple(row.scopes),
        may_introspect=row.may_introspect,
        preset=row.preset,
        refresh_reuse_window=row.refresh_reuse_window,
        document_digest=bytes(row.document_digest) if row.document_digest else None,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        disabled_at=row.disabled_at,
    )

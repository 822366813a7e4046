"""The table ``server_keys``, and which grants need a key."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mcpserve.db import Queryable, Transaction


@dataclass(frozen=True)
class ServerKey:
    """A key that successors of refresh tokens are derived with."""

    key_id: str
    secret: bytes | None = field(repr=False)
    """``None``: kept in the configuration, or retired."""
    created_at: datetime
    retired_at: datetime | None


@dataclass(frozen=True)
class Need:
    """The live grants whose last answer can be repeated with a key."""

    grants: int
    until: datetime


COLUMNS = "key_id, secret, created_at, retired_at"


async def lock(tx: Transaction) -> None:
    """Let no other transaction add or retire keys until this one ends; they can be used."""
    await tx.row("SELECT pg_advisory_xact_lock(hashtextextended('mcpserve.keys', 0))")


async def add(tx: Transaction, key_id: str, *, secret: bytes | None) -> bool:
    """Store a key; ``False`` if it is known already."""
    added = await tx.execute(
        """INSERT INTO server_keys (key_id, secret) VALUES (%(key_id)s, %(secret)s)
           ON CONFLICT DO NOTHING""",
        key_id=key_id,
        secret=secret,
    )
    return bool(added)


async def find(db: Queryable, key_id: str) -> ServerKey | None:
    """Return a key, retired or not."""
    row = await db.row(
        f"SELECT {COLUMNS} FROM server_keys WHERE key_id = %(key_id)s", key_id=key_id
    )
    return ServerKey(*row) if row else None


async def find_all(db: Queryable) -> list[ServerKey]:
    """Return every key that ever was, the newest first."""
    rows = await db.rows(f"SELECT {COLUMNS} FROM server_keys ORDER BY created_at DESC, key_id")
    return [ServerKey(*row) for row in rows]


async def choose(tx: Transaction, configured: Iterable[str]) -> ServerKey | None:
    """Return the key to use, which cannot be retired until the transaction ends.

    That is the first of the ``configured`` ones, or else the newest in the table.
    """
    row = await tx.row(
        f"""SELECT {COLUMNS} FROM server_keys
            WHERE retired_at IS NULL
              AND (secret IS NOT NULL OR key_id = ANY(%(configured)s::text[]))
            ORDER BY array_position(%(configured)s::text[], key_id), created_at DESC, key_id
            LIMIT 1 FOR SHARE""",
        configured=list(configured),
    )
    return ServerKey(*row) if row else None


async def retire(tx: Transaction, key_id: str) -> bool:
    """Forget a key for good, once nobody is using it; ``False`` if there is none to retire."""
    retired = await tx.execute(
        """UPDATE server_keys SET retired_at = clock_timestamp(), secret = NULL
           WHERE key_id = %(key_id)s AND retired_at IS NULL""",
        key_id=key_id,
    )
    return bool(retired)


async def ends_at(tx: Transaction, lifetime: timedelta) -> int:
    """Return when something ends that begins now, in seconds since 1970."""
    row = await tx.one(
        "SELECT floor(extract(epoch FROM clock_timestamp() + %(lifetime)s))::bigint AS at",
        lifetime=lifetime,
    )
    return int(row.at)


async def is_over(tx: Transaction, at: int) -> bool:
    """Whether that moment has come."""
    row = await tx.one("SELECT to_timestamp(%(at)s) <= clock_timestamp() AS over", at=at)
    return bool(row.over)


async def needs(db: Queryable) -> dict[str, Need]:
    """Return who needs which key: active grants with an open reuse window."""
    # The statement's clock, because no index can serve one that ticks.
    rows = await db.rows(
        """SELECT t.key_id, count(DISTINCT t.session_id) AS grants, max(t.reusable_until) AS until
           FROM oauth_refresh_tokens t JOIN mcp_sessions s ON s.id = t.session_id
           WHERE t.reusable_until > statement_timestamp()
             AND s.state = 'active' AND s.expires_at > statement_timestamp()
           GROUP BY t.key_id"""
    )
    return {row.key_id: Need(row.grants, row.until) for row in rows}

"""The table ``mcp_sessions``: grants, with which all their tokens end."""

from dataclasses import dataclass
from datetime import datetime

from mcpserve.db import Queryable, Row, Transaction

BATCH = 1000
"""Grants that end in one statement, whose time is limited."""
GRANTS = """
    SELECT s.id, s.client_id, c.client_name, u.name AS user_name, s.scopes,
           CASE WHEN s.state = 'active' AND s.expires_at <= clock_timestamp()
                THEN 'expired' ELSE s.state END AS state,
           s.created_at, s.last_used_at, s.expires_at, s.ended_at, s.withheld_tools
    FROM mcp_sessions s JOIN users u ON u.id = s.user_id JOIN oauth_clients c USING (client_id)"""
"""Grants as people see them: rows of :class:`Grant`."""


@dataclass(frozen=True)
class Grant:
    """A grant as an operator or its person sees it."""

    id: str
    client_id: str
    client_name: str
    user_name: str
    scopes: tuple[str, ...]
    state: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    withheld: frozenset[str] = frozenset()
    """Names of tools that the person did not allow."""


@dataclass(frozen=True)
class LockedGrant:
    """A grant that nobody else can change until the transaction ends."""

    client_id: str
    state: str
    scopes: list[str]
    resource: str
    user_id: str
    withheld_tools: frozenset[str]
    """Names of those that the person did not allow."""


async def lock(tx: Transaction, grant_id: str) -> LockedGrant | None:
    """Lock a grant before anything is done to its tokens. ``None`` if it was cleaned up."""
    row = await tx.row(
        """SELECT client_id, state, scopes, resource, user_id, withheld_tools FROM mcp_sessions
           WHERE id = %(id)s FOR UPDATE""",
        id=grant_id,
    )
    if row is None:
        return None
    return LockedGrant(**row._asdict() | {"withheld_tools": frozenset(row.withheld_tools)})


async def withhold(tx: Transaction, grant_id: str, tools: frozenset[str]) -> None:
    """Let these be the tools that the client of a locked grant may not use, and no others."""
    await tx.one(
        """UPDATE mcp_sessions SET withheld_tools = %(tools)s::text[]
           WHERE id = %(id)s AND state = 'active' RETURNING 1""",
        id=grant_id,
        tools=sorted(tools),
    )


async def end(tx: Transaction, *grant_ids: str, state: str) -> tuple[str, ...]:
    """End locked grants as ``revoked`` or ``compromised``, and all their tokens with them.

    Return those that were active; one that has ended already keeps its state.
    """
    ended = await tx.rows(
        """UPDATE mcp_sessions SET state = %(state)s, ended_at = clock_timestamp()
           WHERE id = ANY(%(ids)s::uuid[]) AND state = 'active' RETURNING id""",
        ids=list(grant_ids),
        state=state,
    )
    await tx.execute(
        """UPDATE oauth_refresh_tokens
           SET revoked_at = clock_timestamp(), salt = NULL, key_id = NULL, reusable_until = NULL
           WHERE session_id = ANY(%(ids)s::uuid[]) AND revoked_at IS NULL""",
        ids=list(grant_ids),
    )
    await tx.execute(
        """UPDATE oauth_access_tokens SET revoked_at = clock_timestamp()
           WHERE session_id = ANY(%(ids)s::uuid[]) AND revoked_at IS NULL""",
        ids=list(grant_ids),
    )
    return tuple(row.id for row in ended)


async def end_all(
    tx: Transaction, *, client_id: str | None = None, user_id: str | None = None
) -> list[str]:
    """Revoke every active grant of a client, of a user, or of everybody; return their ids."""
    rows = await tx.rows(
        """SELECT id FROM mcp_sessions
           WHERE state = 'active'
             AND (%(client_id)s IS NULL OR client_id = %(client_id)s)
             AND (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s::uuid)
           ORDER BY id FOR UPDATE""",
        client_id=client_id,
        user_id=user_id,
    )
    ids = [row.id for row in rows]
    for start in range(0, len(ids), BATCH):
        await end(tx, *ids[start : start + BATCH], state="revoked")
    return ids


async def revoke(tx: Transaction, grant_id: str) -> bool:
    """Lock a grant and revoke it. ``False`` if there is none or it has ended."""
    grant = await lock(tx, grant_id)
    if grant is None or grant.state != "active":
        return False
    await end(tx, grant_id, state="revoked")
    return True


async def find_all(db: Queryable, *, active_only: bool) -> list[Grant]:
    """Return grants, the newest first; an expired one counts as not active."""
    rows = await db.rows(
        f"""{GRANTS} WHERE NOT %(active_only)s
              OR (s.state = 'active' AND s.expires_at > clock_timestamp())
            ORDER BY s.created_at DESC, s.id""",
        active_only=active_only,
    )
    return [_grant(row) for row in rows]


async def find_active(db: Queryable, user_id: str) -> list[Grant]:
    """Return what a person allows clients now, the newest first."""
    rows = await db.rows(
        f"""{GRANTS} WHERE s.user_id = %(user_id)s
              AND s.state = 'active' AND s.expires_at > clock_timestamp()
            ORDER BY s.created_at DESC, s.id""",
        user_id=user_id,
    )
    return [_grant(row) for row in rows]


async def find(db: Queryable, grant_id: str) -> Grant | None:
    """Return the grant; ``None`` if there is none any more."""
    row = await db.row(f"{GRANTS} WHERE s.id = %(id)s", id=grant_id)
    return _grant(row) if row else None


def _grant(row: Row) -> Grant:
    return Grant(
        row.id,
        row.client_id,
        row.client_name,
        row.user_name,
        tuple(row.scopes),
        row.state,
        row.created_at,
        row.last_used_at,
        row.expires_at,
        row.ended_at,
        frozenset(row.withheld_tools),
    )

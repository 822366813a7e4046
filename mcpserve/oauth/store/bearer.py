"""Tokens that are presented; every request to ``/mcp`` waits for the first statement.

Disabling a user or a client ends the grants, so token and grant alone are asked.
"""

from dataclasses import dataclass

from mcpserve.db import Queryable
from mcpserve.principal import Principal

UNREVOKED = "t.revoked_at IS NULL AND s.state = 'active'"

ALIVE = f"{UNREVOKED} AND t.expires_at > clock_timestamp() AND s.resource = %(resource)s"
"""What lets the token ``t`` of the grant ``s`` count at a resource, now."""

PRINCIPALS = f"""
    SELECT t.digest AS key, s.client_id, s.user_id, t.scopes, s.withheld_tools
    FROM oauth_access_tokens t JOIN mcp_sessions s ON s.id = t.session_id
    WHERE t.digest = ANY(%(keys)s) AND {ALIVE}"""


@dataclass(frozen=True)
class LiveToken:
    """A token that counts, and what it stands for."""

    client_id: str
    user_id: str
    user_name: str
    scopes: frozenset[str]
    issued_at: int
    """In seconds since 1970, as ``expires_at``."""
    expires_at: int
    is_refresh: bool


async def find_principal(db: Queryable, digest: bytes, *, resource: str) -> Principal | None:
    """Return who holds this access token, if it may be used at ``resource`` now."""
    row = await db.lookup(PRINCIPALS, digest, resource=resource)
    if row is None:
        return None
    return Principal(
        row.client_id, row.user_id, frozenset(row.scopes), frozenset(row.withheld_tools)
    )


async def is_revoked(db: Queryable, digest: bytes) -> bool:
    """Tell whether this access token or its grant was ended before its time."""
    row = await db.row(
        f"""SELECT 1 FROM oauth_access_tokens t JOIN mcp_sessions s ON s.id = t.session_id
            WHERE t.digest = %(digest)s AND {UNREVOKED}""",
        digest=digest,
    )
    return row is None


async def find_live(db: Queryable, digest: bytes, *, resource: str) -> LiveToken | None:
    """Return an access token that may be used at ``resource`` now, or a refresh token for one."""
    shown = """s.client_id, s.user_id, u.name AS user_name,
               floor(extract(epoch FROM t.created_at))::bigint AS issued_at,
               floor(extract(epoch FROM t.expires_at))::bigint AS expires_at"""
    grant = "mcp_sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id"
    row = await db.row(
        f"""SELECT {shown}, t.scopes, false AS is_refresh
            FROM oauth_access_tokens t JOIN {grant} WHERE t.digest = %(digest)s AND {ALIVE}
            UNION ALL
            SELECT {shown}, s.scopes, true FROM oauth_refresh_tokens t JOIN {grant}
            WHERE t.digest = %(digest)s AND {ALIVE} AND t.rotated_at IS NULL""",
        digest=digest,
        resource=resource,
    )
    if row is None:
        return None
    return LiveToken(**row._asdict() | {"scopes": frozenset(row.scopes)})

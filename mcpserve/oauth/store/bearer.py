"""The one statement that every request to ``/mcp`` waits for."""

from mcpserve.db import Queryable
from mcpserve.principal import Principal


async def find_principal(db: Queryable, digest: bytes, *, resource: str) -> Principal | None:
    """Return who holds this access token, if it may be used at ``resource`` now.

    Disabling a user or a client ends the grants, so the grant alone is asked.
    """
    row = await db.row(
        """SELECT s.client_id, s.user_id, t.scopes
           FROM oauth_access_tokens t JOIN mcp_sessions s ON s.id = t.session_id
           WHERE t.digest = %(digest)s AND t.revoked_at IS NULL
             AND t.expires_at > clock_timestamp()
             AND s.state = 'active' AND s.resource = %(resource)s""",
        digest=digest,
        resource=resource,
    )
    return Principal(row.client_id, row.user_id, frozenset(row.scopes)) if row else None

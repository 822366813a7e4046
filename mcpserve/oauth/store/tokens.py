"""The tables ``oauth_access_tokens`` and ``oauth_refresh_tokens``: the tokens of a grant."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mcpserve.db import Transaction
from mcpserve.oauth.store import grants


@dataclass(frozen=True)
class Window:
    """What derives the successor of a rotated refresh token from the token itself."""

    salt: bytes
    key_id: str


@dataclass(frozen=True)
class RefreshState:
    """A refresh token and its grant, the grant locked."""

    id: str
    grant_id: str
    client_id: str
    grant_active: bool
    scopes: frozenset[str]
    """What the grant allows."""
    resource: str
    expired: bool
    revoked: bool
    rotated_at: datetime | None
    """Set once it was used."""
    window: Window | None
    """Set while the successor may be answered again: in time and not yet used."""


@dataclass(frozen=True)
class TokenOwner:
    """Which grant a presented token belongs to."""

    grant_id: str
    is_refresh: bool


async def lock_refresh_token(tx: Transaction, digest: bytes) -> RefreshState | None:
    """Lock the token's grant, then read both. ``None`` if there is no such token."""
    owner = await tx.row(
        "SELECT session_id FROM oauth_refresh_tokens WHERE digest = %(digest)s", digest=digest
    )
    if owner is None:
        return None
    grant = await grants.lock(tx, owner.session_id)
    # A second statement on purpose: one that joined both would show the token as it was before
    # it had waited for the lock.
    token = await tx.row(
        """SELECT id, expires_at <= clock_timestamp() AS expired,
                  revoked_at IS NOT NULL AS revoked, rotated_at,
                  salt, key_id, reusable_until > clock_timestamp() AS reusable
           FROM oauth_refresh_tokens WHERE digest = %(digest)s""",
        digest=digest,
    )
    if grant is None or token is None:
        return None
    return RefreshState(
        id=token.id,
        grant_id=owner.session_id,
        client_id=grant.client_id,
        grant_active=grant.state == "active",
        scopes=frozenset(grant.scopes),
        resource=grant.resource,
        expired=token.expired,
        revoked=token.revoked,
        rotated_at=token.rotated_at,
        window=Window(token.salt, token.key_id) if token.reusable else None,
    )


async def rotate(
    tx: Transaction, token_id: str, *, window: Window | None, reusable_for: timedelta
) -> None:
    """Mark a live refresh token as used, and forget how to derive it from its own parent.

    With a ``window`` its successor can be derived again for ``reusable_for``.
    """
    await tx.one(
        """UPDATE oauth_refresh_tokens
           SET rotated_at = clock_timestamp(), salt = %(salt)s, key_id = %(key_id)s,
               reusable_until = clock_timestamp() + %(reusable_for)s
           WHERE id = %(id)s AND rotated_at IS NULL AND revoked_at IS NULL RETURNING 1""",
        id=token_id,
        salt=window.salt if window else None,
        key_id=window.key_id if window else None,
        reusable_for=reusable_for if window else None,
    )
    await tx.execute(
        """UPDATE oauth_refresh_tokens SET salt = NULL, key_id = NULL, reusable_until = NULL
           WHERE id = (SELECT parent_id FROM oauth_refresh_tokens WHERE id = %(id)s)
             AND salt IS NOT NULL""",
        id=token_id,
    )


async def count_repeat(tx: Transaction, token_id: str) -> int:
    """Count that the answer to a rotated token is wanted again, and return how often by now.

    The count ends where its type does.
    """
    row = await tx.one(
        """UPDATE oauth_refresh_tokens SET repeats = least(repeats, 32766) + 1
           WHERE id = %(id)s RETURNING repeats""",
        id=token_id,
    )
    return int(row.repeats)


async def issue(
    tx: Transaction,
    grant_id: str,
    *,
    access: bytes,
    refresh: bytes,
    parent_id: str | None,
    scopes: frozenset[str],
    access_lifetime: timedelta,
) -> int:
    """Store a new pair of a locked grant; return how many seconds the access token lives.

    Neither token outlives the grant. The parent must be rotated already.
    """
    await tx.execute(
        """INSERT INTO oauth_refresh_tokens (digest, session_id, parent_id, expires_at)
           SELECT %(refresh)s, id, %(parent_id)s, expires_at FROM mcp_sessions WHERE id = %(id)s""",
        refresh=refresh,
        parent_id=parent_id,
        id=grant_id,
    )
    row = await tx.one(
        """WITH used AS (
               UPDATE mcp_sessions SET last_used_at = clock_timestamp()
               WHERE id = %(id)s RETURNING id, expires_at
           )
           INSERT INTO oauth_access_tokens (digest, session_id, scopes, expires_at)
           SELECT %(access)s, id, %(scopes)s, least(clock_timestamp() + %(lifetime)s, expires_at)
           FROM used
           RETURNING round(extract(epoch FROM expires_at - clock_timestamp()))::integer
               AS seconds""",
        access=access,
        scopes=sorted(scopes),
        lifetime=access_lifetime,
        id=grant_id,
    )
    return int(row.seconds)


async def seconds_left(tx: Transaction, digest: bytes, *, scopes: frozenset[str]) -> int | None:
    """Return how long an access token still lives, 0 for a dead one.

    ``None`` if there is none with exactly these scopes.
    """
    row = await tx.row(
        """SELECT CASE WHEN revoked_at IS NULL AND expires_at > clock_timestamp()
                       THEN round(extract(epoch FROM expires_at - clock_timestamp()))::integer
                       ELSE 0 END AS seconds
           FROM oauth_access_tokens
           WHERE digest = %(digest)s AND scopes = %(scopes)s""",
        digest=digest,
        scopes=sorted(scopes),
    )
    return int(row.seconds) if row else None


async def find_owner(tx: Transaction, digest: bytes) -> TokenOwner | None:
    """Find a presented token, of either kind and in whatever state."""
    row = await tx.row(
        """SELECT session_id, true FROM oauth_refresh_tokens WHERE digest = %(digest)s
           UNION ALL
           SELECT session_id, false FROM oauth_access_tokens WHERE digest = %(digest)s""",
        digest=digest,
    )
    return TokenOwner(*row) if row else None


async def revoke_access_token(tx: Transaction, digest: bytes) -> bool:
    """Revoke one access token; its grant goes on. ``False`` if it was revoked already."""
    revoked = await tx.execute(
        """UPDATE oauth_access_tokens SET revoked_at = clock_timestamp()
           WHERE digest = %(digest)s AND revoked_at IS NULL""",
        digest=digest,
    )
    return bool(revoked)

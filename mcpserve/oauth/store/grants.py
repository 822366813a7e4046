"""The tables ``mcp_sessions`` (grants), ``oauth_authorization_codes`` and the two of tokens."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mcpserve.db import Queryable, Transaction

BATCH = 1000
"""Grants that end in one statement, whose time is limited."""


@dataclass(frozen=True)
class NewCode:
    """What an authorization code stands for."""

    client_id: str
    user_id: str
    redirect_uri: str
    scopes: frozenset[str]
    resource: str
    code_challenge: str


@dataclass(frozen=True)
class CodeState:
    """An authorization code, locked; its grant too, unless ``used_meanwhile``."""

    client_id: str
    user_id: str
    redirect_uri: str
    scopes: frozenset[str]
    resource: str
    code_challenge: str
    auth_time: datetime
    failures: int
    expired: bool
    grant_id: str | None
    """The grant that it was exchanged for, if it was."""
    used_meanwhile: bool
    """Another request was exchanging it at the same time: a client that asked twice."""


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
    rotated: bool
    salt: bytes | None
    """Set while the successor may be answered again: inside the window and not yet used."""


@dataclass(frozen=True)
class TokenOwner:
    """Which grant a presented token belongs to."""

    grant_id: str
    is_refresh: bool


@dataclass(frozen=True)
class Grant:
    """A grant as an operator sees it."""

    id: str
    client_id: str
    user_name: str
    scopes: tuple[str, ...]
    state: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ended_at: datetime | None


async def create_code(
    tx: Transaction, digest: bytes, session_id: str, *, code: NewCode, lifetime: timedelta
) -> bool:
    """Store a code; the time of login is that of the browser session.

    ``False`` if the user is not logged in there any more.
    """
    stored = await tx.execute(
        """INSERT INTO oauth_authorization_codes
               (digest, client_id, user_id, redirect_uri, scopes, resource, code_challenge,
                auth_time, expires_at)
           SELECT %(digest)s, %(client_id)s, %(user_id)s, %(redirect_uri)s, %(scopes)s,
                  %(resource)s, %(code_challenge)s, auth_time, clock_timestamp() + %(lifetime)s
           FROM browser_sessions
           WHERE id = %(session_id)s AND user_id = %(user_id)s
             AND expires_at > clock_timestamp()""",
        digest=digest,
        session_id=session_id,
        client_id=code.client_id,
        user_id=code.user_id,
        redirect_uri=code.redirect_uri,
        scopes=sorted(code.scopes),
        resource=code.resource,
        code_challenge=code.code_challenge,
        lifetime=lifetime,
    )
    return bool(stored)


async def lock_code(tx: Transaction, digest: bytes) -> CodeState | None:
    """Lock a code, and before it the grant that it was used for. ``None`` if there is no such code.

    No clock tells which requests came together: a code that was not used at the first look, but
    is when the lock is ours, was used meanwhile.
    """
    seen = await tx.row(
        "SELECT session_id FROM oauth_authorization_codes WHERE digest = %(digest)s", digest=digest
    )
    if seen is not None and seen.session_id is not None:
        await lock(tx, seen.session_id)
    row = await tx.row(
        """SELECT client_id, user_id, redirect_uri, scopes, resource, code_challenge, auth_time,
                  failures, expires_at <= clock_timestamp() AS expired, session_id
           FROM oauth_authorization_codes WHERE digest = %(digest)s FOR UPDATE""",
        digest=digest,
    )
    if seen is None or row is None:
        return None
    return CodeState(
        client_id=row.client_id,
        user_id=row.user_id,
        redirect_uri=row.redirect_uri,
        scopes=frozenset(row.scopes),
        resource=row.resource,
        code_challenge=row.code_challenge,
        auth_time=row.auth_time,
        failures=row.failures,
        expired=row.expired,
        grant_id=row.session_id,
        used_meanwhile=seen.session_id is None and row.session_id is not None,
    )


async def count_code_failure(tx: Transaction, digest: bytes) -> None:
    """Remember that somebody failed to exchange this code; the count ends where its type does."""
    await tx.execute(
        """UPDATE oauth_authorization_codes SET failures = least(failures, 32766) + 1
           WHERE digest = %(digest)s""",
        digest=digest,
    )


async def use_code(tx: Transaction, digest: bytes, *, code: CodeState, lifetime: timedelta) -> str:
    """Spend a locked and unspent code for a new grant and return the grant's id."""
    grant = await tx.one(
        """INSERT INTO mcp_sessions (client_id, user_id, scopes, resource, auth_time, expires_at)
           VALUES (%(client_id)s, %(user_id)s, %(scopes)s, %(resource)s, %(auth_time)s,
                   clock_timestamp() + %(lifetime)s)
           RETURNING id""",
        client_id=code.client_id,
        user_id=code.user_id,
        scopes=sorted(code.scopes),
        resource=code.resource,
        auth_time=code.auth_time,
        lifetime=lifetime,
    )
    await tx.one(
        """UPDATE oauth_authorization_codes
           SET used_at = clock_timestamp(), session_id = %(grant_id)s
           WHERE digest = %(digest)s AND used_at IS NULL RETURNING 1""",
        digest=digest,
        grant_id=grant.id,
    )
    return str(grant.id)


async def lock_refresh_token(tx: Transaction, digest: bytes) -> RefreshState | None:
    """Lock the token's grant, then read both. ``None`` if there is no such token."""
    owner = await tx.row(
        "SELECT session_id FROM oauth_refresh_tokens WHERE digest = %(digest)s", digest=digest
    )
    if owner is None:
        return None
    grant = await lock(tx, owner.session_id)
    # A second statement on purpose: one that joined both would show the token as it was before
    # it had waited for the lock.
    token = await tx.row(
        """SELECT t.id, t.expires_at <= clock_timestamp() AS expired,
                  t.revoked_at IS NOT NULL AS revoked, t.rotated_at IS NOT NULL AS rotated,
                  CASE WHEN t.reusable_until > clock_timestamp()
                        AND EXISTS (SELECT FROM oauth_refresh_tokens child
                                    WHERE child.parent_id = t.id AND child.rotated_at IS NULL
                                      AND child.revoked_at IS NULL)
                       THEN t.salt END AS salt
           FROM oauth_refresh_tokens t WHERE t.digest = %(digest)s""",
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
        rotated=token.rotated,
        salt=token.salt,
    )


async def lock(tx: Transaction, grant_id: str) -> "LockedGrant | None":
    """Lock a grant before anything is done to its tokens. ``None`` if it was cleaned up."""
    row = await tx.row(
        "SELECT client_id, state, scopes, resource FROM mcp_sessions WHERE id = %(id)s FOR UPDATE",
        id=grant_id,
    )
    return LockedGrant(*row) if row else None


@dataclass(frozen=True)
class LockedGrant:
    """A grant that nobody else can change until the transaction ends."""

    client_id: str
    state: str
    scopes: list[str]
    resource: str


async def rotate(
    tx: Transaction, token_id: str, *, salt: bytes | None, reusable_for: timedelta
) -> None:
    """Mark a live refresh token as used, and forget how to derive it from its own parent.

    With a ``salt`` its successor can be derived again for ``reusable_for``.
    """
    await tx.one(
        """UPDATE oauth_refresh_tokens
           SET rotated_at = clock_timestamp(), salt = %(salt)s,
               reusable_until = clock_timestamp() + %(reusable_for)s
           WHERE id = %(id)s AND rotated_at IS NULL AND revoked_at IS NULL RETURNING 1""",
        id=token_id,
        salt=salt,
        reusable_for=reusable_for if salt else None,
    )
    await tx.execute(
        """UPDATE oauth_refresh_tokens SET salt = NULL, reusable_until = NULL
           WHERE id = (SELECT parent_id FROM oauth_refresh_tokens WHERE id = %(id)s)
             AND salt IS NOT NULL""",
        id=token_id,
    )


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


async def live_access_token(
    tx: Transaction, digest: bytes, *, scopes: frozenset[str]
) -> int | None:
    """Return the seconds that an access token with exactly these scopes still has, if it lives."""
    row = await tx.row(
        """SELECT greatest(0, round(extract(epoch FROM expires_at - clock_timestamp())))::integer
                  AS seconds
           FROM oauth_access_tokens
           WHERE digest = %(digest)s AND revoked_at IS NULL AND scopes = %(scopes)s""",
        digest=digest,
        scopes=sorted(scopes),
    )
    return int(row.seconds) if row else None


async def end(tx: Transaction, *grant_ids: str, state: str) -> None:
    """End locked grants as ``revoked`` or ``compromised``, and all their tokens with them.

    A grant that has ended already keeps its state.
    """
    await tx.execute(
        """UPDATE mcp_sessions SET state = %(state)s, ended_at = clock_timestamp()
           WHERE id = ANY(%(ids)s::uuid[]) AND state = 'active'""",
        ids=list(grant_ids),
        state=state,
    )
    await tx.execute(
        """UPDATE oauth_refresh_tokens
           SET revoked_at = clock_timestamp(), salt = NULL, reusable_until = NULL
           WHERE session_id = ANY(%(ids)s::uuid[]) AND revoked_at IS NULL""",
        ids=list(grant_ids),
    )
    await tx.execute(
        """UPDATE oauth_access_tokens SET revoked_at = clock_timestamp()
           WHERE session_id = ANY(%(ids)s::uuid[]) AND revoked_at IS NULL""",
        ids=list(grant_ids),
    )


async def end_all(
    tx: Transaction, *, client_id: str | None = None, user_id: str | None = None
) -> int:
    """Revoke every active grant of a client, of a user, or of everybody; return how many."""
    rows = await tx.rows(
        """SELECT id FROM mcp_sessions
           WHERE state = 'active'
             AND (%(client_id)s IS NULL OR client_id = %(client_id)s)
             AND (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s::uuid)
           ORDER BY id FOR UPDATE""",
        client_id=client_id,
        user_id=user_id,
    )
    for start in range(0, len(rows), BATCH):
        await end(tx, *(row.id for row in rows[start : start + BATCH]), state="revoked")
    return len(rows)


async def revoke(tx: Transaction, grant_id: str) -> bool:
    """Lock a grant and revoke it. ``False`` if there is none or it has ended."""
    grant = await lock(tx, grant_id)
    if grant is None or grant.state != "active":
        return False
    await end(tx, grant_id, state="revoked")
    return True


async def find_owner(tx: Transaction, digest: bytes) -> TokenOwner | None:
    """Find a presented token, of either kind and in whatever state."""
    row = await tx.row(
        """SELECT session_id, true FROM oauth_refresh_tokens WHERE digest = %(digest)s
           UNION ALL
           SELECT session_id, false FROM oauth_access_tokens WHERE digest = %(digest)s""",
        digest=digest,
    )
    return TokenOwner(*row) if row else None


async def revoke_access_token(tx: Transaction, digest: bytes) -> None:
    """Revoke one access token; its grant goes on."""
    await tx.execute(
        """UPDATE oauth_access_tokens SET revoked_at = clock_timestamp()
           WHERE digest = %(digest)s AND revoked_at IS NULL""",
        digest=digest,
    )


async def find_all(db: Queryable, *, active_only: bool) -> list[Grant]:
    """Return grants, the newest first; an expired one counts as not active."""
    rows = await db.rows(
        """SELECT s.id, s.client_id, u.name, s.scopes,
                  CASE WHEN s.state = 'active' AND s.expires_at <= clock_timestamp()
                       THEN 'expired' ELSE s.state END AS state,
                  s.created_at, s.last_used_at, s.expires_at, s.ended_at
           FROM mcp_sessions s JOIN users u ON u.id = s.user_id
           WHERE NOT %(active_only)s
              OR (s.state = 'active' AND s.expires_at > clock_timestamp())
           ORDER BY s.created_at DESC, s.id""",
        active_only=active_only,
    )
    return [Grant(row[0], row[1], row[2], tuple(row[3]), *row[4:]) for row in rows]

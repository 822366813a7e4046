"""The tables ``mcp_sessions`` (grants), ``oauth_authorization_codes`` and the two of tokens."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mcpserve.db import Queryable, Row, Transaction

USED_TWICE = "10 seconds"
"""An exchange of a code so soon after the first is of a client that asks twice, not of a thief."""
BATCH = 1000
"""Grants that end in one statement, whose time is limited."""
GRANTS = """
    SELECT s.id, s.client_id, c.client_name, u.name, s.scopes,
           CASE WHEN s.state = 'active' AND s.expires_at <= clock_timestamp()
                THEN 'expired' ELSE s.state END AS state,
           s.created_at, s.last_used_at, s.expires_at, s.ended_at
    FROM mcp_sessions s JOIN users u ON u.id = s.user_id JOIN oauth_clients c USING (client_id)"""
"""Grants as an operator sees them: rows of :class:`Grant`."""


@dataclass(frozen=True)
class NewCode:
    """What an authorization code stands for."""

    client_id: str
    user_id: str
    redirect_uri: str
    scopes: frozenset[str]
    resource: str
    code_challenge: str
    client_document_digest: bytes | None
    """Of the client's document that it is bound to, if there is one."""


@dataclass(frozen=True)
class CodeState:
    """An authorization code, locked; its grant too, unless it was ``used_just_now``."""

    client_id: str
    user_id: str
    redirect_uri: str
    scopes: frozenset[str]
    resource: str
    code_challenge: str
    client_document_digest: bytes | None
    auth_time: datetime
    failures: int
    expired: bool
    grant_id: str | None
    """The grant that it was exchanged for, if it was."""
    future_grant_id: str
    """The id that its grant gets."""
    used_just_now: bool
    """Exchanged less than :data:`USED_TWICE` ago."""


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


@dataclass(frozen=True)
class Grant:
    """A grant as an operator sees it."""

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


async def create_code(
    tx: Transaction, digest: bytes, session_id: str, *, code: NewCode, lifetime: timedelta
) -> str | None:
    """Store a code and return the id of its future grant.

    The time of login is that of the browser session; ``None`` if the user is not logged in there
    any more.
    """
    stored = await tx.row(
        """INSERT INTO oauth_authorization_codes
               (digest, client_id, user_id, redirect_uri, scopes, resource, code_challenge,
                client_document_digest, auth_time, expires_at)
           SELECT %(digest)s, %(client_id)s, %(user_id)s, %(redirect_uri)s, %(scopes)s,
                  %(resource)s, %(code_challenge)s, %(client_document_digest)s, auth_time,
                  clock_timestamp() + %(lifetime)s
           FROM browser_sessions
           WHERE id = %(session_id)s AND user_id = %(user_id)s
             AND expires_at > clock_timestamp()
           RETURNING future_session_id""",
        digest=digest,
        session_id=session_id,
        client_id=code.client_id,
        user_id=code.user_id,
        redirect_uri=code.redirect_uri,
        scopes=sorted(code.scopes),
        resource=code.resource,
        code_challenge=code.code_challenge,
        client_document_digest=code.client_document_digest,
        lifetime=lifetime,
    )
    return str(stored.future_session_id) if stored else None


async def lock_code(tx: Transaction, digest: bytes) -> CodeState | None:
    """Lock a code, and before it the grant that it was used for. ``None`` if there is no such code.

    The grant of a code that was used between the two is not locked, but is just made.
    """
    seen = await tx.row(
        "SELECT session_id FROM oauth_authorization_codes WHERE digest = %(digest)s", digest=digest
    )
    if seen is not None and seen.session_id is not None:
        await lock(tx, seen.session_id)
    row = await tx.row(
        """SELECT client_id, user_id, redirect_uri, scopes, resource, code_challenge,
                  client_document_digest, auth_time,
                  failures, expires_at <= clock_timestamp() AS expired, session_id,
                  future_session_id,
                  COALESCE(used_at > clock_timestamp() - %(moment)s::interval, false) AS just_now
           FROM oauth_authorization_codes WHERE digest = %(digest)s FOR UPDATE""",
        digest=digest,
        moment=USED_TWICE,
    )
    if row is None:
        return None
    return CodeState(
        client_id=row.client_id,
        user_id=row.user_id,
        redirect_uri=row.redirect_uri,
        scopes=frozenset(row.scopes),
        resource=row.resource,
        code_challenge=row.code_challenge,
        client_document_digest=bytes(row.client_document_digest)
        if row.client_document_digest
        else None,
        auth_time=row.auth_time,
        failures=row.failures,
        expired=row.expired,
        grant_id=row.session_id,
        future_grant_id=row.future_session_id,
        used_just_now=row.just_now,
    )


async def count_code_failure(tx: Transaction, digest: bytes) -> None:
    """Remember that somebody failed to exchange this code; the count ends where its type does."""
    await tx.execute(
        """UPDATE oauth_authorization_codes SET failures = least(failures, 32766) + 1
           WHERE digest = %(digest)s""",
        digest=digest,
    )


async def use_code(
    tx: Transaction, digest: bytes, *, code: CodeState, lifetime: timedelta
) -> datetime:
    """Spend a locked and unspent code for its future grant and return when that expires."""
    grant = await tx.one(
        """INSERT INTO mcp_sessions
               (id, client_id, user_id, scopes, resource, auth_time, expires_at)
           VALUES (%(id)s, %(client_id)s, %(user_id)s, %(scopes)s, %(resource)s, %(auth_time)s,
                   clock_timestamp() + %(lifetime)s)
           RETURNING expires_at""",
        id=code.future_grant_id,
        client_id=code.client_id,
        user_id=code.user_id,
        scopes=sorted(code.scopes),
        resource=code.resource,
        auth_time=code.auth_time,
        lifetime=lifetime,
    )
    await tx.one(
        """UPDATE oauth_authorization_codes
           SET used_at = clock_timestamp(), session_id = future_session_id
           WHERE digest = %(digest)s AND used_at IS NULL RETURNING 1""",
        digest=digest,
    )
    expires_at: datetime = grant.expires_at
    return expires_at


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


async def find_all(db: Queryable, *, active_only: bool) -> list[Grant]:
    """Return grants, the newest first; an expired one counts as not active."""
    rows = await db.rows(
        f"""{GRANTS} WHERE NOT %(active_only)s
              OR (s.state = 'active' AND s.expires_at > clock_timestamp())
            ORDER BY s.created_at DESC, s.id""",
        active_only=active_only,
    )
    return [_grant(row) for row in rows]


async def find(db: Queryable, grant_id: str) -> Grant | None:
    """Return the grant; ``None`` if there is none any more."""
    row = await db.row(f"{GRANTS} WHERE s.id = %(id)s", id=grant_id)
    return _grant(row) if row else None


def _grant(row: Row) -> Grant:
    return Grant(row[0], row[1], row[2], row[3], tuple(row[4]), *row[5:])

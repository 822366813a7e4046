"""The tables ``browser_sessions`` and ``authorization_requests``."""

from dataclasses import dataclass
from datetime import timedelta

from mcpserve.db import Queryable, Row, Transaction

ANONYMOUS_LIFETIME = timedelta(hours=1)
"""How long a browser that nobody logged in with is remembered."""
REQUEST_LIFETIME = timedelta(minutes=10)
"""How long an authorization request waits for login and consent."""


@dataclass(frozen=True)
class BrowserSession:
    """A browser at our pages."""

    id: str
    user_id: str | None
    user_name: str | None


@dataclass(frozen=True)
class NewRequest:
    """A valid authorization request, to be kept until it is decided."""

    client_id: str
    redirect_uri: str
    state: str | None
    scopes: frozenset[str]
    usual_scopes: bool
    """It named none: these, unless its person granted others before."""
    resource: str
    code_challenge: str
    fresh_login: bool
    client_document_digest: bytes | None
    """Of the document that the client published when it asked, if it has one."""


@dataclass(frozen=True)
class Registered:
    """What a client is known with at this moment."""

    redirect_uris: tuple[str, ...]
    document_digest: bytes | None


@dataclass(frozen=True)
class PendingRequest:
    """An authorization request that waits, as its own browser sees it."""

    client_id: str
    client_name: str
    redirect_uri: str
    state: str | None
    scopes: frozenset[str]
    granted_last: frozenset[str] | None
    """What its person granted the client last; ``None`` if that does not matter or never was."""
    withheld_last: frozenset[str]
    """Names of tools that its person did not allow the client last."""
    resource: str
    code_challenge: str
    decided: bool
    expired: bool
    client_document_digest: bytes | None
    """Of its client's document when it was made."""
    registered: Registered | None
    """What its client is known with now; ``None`` if that is disabled."""
    login_needed: bool
    """Nobody is logged in, or a fresh login was asked for and has not happened."""


async def find_session(db: Queryable, digest: bytes) -> BrowserSession | None:
    """Return the browser session of this cookie, unless it expired."""
    row = await db.row(
        """SELECT b.id, b.user_id, u.name
           FROM browser_sessions b LEFT JOIN users u ON u.id = b.user_id
           WHERE b.digest = %(digest)s AND b.expires_at > clock_timestamp()""",
        digest=digest,
    )
    return BrowserSession(*row) if row else None


async def create_session(db: Queryable, digest: bytes) -> BrowserSession:
    """Remember a browser that nobody logged in with yet."""
    row = await db.one(
        """INSERT INTO browser_sessions (digest, expires_at)
           VALUES (%(digest)s, clock_timestamp() + %(lifetime)s) RETURNING id""",
        digest=digest,
        lifetime=ANONYMOUS_LIFETIME,
    )
    return BrowserSession(row.id, None, None)


async def log_in(
    tx: Transaction, session_id: str, *, digest: bytes, user_id: str, lifetime: timedelta
) -> bool:
    """Give the browser session a locked user and a new cookie; the old one is dead (OAuth 2.1 §7).

    ``False`` if the session is gone. Its waiting authorization requests stay with it.
    """
    return bool(
        await tx.execute(
            """UPDATE browser_sessions
               SET digest = %(digest)s, user_id = %(user_id)s, auth_time = clock_timestamp(),
                   expires_at = clock_timestamp() + %(lifetime)s
               WHERE id = %(id)s""",
            id=session_id,
            digest=digest,
            user_id=user_id,
            lifetime=lifetime,
        )
    )


async def lock_enabled_user(tx: Transaction, user_id: str | None) -> str | None:
    """Return the user's id; until the transaction ends nobody can change the account.

    ``None`` if it is disabled, gone, or nobody's.
    """
    row = await tx.row(
        "SELECT id FROM users WHERE id = %(id)s AND disabled_at IS NULL FOR SHARE", id=user_id
    )
    return str(row.id) if row else None


async def lock_enabled_client(
    tx: Transaction, client_id: str, *, to_write: bool = False
) -> Registered | None:
    """Return what the client is known with; until the transaction ends nobody can change it.

    ``None`` if it is disabled or gone. Whoever is going to write the client says so: two that
    shared the lock could both not go on.
    """
    row = await tx.row(
        f"""SELECT redirect_uris, document_digest FROM oauth_clients
            WHERE client_id = %(id)s AND disabled_at IS NULL
            FOR {"NO KEY UPDATE" if to_write else "SHARE"}""",
        id=client_id,
    )
    return _registered(row) if row else None


def _registered(row: Row) -> Registered:
    return Registered(tuple(row.redirect_uris), _bytes(row.document_digest))


def _bytes(value: memoryview | None) -> bytes | None:
    return None if value is None else bytes(value)


async def log_out(db: Queryable, session_id: str, *, digest: bytes) -> None:
    """Forget who is logged in; the browser gets a new cookie, its waiting requests stay."""
    await db.execute(
        """UPDATE browser_sessions
           SET digest = %(digest)s, user_id = NULL, auth_time = NULL,
               expires_at = clock_timestamp() + %(lifetime)s
           WHERE id = %(id)s""",
        id=session_id,
        digest=digest,
        lifetime=ANONYMOUS_LIFETIME,
    )


async def create_request(
    db: Queryable, digest: bytes, session_id: str, *, request: NewRequest
) -> bool:
    """Keep an authorization request for this browser.

    ``False`` if its session has ended, or if there is no such client any more.
    """
    kept = await db.execute(
        """INSERT INTO authorization_requests
               (digest, browser_session_id, client_id, redirect_uri, state, scopes, usual_scopes,
                resource, code_challenge, fresh_login, client_document_digest, expires_at)
           SELECT %(digest)s, b.id, c.client_id, %(redirect_uri)s, %(state)s,
                  %(scopes)s, %(usual_scopes)s, %(resource)s, %(code_challenge)s, %(fresh_login)s,
                  %(client_document_digest)s, clock_timestamp() + %(lifetime)s
           FROM browser_sessions b, oauth_clients c
           WHERE b.id = %(session_id)s AND c.client_id = %(client_id)s FOR KEY SHARE""",
        digest=digest,
        session_id=session_id,
        client_id=request.client_id,
        redirect_uri=request.redirect_uri,
        state=request.state,
        scopes=sorted(request.scopes),
        usual_scopes=request.usual_scopes,
        resource=request.resource,
        code_challenge=request.code_challenge,
        fresh_login=request.fresh_login,
        client_document_digest=request.client_document_digest,
        lifetime=REQUEST_LIFETIME,
    )
    return bool(kept)


async def find_request(db: Queryable, digest: bytes, session_id: str) -> PendingRequest | None:
    """Return the request if it is this browser's; in another browser its id is worth nothing."""
    row = await db.row(
        """SELECT r.client_id, c.client_name, r.redirect_uri, r.state, r.scopes, r.resource,
                  r.code_challenge, r.decided_at IS NOT NULL AS decided,
                  r.expires_at <= clock_timestamp() AS expired,
                  r.client_document_digest, c.disabled_at IS NULL AS client_enabled,
                  c.redirect_uris, c.document_digest,
                  b.auth_time IS NULL OR (r.fresh_login AND b.auth_time < r.created_at)
                      AS login_needed,
                  CASE WHEN r.usual_scopes THEN last.scopes END AS granted_last,
                  coalesce(last.withheld_tools, '{}') AS withheld_last
           FROM authorization_requests r
           JOIN oauth_clients c USING (client_id)
           JOIN browser_sessions b ON b.id = r.browser_session_id
           LEFT JOIN LATERAL (
               SELECT s.scopes, s.withheld_tools FROM mcp_sessions s
               WHERE s.client_id = r.client_id AND s.user_id = b.user_id
               ORDER BY s.created_at DESC LIMIT 1) last ON true
           WHERE r.digest = %(digest)s AND r.browser_session_id = %(session_id)s""",
        digest=digest,
        session_id=session_id,
    )
    if row is None:
        return None
    return PendingRequest(
        client_id=row.client_id,
        client_name=row.client_name,
        redirect_uri=row.redirect_uri,
        state=row.state,
        scopes=frozenset(row.scopes),
        granted_last=None if row.granted_last is None else frozenset(row.granted_last),
        withheld_last=frozenset(row.withheld_last),
        resource=row.resource,
        code_challenge=row.code_challenge,
        decided=row.decided,
        expired=row.expired,
        client_document_digest=_bytes(row.client_document_digest),
        registered=_registered(row) if row.client_enabled else None,
        login_needed=row.login_needed,
    )


async def decide_request(tx: Transaction, digest: bytes, session_id: str) -> bool:
    """Mark the request as decided. Of two decisions at once only one gets ``True``."""
    return bool(
        await tx.execute(
            """UPDATE authorization_requests SET decided_at = clock_timestamp()
               WHERE digest = %(digest)s AND browser_session_id = %(session_id)s
                 AND decided_at IS NULL AND expires_at > clock_timestamp()""",
            digest=digest,
            session_id=session_id,
        )
    )

"""The table ``oauth_authorization_codes``."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mcpserve.db import Transaction
from mcpserve.oauth.store import grants

USED_TWICE = "10 seconds"
"""An exchange of a code so soon after the first is of a client that asks twice, not of a thief."""


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
    withheld: frozenset[str]
    """Names of tools that the person did not allow."""


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
    withheld: frozenset[str]
    """Names of tools that the person did not allow."""


async def create(
    tx: Transaction, digest: bytes, session_id: str, *, code: NewCode, lifetime: timedelta
) -> str | None:
    """Store a code and return the id of its future grant.

    The time of login is that of the browser session; ``None`` if the user is not logged in there
    any more.
    """
    stored = await tx.row(
        """INSERT INTO oauth_authorization_codes
               (digest, client_id, user_id, redirect_uri, scopes, resource, code_challenge,
                client_document_digest, withheld_tools, auth_time, expires_at)
           SELECT %(digest)s, %(client_id)s, %(user_id)s, %(redirect_uri)s, %(scopes)s,
                  %(resource)s, %(code_challenge)s, %(client_document_digest)s,
                  %(withheld)s::text[], auth_time, clock_timestamp() + %(lifetime)s
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
        withheld=sorted(code.withheld),
        lifetime=lifetime,
    )
    return str(stored.future_session_id) if stored else None


async def lock(tx: Transaction, digest: bytes) -> CodeState | None:
    """Lock a code, and before it the grant that it was used for. ``None`` if there is no such code.

    The grant of a code that was used between the two is not locked, but is just made.
    """
    seen = await tx.row(
        "SELECT session_id FROM oauth_authorization_codes WHERE digest = %(digest)s", digest=digest
    )
    if seen is not None and seen.session_id is not None:
        await grants.lock(tx, seen.session_id)
    row = await tx.row(
        """SELECT client_id, user_id, redirect_uri, scopes, resource, code_challenge,
                  client_document_digest, withheld_tools, auth_time,
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
        withheld=frozenset(row.withheld_tools),
    )


async def count_failure(tx: Transaction, digest: bytes) -> None:
    """Remember that somebody failed to exchange this code; the count ends where its type does."""
    await tx.execute(
        """UPDATE oauth_authorization_codes SET failures = least(failures, 32766) + 1
           WHERE digest = %(digest)s""",
        digest=digest,
    )


async def use(tx: Transaction, digest: bytes, *, code: CodeState, lifetime: timedelta) -> datetime:
    """Spend a locked and unspent code for its future grant and return when that expires."""
    grant = await tx.one(
        """INSERT INTO mcp_sessions
               (id, client_id, user_id, scopes, resource, withheld_tools, auth_time, expires_at)
           VALUES (%(id)s, %(client_id)s, %(user_id)s, %(scopes)s, %(resource)s,
                   %(withheld)s::text[], %(auth_time)s, clock_timestamp() + %(lifetime)s)
           RETURNING expires_at""",
        id=code.future_grant_id,
        client_id=code.client_id,
        user_id=code.user_id,
        scopes=sorted(code.scopes),
        resource=code.resource,
        withheld=sorted(code.withheld),
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

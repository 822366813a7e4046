"""How not to do it: plausible code that every race check here finds broken.

Each function does what the real one of the same name does, wrongly in one way. Nothing but
test_naive_is_red.py uses it.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from store import lab

from mcpserve import crypto
from mcpserve.db import Database
from mcpserve.errors import InvalidGrant
from mcpserve.oauth.grants import Refresh, TokenPair, decide_refresh
from mcpserve.oauth.store import browsers, clients, users
from mcpserve.oauth.store import grants as store
from mcpserve.oauth.store.grants import RefreshState

Pause = Callable[[], Awaitable[Any]]


async def no_pause() -> None:
    """Go on at once."""


async def exchange_without_lock(db: Database, number: int = 0, *, pause: Pause = no_pause) -> Any:
    """SELECT, look, UPDATE: everybody who looks before the first UPDATE wins."""
    settings = lab.settings()
    digest = crypto.digest(f"code-{number}")
    pair = TokenPair.generate()
    async with db.transaction() as tx:
        code = await tx.one(
            "SELECT * FROM oauth_authorization_codes WHERE digest = %(digest)s", digest=digest
        )
        if code.used_at is not None:
            raise InvalidGrant("used")
        await pause()
        grant = await tx.one(
            """INSERT INTO mcp_sessions (client_id, user_id, scopes, resource, auth_time,
                                         expires_at)
               VALUES (%(client_id)s, %(user_id)s, %(scopes)s, %(resource)s, %(auth_time)s,
                       clock_timestamp() + interval '1 hour')
               RETURNING id""",
            client_id=code.client_id,
            user_id=code.user_id,
            scopes=code.scopes,
            resource=code.resource,
            auth_time=code.auth_time,
        )
        await tx.execute(
            """UPDATE oauth_authorization_codes
               SET used_at = clock_timestamp(), session_id = %(grant)s WHERE digest = %(digest)s""",
            grant=grant.id,
            digest=digest,
        )
        return await _issue(tx, settings, grant.id, pair, parent_id=None)


async def refresh_without_lock(db: Database, number: int = 0, *, pause: Pause = no_pause) -> Any:
    """SELECT, look, UPDATE: the lineage forks, or would."""
    async with db.transaction() as tx:
        token = await tx.one(
            "SELECT * FROM oauth_refresh_tokens WHERE digest = %(digest)s",
            digest=crypto.digest(f"rt-{number}"),
        )
        if token.rotated_at is not None:
            raise InvalidGrant("used")
        await pause()
        await tx.execute(
            "UPDATE oauth_refresh_tokens SET rotated_at = clock_timestamp() WHERE id = %(id)s",
            id=token.id,
        )
        return await _issue(
            tx, lab.settings(), token.session_id, TokenPair.generate(), parent_id=token.id
        )


async def refresh_with_joined_lock(db: Database, number: int = 0) -> Any:
    """One statement locks the grant and reads the token: as it was before the wait."""
    async with db.transaction() as tx:
        row = await tx.one(
            """SELECT t.id, s.id AS grant_id, s.state, s.client_id, s.scopes, s.resource,
                      t.rotated_at IS NOT NULL AS rotated, t.revoked_at IS NOT NULL AS revoked
               FROM oauth_refresh_tokens t JOIN mcp_sessions s ON s.id = t.session_id
               WHERE t.digest = %(digest)s FOR UPDATE OF s""",
            digest=crypto.digest(f"rt-{number}"),
        )
        decision = decide_refresh(
            RefreshState(
                id=row.id,
                grant_id=row.grant_id,
                client_id=row.client_id,
                grant_active=row.state == "active",
                scopes=frozenset(row.scopes),
                resource=row.resource,
                expired=False,
                revoked=row.revoked,
                rotated=row.rotated,
                salt=None,
            ),
            f"client-{number}",
            lab.RESOURCE,
        )
        if decision is Refresh.REUSED:
            await store.end(tx, row.grant_id, state="compromised")
        answer = None
        if decision is Refresh.ROTATE:
            await tx.execute(
                "UPDATE oauth_refresh_tokens SET rotated_at = clock_timestamp() WHERE id = %(id)s",
                id=row.id,
            )
            answer = await _issue(
                tx, lab.settings(), row.grant_id, TokenPair.generate(), parent_id=row.id
            )
    if answer is None:
        raise InvalidGrant("used")
    return answer


async def refresh_raising_inside(db: Database, number: int = 0) -> Any:
    """The error goes through the end of the transaction and takes the revocation with it."""
    async with db.transaction() as tx:
        state = await store.lock_refresh_token(tx, crypto.digest(f"rt-{number}"))
        decision = decide_refresh(state, f"client-{number}", lab.RESOURCE)
        if state is not None and decision is Refresh.REUSED:
            await store.end(tx, state.grant_id, state="compromised")
        if state is None or decision is not Refresh.ROTATE:
            raise InvalidGrant("used")
        await store.rotate(
            tx, state.id, salt=None, reusable_for=lab.settings().refresh_reuse_window
        )
        return await _issue(
            tx, lab.settings(), state.grant_id, TokenPair.generate(), parent_id=state.id
        )


async def revoke_without_lock(db: Database, number: int = 0) -> Any:
    """Tokens first and the grant last: a refresh in between leaves new tokens behind."""
    owner = await store.find_owner(db, crypto.digest(f"rt-{number}"))
    if owner is None:
        return
    for table in ("oauth_access_tokens", "oauth_refresh_tokens"):
        await db.execute(
            f"""UPDATE {table} SET revoked_at = clock_timestamp()
                WHERE session_id = %(id)s AND revoked_at IS NULL""",
            id=owner.grant_id,
        )
    await db.execute(
        """UPDATE mcp_sessions SET state = 'revoked', ended_at = clock_timestamp()
           WHERE id = %(id)s""",
        id=owner.grant_id,
    )


async def approve_request_first(db: Database, number: int = 0) -> Any:
    """Lock the request and then the user; whoever ends the user's sessions does the opposite."""
    session = await browsers.find_session(db, crypto.digest(f"cookie-{number}"))
    if session is None:
        return
    async with db.transaction() as tx:
        await browsers.decide_request(tx, crypto.digest(f"request-{number}"), session.id)
        await browsers.lock_enabled_user(tx, session.user_id)


async def log_in_without_second_look(db: Database, number: int = 0) -> Any:
    """Trust a password that was right a moment ago."""
    user = await users.find(db, f"user-{number}")
    digest = crypto.digest(f"cookie-{number}")
    session = await browsers.find_session(db, digest)
    if user is None or session is None or user.password_hash != lab.OLD_HASH:
        return False
    async with db.transaction() as tx:
        await browsers.lock_enabled_user(tx, user.id)
        return await browsers.log_in(
            tx, session.id, digest=digest, user_id=user.id, lifetime=timedelta(hours=1)
        )


async def disable_client_out_of_turn(db: Database, number: int = 0) -> Any:
    """Disable a client that somebody has read and is about to write."""
    async with db.transaction() as tx:
        await clients.set_disabled(tx, f"client-{number}", disabled=True)


async def _issue(tx: Any, settings: Any, grant_id: str, pair: TokenPair, *, parent_id: Any) -> Any:
    scopes = frozenset({"mcp.tools.call"})
    seconds = await store.issue(
        tx,
        grant_id,
        access=crypto.digest(pair.access),
        refresh=crypto.digest(pair.refresh),
        parent_id=parent_id,
        scopes=scopes,
        access_lifetime=settings.access_token_lifetime,
    )
    return pair.response(seconds, scopes)

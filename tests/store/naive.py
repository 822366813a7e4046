"""How not to do it: plausible code that every race check here finds broken.

Each function does what the real one of the same name does, wrongly in one way. Nothing but
test_naive_is_red.py uses it.
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from store import lab

from mcpserve import crypto
from mcpserve.db import Database
from mcpserve.errors import InvalidGrant
from mcpserve.oauth import grants
from mcpserve.oauth.grants import Refresh, TokenPair, decide_refresh
from mcpserve.oauth.keys import KeyRing
from mcpserve.oauth.store import browsers, clients, tokens, users
from mcpserve.oauth.store import grants as store
from mcpserve.oauth.store import keys as key_store
from mcpserve.oauth.store.tokens import RefreshState, Window

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
                      t.rotated_at, t.revoked_at IS NOT NULL AS revoked
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
                rotated_at=row.rotated_at,
                window=None,
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
        state = await tokens.lock_refresh_token(tx, crypto.digest(f"rt-{number}"))
        decision = decide_refresh(state, f"client-{number}", lab.RESOURCE)
        if state is not None and decision is Refresh.REUSED:
            await store.end(tx, state.grant_id, state="compromised")
        if state is None or decision is not Refresh.ROTATE:
            raise InvalidGrant("used")
        await tokens.rotate(
            tx, state.id, window=None, reusable_for=lab.settings().refresh_reuse_window
        )
        return await _issue(
            tx, lab.settings(), state.grant_id, TokenPair.generate(), parent_id=state.id
        )


async def refresh_decided_before_lock(
    db: Database, number: int = 0, *, pause: Pause = no_pause
) -> Any:
    """What to do is decided by a look at the token, and done once the grant is locked."""
    async with db.transaction() as tx:
        state = await tokens.lock_refresh_token(tx, crypto.digest(f"rt-{number}"))
    await pause()
    async with db.transaction() as tx:
        await store.lock(tx, state.grant_id)
        return await _answer(tx, state, f"rt-{number}")


async def refresh_by_own_clock(
    db: Database, number: int = 0, *, clock: Callable[[], datetime]
) -> Any:
    """The end of the window is judged by this machine's clock."""
    digest = crypto.digest(f"rt-{number}")
    async with db.transaction() as tx:
        state = await tokens.lock_refresh_token(tx, digest)
        token = await tx.one(
            "SELECT * FROM oauth_refresh_tokens WHERE digest = %(digest)s", digest=digest
        )
        is_open = token.reusable_until is not None and token.reusable_until > clock()
        window = Window(token.salt, token.key_id) if is_open else None
        return await _answer(tx, replace(state, window=window), f"rt-{number}")


async def refresh_keeping_salts(db: Database, number: int = 0, *, token: str = "") -> Any:
    """The window of the parent stays open until its time is over."""
    digest = crypto.digest(token or f"rt-{number}")
    async with db.transaction() as tx:
        before = await tx.row(
            """SELECT parent.* FROM oauth_refresh_tokens parent
               JOIN oauth_refresh_tokens t ON t.parent_id = parent.id
               WHERE t.digest = %(digest)s""",
            digest=digest,
        )
        state = await tokens.lock_refresh_token(tx, digest)
        answer = await _answer(tx, state, token or f"rt-{number}")
        await tx.execute(
            """UPDATE oauth_refresh_tokens
               SET salt = %(salt)s, key_id = %(key_id)s, reusable_until = %(until)s
               WHERE id = %(id)s""",
            id=before and before.id,
            salt=before and before.salt,
            key_id=before and before.key_id,
            until=before and before.reusable_until,
        )
        return answer


@dataclass(frozen=True)
class RememberedKey(KeyRing):
    """A ring that knows from before which key to use."""

    chosen: tuple[str, bytes]

    async def choose(self, tx: Any) -> tuple[str, bytes]:
        return self.chosen


async def refresh_with_remembered_key(db: Database, number: int = 0) -> Any:
    """The key is chosen outside of the transaction that uses it."""
    async with db.transaction() as tx:
        chosen = await KeyRing({}).choose(tx)
    return await grants.refresh_token(
        db,
        lab.issuance(window=60, keys=RememberedKey({}, chosen)),
        lab.client(number),
        lab.refresh_form(f"rt-{number}"),
    )


async def start_without_lock(db: Database, number: int = 0, *, pause: Pause = no_pause) -> Any:
    """Look whether there is a key, and make one."""
    found = await key_store.find_all(db)
    await pause()
    if not found:
        secret = secrets.token_bytes(32)
        async with db.transaction() as tx:
            await key_store.add(tx, crypto.key_id(secret), secret=secret)


async def _answer(tx: Any, state: RefreshState, presented: str) -> Any:
    """Do what the real code does once it knows the state of the token."""
    window = lab.settings(window=60).refresh_reuse_window
    match decide_refresh(state, state.client_id, lab.RESOURCE):
        case Refresh.ROTATE:
            return await grants._rotate(
                tx,
                lab.issuance(window=60),
                state,
                presented,
                wanted=state.scopes,
                reusable=window,
            )
        case Refresh.REPLAY:
            key = await KeyRing({}).find(tx, state.window.key_id)
            pair = TokenPair.derive(presented, salt=state.window.salt, key=key)
            return await grants._repeat(tx, state, pair, form=lab.refresh_form(presented))
        case Refresh.REUSED:
            await store.end(tx, state.grant_id, state="compromised")


async def revoke_without_lock(db: Database, number: int = 0) -> Any:
    """Tokens first and the grant last: a refresh in between leaves new tokens behind."""
    owner = await tokens.find_owner(db, crypto.digest(f"rt-{number}"))
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


DISUSED = f"""
    origin = 'registration' AND last_used_at IS NULL
    AND created_at < clock_timestamp() - interval '24 hours' AND {clients.NOTHING_IS_LEFT}"""
GATE = 4711


async def delete_clients_without_lock(db: Database, number: int = 0) -> Any:
    """Look, then delete: with the client goes what began in between."""
    async with db.transaction() as tx:
        found = await tx.rows(f"SELECT client_id FROM oauth_clients c WHERE {DISUSED}")
        await tx.execute(
            "DELETE FROM oauth_clients WHERE client_id = ANY(%(ids)s)",
            ids=[row.client_id for row in found],
        )


async def delete_clients_in_one_statement(db: Database, number: int = 0) -> Any:
    """Look and lock at once: what began after the statement did is not seen.

    It waits at the gate where it may be slow.
    """
    async with db.transaction() as tx:
        await tx.execute(
            f"""DELETE FROM oauth_clients WHERE ctid = ANY(ARRAY(
                    SELECT ctid FROM oauth_clients c
                    WHERE (SELECT pg_advisory_xact_lock({GATE})::text) = '' AND {DISUSED}
                    FOR UPDATE SKIP LOCKED))"""
        )


lock_enabled_client = browsers.lock_enabled_client


async def share_enabled_client(tx: Any, client_id: str, *, to_write: bool = False) -> Any:
    """Share the lock first, and want more of it then."""
    return await lock_enabled_client(tx, client_id)


async def _issue(tx: Any, settings: Any, grant_id: str, pair: TokenPair, *, parent_id: Any) -> Any:
    scopes = frozenset({"mcp.tools.call"})
    seconds = await tokens.issue(
        tx,
        grant_id,
        access=crypto.digest(pair.access),
        refresh=crypto.digest(pair.refresh),
        parent_id=parent_id,
        scopes=scopes,
        access_lifetime=settings.access_token_lifetime,
    )
    return pair.response(seconds, scopes)

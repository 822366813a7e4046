"""The token endpoint's grant types: exchange a code, rotate a refresh token (OAuth 2.1 §4).

``decide_*`` are pure. What they decide is written in one transaction, and an error is raised only
after COMMIT, because raising inside would undo the revocation that goes with it.
"""

import re
import secrets
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol

from mcpserve import audit, crypto
from mcpserve.audit import Event
from mcpserve.db import Database, Transaction
from mcpserve.errors import InvalidGrant, InvalidRequest, UnsupportedGrantType
from mcpserve.oauth import resources, scopes
from mcpserve.oauth.forms import TokenForm
from mcpserve.oauth.keys import KeyRing
from mcpserve.oauth.store import browsers, clients, codes, tokens
from mcpserve.oauth.store import grants as store
from mcpserve.oauth.store.clients import Client
from mcpserve.oauth.store.codes import CodeState
from mcpserve.oauth.store.tokens import RefreshState, Window
from mcpserve.settings import OAuthSettings

VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
"""RFC 7636 §4.1."""
MAX_CODE_FAILURES = 5
MAX_REPEATS = 100
"""Far more than a client asks again that lost an answer; each is an event that is kept."""
CODE_IS_BAD = "the authorization code is not valid"
TOKEN_IS_BAD = "the refresh token is not valid"  # noqa: S105 - a message


@dataclass(frozen=True)
class Issuance:
    """What every token that this server issues depends on."""

    settings: OAuthSettings
    resource: str
    """The audience of the tokens."""
    keys: KeyRing


@dataclass(frozen=True)
class TokenPair:
    """A new access token and the refresh token that goes with it."""

    access: str
    refresh: str

    @classmethod
    def generate(cls) -> "TokenPair":
        """Make both at random."""
        return cls(crypto.new_token(crypto.ACCESS_TOKEN), crypto.new_token(crypto.REFRESH_TOKEN))

    @classmethod
    def derive(cls, parent: str, *, salt: bytes, key: bytes) -> "TokenPair":
        """Make the one pair that follows from this parent, salt and key."""
        return cls(
            crypto.derived_token(crypto.ACCESS_TOKEN, parent=parent, salt=salt, key=key),
            crypto.derived_token(crypto.REFRESH_TOKEN, parent=parent, salt=salt, key=key),
        )

    def response(self, seconds: int, granted: frozenset[str]) -> dict[str, Any]:
        """Return the successful answer (RFC 6749 §5.1)."""
        return {
            "access_token": self.access,
            "token_type": "Bearer",
            "expires_in": seconds,
            "refresh_token": self.refresh,
            "scope": scopes.join(granted),
        }


class Exchange(StrEnum):
    """What to do with a presented code."""

    ISSUE = "issue"
    UNKNOWN = "there is no such code"
    REFUSE = "wrong client or resource, expired, or too many failures"
    MISMATCH = "redirect_uri or code_verifier is wrong"
    TWICE = "it was exchanged a moment ago"
    REPLAY = "it was exchanged before"


def decide_exchange(
    state: CodeState | None, client_id: str, resource: str, *, form: TokenForm
) -> Exchange:
    """Judge a code.

    Only who proves to be the code's owner can end its grant by a replay; a thief without the
    verifier cannot log anybody out (OAuth 2.1 §7.5.2). Nor does a client that asks twice, because
    the browser came to two listeners of it, or its user reloaded the page.
    """
    if state is None:
        return Exchange.UNKNOWN
    if state.client_id != client_id or state.resource != resource:
        return Exchange.REFUSE
    if not _is_owner(state, form):
        return Exchange.MISMATCH
    if state.grant_id is not None:
        return Exchange.TWICE if state.used_just_now else Exchange.REPLAY
    if state.expired or state.failures >= MAX_CODE_FAILURES:
        return Exchange.REFUSE
    return Exchange.ISSUE


def _is_owner(state: CodeState, form: TokenForm) -> bool:
    if form.redirect_uri is not None and form.redirect_uri != state.redirect_uri:
        return False
    if form.code_verifier is None or not VERIFIER.fullmatch(form.code_verifier):
        return False
    return crypto.same(crypto.pkce_s256(form.code_verifier), state.code_challenge)


async def authorization_code(
    db: Database, issuance: Issuance, client: Client, form: TokenForm
) -> dict[str, Any]:
    """Exchange a code for tokens, once (OAuth 2.1 §4.1.3).

    A replay by the owner revokes what the code was exchanged for, unless it comes at once. A
    failed exchange costs nothing, five of them the code.
    """
    if form.code is None:
        raise InvalidRequest("code is missing")
    digest = crypto.digest(form.code)
    pair = TokenPair.generate()
    seconds = 0
    async with db.transaction() as tx:
        state = await codes.lock(tx, digest)
        decision = decide_exchange(state, client.client_id, issuance.resource, form=form)
        if state is not None and decision is Exchange.ISSUE:
            # invalid_target rolls back: the code stays good.
            resources.canonical(form.resources, state.resource)
            issued = await _issue_first(tx, issuance.settings, state, digest, pair)
            decision = Exchange.REFUSE if issued is None else decision
            seconds = issued or 0
        elif decision is Exchange.MISMATCH:
            await codes.count_failure(tx, digest)
        elif state is not None and state.grant_id and decision is Exchange.REPLAY:
            ended = await store.end(tx, state.grant_id, state="compromised")
            await audit.record(tx, Event.CODE_REPLAYED, grants=ended)
    if state is None or decision is not Exchange.ISSUE:
        raise InvalidGrant(CODE_IS_BAD, detail=decision.value, guessed=state is None)
    return pair.response(seconds, state.scopes)


async def _issue_first(
    tx: Transaction, settings: OAuthSettings, state: CodeState, digest: bytes, pair: TokenPair
) -> int | None:
    """Start the grant.

    ``None`` if the person was disabled, or the client disabled or changed by what it publishes,
    since the code was minted.
    """
    registered = await browsers.lock_enabled_client(tx, state.client_id, to_write=True)
    if registered is None or registered.document_digest != state.client_document_digest:
        return None
    if not await browsers.lock_enabled_user(tx, state.user_id):
        return None
    await clients.mark_used(tx, state.client_id)
    grant_id = state.future_grant_id
    expires_at = await codes.use(tx, digest, code=state, lifetime=settings.refresh_token_lifetime)
    seconds = await tokens.issue(
        tx,
        grant_id,
        access=crypto.digest(pair.access),
        refresh=crypto.digest(pair.refresh),
        parent_id=None,
        scopes=state.scopes,
        access_lifetime=settings.access_token_lifetime,
    )
    await audit.record(
        tx,
        Event.GRANT_STARTED,
        grants=[grant_id],
        scopes=sorted(state.scopes),
        expires_at=expires_at.isoformat(),
    )
    return seconds


class Refresh(StrEnum):
    """What to do with a presented refresh token."""

    ROTATE = "rotate"
    REPLAY = "repeat the last answer"
    UNKNOWN = "there is no such token"
    REFUSE = "wrong client or resource, expired, revoked, or the grant has ended"
    REUSED = "it was rotated before"
    TOO_OFTEN = "its answer was given again often enough"
    RETIRED = "the key that its answer was derived with was retired"


def decide_refresh(state: RefreshState | None, client_id: str, resource: str) -> Refresh:
    """Judge a refresh token: client, expiry, grant, and only then whether it was used before.

    In this order nobody can compromise a grant with a token that is not theirs or dead anyway.
    A grant for another resource is of a server that had another public URL: its new tokens would
    be refused again, so the client must hear that it needs a new login.
    """
    if state is None:
        return Refresh.UNKNOWN
    if state.client_id != client_id or state.resource != resource:
        return Refresh.REFUSE
    if state.expired or not state.grant_active or state.revoked:
        return Refresh.REFUSE
    if state.rotated_at is None:
        return Refresh.ROTATE
    return Refresh.REUSED if state.window is None else Refresh.REPLAY


async def refresh_token(
    db: Database, issuance: Issuance, client: Client, form: TokenForm
) -> dict[str, Any]:
    """Rotate a refresh token (OAuth 2.1 §4.3.1).

    Reuse of a rotated one compromises the grant, unless it is the client asking again inside the
    reuse window: then it gets the same answer again. If it asks all too often, or the key was
    retired meanwhile, it gets nothing, and nothing ends.
    """
    if form.refresh_token is None:
        raise InvalidRequest("refresh_token is missing")
    presented = form.refresh_token
    answer: dict[str, Any] | None = None
    async with db.transaction() as tx:
        state = await tokens.lock_refresh_token(tx, crypto.digest(presented))
        decision = decide_refresh(state, client.client_id, issuance.resource)
        if state is not None and decision is Refresh.ROTATE:
            # invalid_scope and invalid_target roll back: the token stays good.
            wanted = scopes.narrowed(state.scopes, form.scope)
            resources.canonical(form.resources, state.resource)
            window = client.refresh_reuse_window
            window = issuance.settings.refresh_reuse_window if window is None else window
            answer = await _rotate(tx, issuance, state, presented, wanted=wanted, reusable=window)
        elif state is not None and state.window and decision is Refresh.REPLAY:
            key = await issuance.keys.find(tx, state.window.key_id)
            if key is None:
                decision = Refresh.RETIRED
            elif await tokens.count_repeat(tx, state.id) > MAX_REPEATS:
                decision = Refresh.TOO_OFTEN
            else:
                pair = TokenPair.derive(presented, salt=state.window.salt, key=key)
                answer = await _repeat(tx, state, pair, form=form)
                decision = Refresh.REUSED if answer is None else decision
        if state is not None and state.rotated_at and decision is Refresh.REUSED:
            ended = await store.end(tx, state.grant_id, state="compromised")
            rotated_at = state.rotated_at.isoformat()
            await audit.record(tx, Event.TOKEN_REUSED, grants=ended, rotated_at=rotated_at)
    if answer is None:
        raise InvalidGrant(TOKEN_IS_BAD, detail=decision.value, guessed=state is None)
    return answer


async def _rotate(
    tx: Transaction,
    issuance: Issuance,
    state: RefreshState,
    presented: str,
    *,
    wanted: frozenset[str],
    reusable: timedelta,
) -> dict[str, Any]:
    pair, window = TokenPair.generate(), None
    if reusable:
        key_id, key = await issuance.keys.choose(tx)
        window = Window(salt=secrets.token_bytes(16), key_id=key_id)
        pair = TokenPair.derive(presented, salt=window.salt, key=key)
    await tokens.rotate(tx, state.id, window=window, reusable_for=reusable)
    seconds = await tokens.issue(
        tx,
        state.grant_id,
        access=crypto.digest(pair.access),
        refresh=crypto.digest(pair.refresh),
        parent_id=state.id,
        scopes=wanted,
        access_lifetime=issuance.settings.access_token_lifetime,
    )
    await audit.record(tx, Event.TOKEN_REFRESHED, grants=[state.grant_id])
    return pair.response(seconds, wanted)


async def _repeat(
    tx: Transaction, state: RefreshState, pair: TokenPair, *, form: TokenForm
) -> dict[str, Any] | None:
    """Return the last answer again; ``None`` if this request is not the one it was for.

    The access token may have ended meanwhile, by time or by its own revocation. The refresh token
    that goes with it has not, so its client goes on with that.
    """
    wanted = scopes.narrowed(state.scopes, form.scope)
    resources.canonical(form.resources, state.resource)
    seconds = await tokens.seconds_left(tx, crypto.digest(pair.access), scopes=wanted)
    if seconds is None:
        return None
    await audit.record(tx, Event.TOKEN_REPEATED, grants=[state.grant_id])
    return pair.response(seconds, wanted)


class Grant(Protocol):
    """How one grant type is answered."""

    def __call__(
        self, db: Database, issuance: Issuance, client: Client, form: TokenForm
    ) -> Awaitable[dict[str, Any]]:
        """Answer a request for tokens. Raises an ``OAuthError``."""


GRANT_TYPES: dict[str, Grant] = {
    "authorization_code": authorization_code,
    "refresh_token": refresh_token,
}


async def token(
    db: Database, issuance: Issuance, client: Client, form: TokenForm
) -> dict[str, Any]:
    """Answer a token request of an authenticated client. Raises an ``OAuthError``."""
    try:
        grant = GRANT_TYPES[form.grant_type]
    except KeyError:
        raise UnsupportedGrantType("the grant type is not supported") from None
    return await grant(db, issuance, client, form)

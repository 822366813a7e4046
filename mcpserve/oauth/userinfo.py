"""UserInfo (OpenID Connect Core §5.3): who is behind a token, as far as they agreed to be known.

The same rule holds for plugins: what a tool learns, its client may be told.
"""

from typing import Any

from mcpserve.db import Queryable
from mcpserve.errors import InsufficientScope, InvalidToken
from mcpserve.oauth.scopes import EMAIL, OPENID, PROFILE
from mcpserve.oauth.store import users as store
from mcpserve.principal import Principal, User

NEEDED = frozenset({OPENID})
"""What makes a request one of OpenID Connect at all (Core §3.1.2.1)."""


async def find(db: Queryable, principal: Principal) -> User | None:
    """Return the person behind a caller; name and address only with their scopes.

    ``None`` for somebody who is locked out.
    """
    user = await store.find_enabled(db, principal.subject)
    return known_by(user, principal.scopes) if user else None


def known_by(user: User, scopes: frozenset[str]) -> User:
    """Return what of a person these scopes let a client know."""
    with_email = EMAIL in scopes
    return User(
        user.id,
        user.name if PROFILE in scopes else None,
        user.email if with_email else None,
        user.email_verified and with_email,
    )


async def answer(db: Queryable, principal: Principal) -> dict[str, Any]:
    """Return the claims for whoever holds a token.

    Raises :class:`~mcpserve.errors.InsufficientScope`, and
    :class:`~mcpserve.errors.InvalidToken` if the person is locked out.
    """
    if not principal.scopes >= NEEDED:
        raise InsufficientScope("the token lacks the scope openid", scopes=NEEDED)
    user = await find(db, principal)
    if user is None:
        raise InvalidToken("the access token is unknown, expired or revoked")
    return claims(user)


def claims(user: User) -> dict[str, Any]:
    """Return what is known of a person in the words of OpenID Connect Core §5.1.

    People have one name here, the one that they log in with; so it is told as both.
    """
    told: dict[str, Any] = {"sub": user.id}
    if user.name is not None:
        told |= {"name": user.name, "preferred_username": user.name}
    if user.email is not None:
        told |= {"email": user.email, "email_verified": user.email_verified}
    return told

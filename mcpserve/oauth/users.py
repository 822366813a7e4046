"""People: passwords, logging in, and the first user."""

import re
from dataclasses import dataclass

from mcpserve import audit, crypto
from mcpserve.audit import Event
from mcpserve.crypto import PasswordHasher
from mcpserve.db import Database, Queryable, Transaction
from mcpserve.errors import UsageError
from mcpserve.oauth.store import browsers
from mcpserve.oauth.store import users as store
from mcpserve.oauth.store.browsers import BrowserSession
from mcpserve.oauth.store.users import User
from mcpserve.ratelimit import Limit
from mcpserve.settings import LoginSettings

NAME = re.compile(r"[^\s\x00-\x1f\x7f]{1,100}")
"""No spaces, so that a name reads the same everywhere; an e-mail address will do."""

EMAIL = re.compile(
    r"(?=.{3,254}$)[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*"
)
"""What browsers take for an address (HTML, input type=email), as long as mail can carry it."""


@dataclass(frozen=True)
class LoginLimits:
    """Wrong passwords are counted three times, so that neither guessing nor spraying pays."""

    user_and_network: Limit
    user: Limit
    network: Limit

    async def count(self, db: Queryable, who: str, network: str) -> None:
        """Count a try as a failure, until it turns out a success.

        In advance, because of many at once each would find the limits not reached yet. Raises
        :class:`~mcpserve.errors.RateLimited`.
        """
        await self.user_and_network.fail(db, who, network)
        await self.user.fail(db, who)
        await self.network.fail(db, network)

    async def forgive(self, db: Queryable, who: str, network: str) -> None:
        """Take back a try that was a success; who tries from there begins anew."""
        await self.user_and_network.forget(db, who, network)
        await self.user.give_back(db, who)
        await self.network.give_back(db, network)


def check_name(name: str) -> str:
    """Return a name that a user may have. Raises :class:`~mcpserve.errors.UsageError`."""
    if not NAME.fullmatch(name):
        raise UsageError("the name must have 1 to 100 characters and no spaces")
    return name


def check_email(email: str) -> str:
    """Return an address that a user may have. Raises :class:`~mcpserve.errors.UsageError`."""
    if not EMAIL.fullmatch(email):
        raise UsageError(f"{email!r} is no e-mail address")
    return email


def check_password(settings: LoginSettings, password: str) -> str:
    """Return a password that may be set. Raises :class:`~mcpserve.errors.UsageError`."""
    if len(password) < settings.password_min_length:
        raise UsageError(
            f"the password must have at least {settings.password_min_length} characters"
        )
    if not crypto.fits_bcrypt(password):
        raise UsageError(
            f"the password must have at most {crypto.PASSWORD_MAX_BYTES} bytes: that many plain "
            "letters, fewer with accents or emoji"
        )
    return password


async def add(
    db: Database,
    hasher: PasswordHasher,
    settings: LoginSettings,
    *,
    name: str,
    password: str,
    email: str | None = None,
) -> None:
    """Add a user, with an address that the operator vouches for.

    Raises :class:`~mcpserve.errors.UsageError` for a bad or taken name or address.
    """
    check_name(name)
    hashed = await hasher.hash_password(check_password(settings, password))
    async with db.transaction() as tx:
        if email is not None:
            await _require_free(tx, email, name)
        if not await _create(tx, name, hashed, by="command"):
            raise UsageError(f"there is already a user {name!r}")
        if email is not None:
            await _set_email(tx, name, email, verified=True)


async def set_email(db: Database, name: str, email: str | None, *, verified: bool) -> None:
    """Set a person's address, or forget it. ``verified`` tells that the operator vouches for it.

    Raises :class:`~mcpserve.errors.UsageError` for a bad or taken address, and for no such user.
    """
    async with db.transaction() as tx:
        if email is not None:
            await _require_free(tx, email, name)
        await _set_email(tx, name, email, verified=verified and email is not None)


async def _require_free(tx: Transaction, email: str, name: str) -> None:
    owner = await store.lock_email(tx, check_email(email))
    if owner is not None and owner.lower() != name.lower():
        raise UsageError(f"{owner!r} has this address already")


async def _set_email(tx: Transaction, name: str, email: str | None, *, verified: bool) -> None:
    found = await store.set_email(tx, name, email, verified=verified)
    if found is None:
        raise UsageError(f"there is no user {name!r}")
    user_id, before = found
    await audit.record(
        tx,
        Event.USER_EMAIL_CHANGED,
        user_id=user_id,
        email=email,
        email_verified=verified,
        email_before=before,
    )


async def _create(tx: Transaction, name: str, hashed: str, *, by: str) -> bool:
    user_id = await store.create(tx, name, hashed)
    if user_id is None:
        return False
    await audit.record(tx, Event.USER_ADDED, user_id=user_id, user_name=name, by=by)
    return True


async def change_password(
    db: Database, hasher: PasswordHasher, settings: LoginSettings, *, name: str, password: str
) -> None:
    """Change a password and end that user's browser sessions. Raises ``UsageError``."""
    hashed = await hasher.hash_password(check_password(settings, password))
    async with db.transaction() as tx:
        user_id = await store.set_password(tx, name, hashed)
        if user_id is None:
            raise UsageError(f"there is no user {name!r}")
        await audit.record(tx, Event.USER_PASSWORD_CHANGED, user_id=user_id)


async def set_disabled(db: Database, name: str, *, disabled: bool) -> None:
    """Disable a user, ending sessions and grants, or enable one. Raises ``UsageError`` for none."""
    async with db.transaction() as tx:
        found = await store.set_disabled(tx, name, disabled=disabled)
        if found is None:
            raise UsageError(f"there is no user {name!r}")
        user_id, user_name, ended = found
        await audit.record(
            tx,
            Event.USER_DISABLED if disabled else Event.USER_ENABLED,
            user_id=user_id,
            user_name=user_name,
        )
        await audit.record(tx, Event.GRANT_REVOKED, grants=ended, reason="user disabled")


async def add_first(
    db: Database,
    hasher: PasswordHasher,
    settings: LoginSettings,
    *,
    link: str,
    name: str,
    password: str,
) -> bool:
    """Add the first user by the one-time link. ``False`` if the link is spent or not ours.

    Raises :class:`~mcpserve.errors.UsageError`, and then the link stays good.
    """
    # Before the costly hash, which nobody without a link should cause.
    if not await store.setup_link_is_good(db, crypto.digest(link)):
        return False
    check_name(name)
    hashed = await hasher.hash_password(check_password(settings, password))
    async with db.transaction() as tx:
        return await store.take_setup_link(tx, crypto.digest(link)) and await _create(
            tx, name, hashed, by="setup link"
        )


async def new_setup_link(db: Database) -> str | None:
    """Make a new one-time link token, which replaces an older one. ``None`` if a user exists."""
    token = crypto.new_token()
    return token if await store.replace_setup_link(db, crypto.digest(token)) else None


async def log_in(
    db: Database,
    hasher: PasswordHasher,
    settings: LoginSettings,
    session: BrowserSession,
    *,
    name: str,
    password: str,
    network: str,
    limits: LoginLimits,
) -> str | None:
    """Log in and return the browser's new cookie; ``None`` if name or password is wrong.

    Nobody, a wrong password and a disabled user cannot be told apart. Raises
    :class:`~mcpserve.errors.RateLimited`, also for the right password while the lock lasts, and
    :class:`~mcpserve.errors.Overloaded`.
    """
    user = await store.find(db, name) if NAME.fullmatch(name) else None
    # By the user, because one name can be written in many ways.
    who = user.id if user else name.lower()
    await limits.count(db, who, network)
    right = await hasher.verify_password(password, user.password_hash if user else None)
    cookie = crypto.new_token()
    if user is not None and right and await _start(db, settings, session, user, cookie):
        await limits.forgive(db, who, network)
        return cookie
    # Never what was typed: it may be a password in the wrong field.
    reason = "no such user" if user is None else "disabled" if right else "wrong password"
    async with db.transaction() as tx:
        await audit.record(tx, Event.LOGIN_FAILED, user_id=user.id if user else None, reason=reason)
    return None


async def _start(
    db: Database, settings: LoginSettings, session: BrowserSession, user: User, cookie: str
) -> bool:
    async with db.transaction() as tx:
        logged_in = await store.lock_unchanged(tx, user) and await browsers.log_in(
            tx,
            session.id,
            digest=crypto.digest(cookie),
            user_id=user.id,
            lifetime=settings.session_lifetime,
        )
        if logged_in:
            await audit.record(
                tx,
                Event.LOGIN_SUCCEEDED,
                user_id=user.id,
                user_name=user.name,
                browser_session=session.id,
            )
        return logged_in

"""The tables ``users`` and ``setup_links``."""

from dataclasses import dataclass
from datetime import datetime

from mcpserve import principal
from mcpserve.db import Queryable, Transaction
from mcpserve.oauth.store import grants

COLUMNS = "id, name, password_hash, created_at, disabled_at, email, email_verified"


@dataclass(frozen=True)
class User:
    """A person who can log in."""

    id: str
    name: str
    password_hash: str
    created_at: datetime
    disabled_at: datetime | None
    email: str | None
    email_verified: bool


async def create(db: Queryable, name: str, password_hash: str) -> str | None:
    """Add a user and return the id. ``None`` if somebody has that name, in whatever case."""
    row = await db.row(
        """INSERT INTO users (name, password_hash) VALUES (%(name)s, %(hash)s)
           ON CONFLICT DO NOTHING RETURNING id""",
        name=name,
        hash=password_hash,
    )
    return str(row.id) if row else None


async def find(db: Queryable, name: str) -> User | None:
    """Return the user of this name, in whatever case, disabled or not."""
    row = await db.row(
        f"SELECT {COLUMNS} FROM users WHERE lower(name) = lower(%(name)s)", name=name
    )
    return User(*row) if row else None


async def find_enabled(db: Queryable, user_id: str) -> principal.User | None:
    """Return all that may be told of a person, unless they are locked out."""
    row = await db.row(
        """SELECT id, name, email, email_verified FROM users
           WHERE id = %(id)s AND disabled_at IS NULL""",
        id=user_id,
    )
    return principal.User(*row) if row else None


async def lock_email(tx: Transaction, email: str) -> str | None:
    """Return the name of whoever has this address, in whatever case.

    Until the transaction ends nobody else can be given it.
    """
    await tx.execute("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
    row = await tx.row("SELECT name FROM users WHERE lower(email) = lower(%(email)s)", email=email)
    return row.name if row else None


async def lock_unchanged(tx: Transaction, user: User) -> bool:
    """Whether the user may still log in with the password that was just verified.

    Until the transaction ends nobody can change it or disable the account.
    """
    row = await tx.row(
        """SELECT 1 FROM users
           WHERE id = %(id)s AND password_hash = %(hash)s AND disabled_at IS NULL FOR SHARE""",
        id=user.id,
        hash=user.password_hash,
    )
    return row is not None


async def find_all(db: Queryable) -> list[User]:
    """Return every user by name."""
    return [User(*row) for row in await db.rows(f"SELECT {COLUMNS} FROM users ORDER BY name")]


async def exist(db: Queryable) -> bool:
    """Whether there is any user."""
    return await db.row("SELECT 1 FROM users LIMIT 1") is not None


async def set_password(tx: Transaction, name: str, password_hash: str) -> str | None:
    """Change a password and log its owner out of every browser. Return the user's id, if any.

    Grants stay: a client's access is ended by revoking it.
    """
    row = await tx.row(
        """UPDATE users SET password_hash = %(hash)s WHERE lower(name) = lower(%(name)s)
           RETURNING id""",
        name=name,
        hash=password_hash,
    )
    if row is None:
        return None
    await tx.execute("DELETE FROM browser_sessions WHERE user_id = %(id)s", id=row.id)
    return str(row.id)


async def set_email(
    tx: Transaction, name: str, email: str | None, *, verified: bool
) -> tuple[str, str | None] | None:
    """Set or, with ``None``, forget an address. Return the user's id and the address before.

    ``None`` if there is no such user.
    """
    row = await tx.row(
        """UPDATE users u SET email = %(email)s, email_verified = %(verified)s
           FROM (SELECT id, email FROM users WHERE lower(name) = lower(%(name)s) FOR UPDATE) before
           WHERE u.id = before.id RETURNING u.id, before.email""",
        name=name,
        email=email,
        verified=verified,
    )
    return (row.id, row.email) if row else None


async def set_disabled(
    tx: Transaction, name: str, *, disabled: bool
) -> tuple[str, str, list[str]] | None:
    """Disable a user, ending sessions and grants, or enable one.

    Return the user's id and name, and the grants that ended; ``None`` if there is no such user.
    """
    row = await tx.row(
        """UPDATE users SET disabled_at = CASE WHEN %(disabled)s THEN clock_timestamp() END
           WHERE lower(name) = lower(%(name)s) RETURNING id, name""",
        name=name,
        disabled=disabled,
    )
    if row is None:
        return None
    if not disabled:
        return row.id, row.name, []
    await tx.execute("DELETE FROM browser_sessions WHERE user_id = %(id)s", id=row.id)
    return row.id, row.name, await grants.end_all(tx, user_id=row.id)


async def replace_setup_link(db: Queryable, digest: bytes) -> bool:
    """Make this the one link, for 24 hours. ``False`` if there is a user already."""
    return bool(
        await db.execute(
            """INSERT INTO setup_links (digest, expires_at)
               SELECT %(digest)s, clock_timestamp() + interval '24 hours'
               WHERE NOT EXISTS (SELECT FROM users)
               ON CONFLICT (only_one) DO UPDATE
               SET digest = excluded.digest, expires_at = excluded.expires_at""",
            digest=digest,
        )
    )


async def setup_link_is_good(db: Queryable, digest: bytes) -> bool:
    """Whether this link may still create the first user."""
    row = await db.row(
        """SELECT 1 FROM setup_links
           WHERE digest = %(digest)s AND expires_at > clock_timestamp()
             AND NOT EXISTS (SELECT FROM users)""",
        digest=digest,
    )
    return row is not None


async def take_setup_link(tx: Transaction, digest: bytes) -> bool:
    """Spend the link; of two at once only one gets ``True``. ``False`` also if a user exists."""
    taken = await tx.execute(
        """DELETE FROM setup_links
           WHERE digest = %(digest)s AND expires_at > clock_timestamp()""",
        digest=digest,
    )
    return bool(taken) and not await exist(tx)

"""The table ``oauth_clients``."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mcpserve.db import Queryable, Row, Transaction
from mcpserve.oauth.store import grants

COLUMNS = """client_id, client_name, client_secret_hash, redirect_uris, refresh_reuse_window,
    origin, created_at, disabled_at"""


@dataclass(frozen=True)
class Client:
    """An OAuth client, however it came to be known."""

    client_id: str
    name: str
    secret_hash: str | None
    """``None``: a public client."""
    redirect_uris: tuple[str, ...]
    refresh_reuse_window: timedelta | None
    """``None``: as configured for all."""
    origin: str
    """Who keeps it: ``config`` or ``cli``."""
    created_at: datetime | None = None
    disabled_at: datetime | None = None

    @property
    def public(self) -> bool:
        """Whether it has no secret (OAuth 2.1 §2.1)."""
        return self.secret_hash is None


async def find(db: Queryable, client_id: str) -> Client | None:
    """Return the client, disabled or not; ``None`` if there is none."""
    row = await db.row(
        f"SELECT {COLUMNS} FROM oauth_clients WHERE client_id = %(id)s", id=client_id
    )
    return _client(row) if row else None


async def find_all(db: Queryable) -> list[Client]:
    """Return every client, in the order of their ids."""
    return [
        _client(row)
        for row in await db.rows(f"SELECT {COLUMNS} FROM oauth_clients ORDER BY client_id")
    ]


async def save(tx: Transaction, client: Client) -> None:
    """Insert the client, or overwrite the one with its id."""
    await tx.execute(
        """INSERT INTO oauth_clients
               (client_id, client_name, client_secret_hash, redirect_uris, refresh_reuse_window,
                origin, disabled_at)
           VALUES (%(id)s, %(name)s, %(secret_hash)s, %(uris)s, %(window)s, %(origin)s,
                   %(disabled_at)s)
           ON CONFLICT (client_id) DO UPDATE SET
               client_name = excluded.client_name,
               client_secret_hash = excluded.client_secret_hash,
               redirect_uris = excluded.redirect_uris,
               refresh_reuse_window = excluded.refresh_reuse_window,
               origin = excluded.origin,
               updated_at = clock_timestamp(),
               disabled_at = excluded.disabled_at""",
        id=client.client_id,
        name=client.name,
        secret_hash=client.secret_hash,
        uris=list(client.redirect_uris),
        window=client.refresh_reuse_window,
        origin=client.origin,
        disabled_at=client.disabled_at,
    )


async def lock(tx: Transaction, client_id: str) -> None:
    """Let writers of this client id follow one another, also before its row exists."""
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('oauth_clients:' || %(id)s, 0))",
        id=client_id,
    )


async def set_disabled(tx: Transaction, client_id: str, *, disabled: bool) -> bool:
    """Disable the client and end its grants, or enable it. ``False`` if there is none."""
    found = await tx.execute(
        """UPDATE oauth_clients
           SET disabled_at = CASE WHEN %(disabled)s THEN clock_timestamp() END,
               updated_at = clock_timestamp()
           WHERE client_id = %(id)s""",
        id=client_id,
        disabled=disabled,
    )
    if found and disabled:
        await grants.end_all(tx, client_id=client_id)
    return bool(found)


def _client(row: Row) -> Client:
    return Client(
        client_id=row.client_id,
        name=row.client_name,
        secret_hash=row.client_secret_hash,
        redirect_uris=tuple(row.redirect_uris),
        refresh_reuse_window=row.refresh_reuse_window,
        origin=row.origin,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
    )

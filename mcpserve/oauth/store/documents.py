"""The table ``oauth_documents``: the last good copy of what clients publish."""

from dataclasses import dataclass
from datetime import timedelta

from mcpserve.db import Database, Queryable

RECENT = timedelta(minutes=1)
"""How long after a fetch nobody needs another one."""


@dataclass(frozen=True)
class Copy:
    """A document as it was fetched."""

    body: str
    fresh: bool
    """Its lifetime is not over."""
    recent: bool
    """It was fetched just now."""


async def find(db: Queryable, url: str) -> Copy | None:
    """Return the copy, however old it is; ``None`` if there never was a good one."""
    row = await db.row(
        """SELECT body, fresh_until > clock_timestamp() AS fresh,
                  fetched_at > clock_timestamp() - %(recent)s AS recent
           FROM oauth_documents WHERE url = %(url)s""",
        url=url,
        recent=RECENT,
    )
    return Copy(*row) if row else None


async def save(db: Database, url: str, body: str, *, lifetime: timedelta) -> None:
    """Keep a copy that was fetched now, instead of an older one."""
    async with db.transaction() as tx:
        await tx.execute(
            """INSERT INTO oauth_documents (url, body, fresh_until)
               VALUES (%(url)s, %(body)s, clock_timestamp() + %(lifetime)s)
               ON CONFLICT (url) DO UPDATE SET
                   body = excluded.body,
                   fetched_at = excluded.fetched_at,
                   fresh_until = excluded.fresh_until""",
            url=url,
            body=body,
            lifetime=lifetime,
        )

"""Deleting what is spent, in batches, by one process at a time.

A grant goes as a whole, with its code and all its tokens: without a rotated refresh token or a
used code their reuse would look like an unknown token.
"""

from dataclasses import dataclass

from mcpserve.db import Database

LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('mcpserve.cleanup', 0)) AS mine"


@dataclass(frozen=True)
class Spent:
    """Rows that go a while after they were spent."""

    table: str
    since: str
    """When a row was spent. It is indexed, so that what stays is not even looked at."""
    kept: str = "0"
    only: str = "true"
    batch: int = 1000

    @property
    def rows(self) -> str:
        """The next batch. The statement's clock, because no index can serve one that ticks."""
        return f"""
            SELECT ctid FROM {self.table}
            WHERE {self.since} < statement_timestamp() - interval '{self.kept}' AND {self.only}
            ORDER BY {self.since} LIMIT {self.batch} FOR UPDATE SKIP LOCKED"""


DELETED = (
    Spent("oauth_authorization_codes", "expires_at", only="used_at IS NULL"),
    Spent("oauth_access_tokens", "expires_at", kept="1 day"),
    Spent("oauth_access_tokens", "revoked_at", kept="1 day"),
    # One by one, because a grant may have tens of thousands of tokens.
    Spent("mcp_sessions", "LEAST(ended_at, expires_at)", kept="7 days", batch=1),
    Spent("authorization_requests", "expires_at"),
    Spent("browser_sessions", "expires_at"),
    Spent("setup_links", "expires_at"),
    Spent("rate_limits", "expires_at"),
)

CLOSED_WINDOWS = Spent("oauth_refresh_tokens", "reusable_until")
CLOSE = "UPDATE oauth_refresh_tokens SET salt = NULL, reusable_until = NULL"


async def purge(db: Database) -> dict[str, int] | None:
    """Delete everything that is due and return the counts by table.

    ``None`` if another process is doing it.
    """
    if await _in_batches(db, CLOSE, CLOSED_WINDOWS) is None:
        return None
    counts: dict[str, int] = {}
    for spent in DELETED:
        count = await _in_batches(db, f"DELETE FROM {spent.table}", spent)
        if count is None:
            return None
        counts[spent.table] = counts.get(spent.table, 0) + count
    return counts


async def _in_batches(db: Database, action: str, spent: Spent) -> int | None:
    """Repeat the action until nothing is left; ``None`` if another process has the lock."""
    total = 0
    while True:
        async with db.transaction() as tx:
            lock = await tx.one(LOCK)
            if not lock.mine:
                return None
            # An array is made once; a sub-select may run again and again, past its limit.
            count = await tx.execute(f"{action} WHERE ctid = ANY(ARRAY({spent.rows}))")
        total += count
        if count == 0:
            return total

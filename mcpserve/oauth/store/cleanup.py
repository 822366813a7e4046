"""Deleting what is spent, in batches, by one process at a time.

A grant goes as a whole, with its code and all its tokens: without a rotated refresh token or a
used code their reuse would look like an unknown token.
"""

from collections import Counter
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
    def is_next(self) -> str:
        """The condition that chooses the next batch.

        The statement's clock, because no index can serve one that ticks; an array, because it is
        made once, and a sub-select may run again and again, past its limit.
        """
        return f"""ctid = ANY(ARRAY(
            SELECT ctid FROM {self.table}
            WHERE {self.since} < statement_timestamp() - interval '{self.kept}' AND {self.only}
            ORDER BY {self.since} LIMIT {self.batch} FOR UPDATE SKIP LOCKED))"""


DELETED = (
    Spent("oauth_authorization_codes", "expires_at", only="used_at IS NULL"),
    Spent("oauth_access_tokens", "expires_at", kept="1 day"),
    Spent("oauth_access_tokens", "revoked_at", kept="1 day"),
    Spent("authorization_requests", "expires_at"),
    Spent("browser_sessions", "expires_at"),
    Spent("setup_links", "expires_at"),
    Spent("rate_limits", "expires_at"),
)

# One by one, because a grant may have tens of thousands of tokens.
GRANTS = Spent("mcp_sessions", "LEAST(ended_at, expires_at)", kept="7 days", batch=1)

CLOSED_WINDOWS = Spent("oauth_refresh_tokens", "reusable_until")


def close_windows() -> str:
    """Return a statement that forgets how to repeat answers which are too old for it."""
    return f"""
        WITH closed AS (
            UPDATE oauth_refresh_tokens SET salt = NULL, reusable_until = NULL
            WHERE {CLOSED_WINDOWS.is_next} RETURNING 1)
        SELECT count(*) AS reuse_windows FROM closed"""


def delete(spent: Spent) -> str:
    """Return a statement that deletes a batch and counts it."""
    return f"""
        WITH gone AS (DELETE FROM {spent.table} WHERE {spent.is_next} RETURNING 1)
        SELECT count(*) AS {spent.table} FROM gone"""


def delete_grants() -> str:
    """Return a statement that deletes a batch of grants with their tokens and counts both."""
    return f"""
        WITH gone AS (DELETE FROM {GRANTS.table} WHERE {GRANTS.is_next} RETURNING id)
        SELECT (SELECT count(*) FROM gone) AS mcp_sessions,
               (SELECT count(*) FROM oauth_refresh_tokens
                WHERE session_id = ANY(ARRAY(SELECT id FROM gone))) AS oauth_refresh_tokens"""


async def purge(db: Database) -> dict[str, int] | None:
    """Delete everything that is due, in batches, and return the counts by table.

    ``None`` if another process is doing it.
    """
    counts: Counter[str] = Counter()
    for statement in (close_windows(), *map(delete, DELETED), delete_grants()):
        while True:
            async with db.transaction() as tx:
                if not (await tx.one(LOCK)).mine:
                    return None
                batch = await tx.one(statement)
            counts.update(batch._asdict())
            if batch[0] == 0:
                break
    return dict(counts)

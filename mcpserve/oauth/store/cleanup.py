"""Deleting what is spent, in batches, by one process at a time.

A grant goes as a whole, with its code and all its tokens: without a rotated refresh token or a
used code their reuse would look like an unknown token.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mcpserve.db import Database, Transaction
from mcpserve.oauth.store import clients
from mcpserve.settings import RegistrationSettings, Settings

Step = Callable[[Transaction], Awaitable[dict[str, int]]]
"""Deletes a batch; the first count tells whether it found something."""

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
    Spent("oauth_client_assertions", "expires_at"),
    Spent("oauth_documents", "fetched_at", kept="30 days"),
    Spent("rate_limits", "expires_at"),
)

# One by one, because a grant may have tens of thousands of tokens.
GRANTS = Spent("mcp_sessions", "LEAST(ended_at, expires_at)", kept="7 days", batch=1)

CLOSED_WINDOWS = Spent("oauth_refresh_tokens", "reusable_until")


def close_windows() -> str:
    """Return a statement that forgets how to repeat answers which are too old for it."""
    return f"""
        WITH closed AS (
            UPDATE oauth_refresh_tokens SET salt = NULL, key_id = NULL, reusable_until = NULL
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


async def delete_clients(tx: Transaction, settings: RegistrationSettings) -> dict[str, int]:
    """Delete a batch of clients that nobody uses and count it."""
    gone = [
        *await clients.delete_never_used(tx, settings.unused_lifetime),
        *await clients.delete_idle(tx, settings.idle_lifetime),
    ]
    return {"oauth_clients": len(gone)}


def run(statement: str) -> Step:
    """Return the step that is this one statement."""

    async def step(tx: Transaction) -> dict[str, int]:
        counts: dict[str, int] = (await tx.one(statement))._asdict()
        return counts

    return step


async def purge(db: Database, settings: Settings | None = None) -> dict[str, int] | None:
    """Delete everything that is due, in batches, and return the counts by table.

    ``None`` if another process is doing it. Without ``settings`` their defaults hold.
    """
    settings = settings or Settings()
    registration = settings.oauth.clients.registration
    events = Spent("auth_events", "at", kept=f"{settings.cleanup.events_kept.total_seconds()} s")
    statements = (close_windows(), *map(delete, (*DELETED, events)), delete_grants())
    # Clients last: what hangs on them may have gone just now.
    steps: tuple[Step, ...] = (*map(run, statements), lambda tx: delete_clients(tx, registration))
    counts: Counter[str] = Counter()
    for step in steps:
        while True:
            async with db.transaction() as tx:
                if not (await tx.one(LOCK)).mine:
                    return None
                batch = await step(tx)
            counts.update(batch)
            if not next(iter(batch.values())):
                break
    return dict(counts)

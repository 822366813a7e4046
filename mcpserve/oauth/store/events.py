"""Reading the table ``auth_events``; ``mcpserve.audit`` writes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mcpserve.audit import Event
from mcpserve.db import Queryable

BEFORE = (
    Event.CLIENT_ADDED,
    Event.CLIENT_CHANGED,
    Event.CLIENT_REGISTERED,
    Event.CLIENT_DOCUMENT_READ,
)
"""What happened to a client before it got a grant, and belongs to the grant's story."""


@dataclass(frozen=True)
class Recorded:
    """An event as it was recorded."""

    at: datetime
    event: str
    client_id: str | None
    user_id: str | None
    network: str | None
    operator: str | None
    details: Mapping[str, Any]


async def find_grants(db: Queryable, prefix: str) -> list[str]:
    """Return grants, of which something is left, whose ids begin like this, two at most."""
    rows = await db.rows(
        """SELECT grant_id FROM auth_events WHERE grant_id BETWEEN %(first)s AND %(last)s
           UNION SELECT id FROM mcp_sessions WHERE id BETWEEN %(first)s AND %(last)s LIMIT 2""",
        first=prefix.ljust(32, "0"),
        last=prefix.ljust(32, "f"),
    )
    return [row.grant_id for row in rows]


async def of_grant(db: Queryable, grant_id: str) -> list[Recorded]:
    """Return what happened to a grant, after how its client and its person got there."""
    rows = await db.rows(
        """WITH story AS (SELECT * FROM auth_events WHERE grant_id = %(grant_id)s),
                beginning AS (SELECT * FROM story ORDER BY id LIMIT 1)
           SELECT at, event, client_id, user_id, network, operator, details FROM (
               SELECT * FROM story
               UNION ALL
               (SELECT DISTINCT ON (e.event) e.* FROM auth_events e JOIN beginning b
                    ON e.client_id = b.client_id AND e.id < b.id
                WHERE e.grant_id IS NULL AND e.event = ANY(%(before)s)
                ORDER BY e.event, e.id DESC)
               UNION ALL
               (SELECT e.* FROM auth_events e JOIN beginning b
                    ON e.user_id = b.user_id AND e.id < b.id
                       AND e.details->'browser_session' = b.details->'browser_session'
                WHERE e.grant_id IS NULL AND e.event = %(login)s
                ORDER BY e.id DESC LIMIT 1)
           ) found ORDER BY id""",
        grant_id=grant_id,
        before=[event.value for event in BEFORE],
        login=Event.LOGIN_SUCCEEDED.value,
    )
    return [Recorded(*row) for row in rows]


async def now(db: Queryable) -> datetime:
    """Return the database's time."""
    now: datetime = (await db.one("SELECT clock_timestamp() AS now")).now
    return now

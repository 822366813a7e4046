"""What happened to clients, people and grants: rows of ``auth_events``, and lines of a log.

An event is written in the transaction that it tells of, and logged by ``mcpserve.audit`` once that
is committed. No secret, no token and no digest of one is ever part of an event.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import partial
from typing import Any

from mcpserve import log
from mcpserve.db import Row, Transaction

logger = logging.getLogger(log.AUDIT)

BATCH = 1000
"""Events that are written in one statement, whose time is limited."""


class Event(StrEnum):
    """Everything that is recorded; ``docs/reference/audit.md`` says when, and with what details."""

    CLIENT_ADDED = "client.added"
    CLIENT_CHANGED = "client.changed"
    CLIENT_REGISTERED = "client.registered"
    CLIENT_DOCUMENT_READ = "client.document_read"
    CLIENT_DISABLED = "client.disabled"
    CLIENT_ENABLED = "client.enabled"
    CLIENT_DELETED = "client.deleted"
    USER_ADDED = "user.added"
    USER_PASSWORD_CHANGED = "user.password_changed"  # noqa: S105 - a name
    USER_EMAIL_CHANGED = "user.email_changed"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_FAILED = "login.failed"
    CONSENT_GIVEN = "consent.given"
    CONSENT_DENIED = "consent.denied"
    GRANT_STARTED = "grant.started"
    GRANT_TOOLS_CHANGED = "grant.tools_changed"
    GRANT_REVOKED = "grant.revoked"
    CODE_REPLAYED = "code.replayed"
    TOKEN_REFRESHED = "token.refreshed"  # noqa: S105 - a name
    TOKEN_REPEATED = "token.repeated"  # noqa: S105 - a name
    TOKEN_REUSED = "token.reused"  # noqa: S105 - a name
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - a name
    KEY_ADDED = "key.added"
    KEY_RETIRED = "key.retired"


ALARMING = frozenset({Event.LOGIN_FAILED, Event.CODE_REPLAYED, Event.TOKEN_REUSED})
"""Logged as warnings."""


async def record(
    tx: Transaction,
    event: Event,
    *,
    grants: Sequence[str | None] = (None,),
    client_id: str | None = None,
    user_id: str | None = None,
    **details: Any,
) -> None:
    """Record an event, once for each of the grants that it is about.

    Client and person of a grant need not be named. Where the event came from is taken from the
    request or the command that runs.
    """
    for start in range(0, len(grants), BATCH):
        rows = await tx.rows(
            """INSERT INTO auth_events
                   (event, grant_id, client_id, user_id, network, request_id, operator, details)
               SELECT %(event)s, about.id, coalesce(%(client_id)s, g.client_id),
                      coalesce(%(user_id)s::uuid, g.user_id), %(network)s, %(request_id)s,
                      %(operator)s, %(details)s
               FROM unnest(%(grants)s::uuid[]) AS about (id) LEFT JOIN mcp_sessions g USING (id)
               RETURNING id, at, event, grant_id, client_id, user_id, network, request_id,
                         operator, details""",
            event=event.value,
            grants=list(grants[start : start + BATCH]),
            client_id=client_id,
            user_id=user_id,
            network=log.network.get() or None,
            request_id=log.request_id.get() or None,
            operator=log.operator.get() or None,
            details=json.dumps(details),
        )
        tx.after_commit.append(partial(_tell, rows))


def _tell(rows: Iterable[Row]) -> None:
    for row in rows:
        level = logging.WARNING if row.event in ALARMING else logging.INFO
        fields = {name: value for name, value in row._asdict().items() if value is not None}
        logger.log(level, row.event, extra=fields | {"at": row.at.isoformat()})

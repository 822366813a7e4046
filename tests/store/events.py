"""What was recorded, for tests."""

import json

from postgres import query


def recorded(dsn, *names):
    """Return the events in their order as (event, details), or (event, the named columns)."""
    columns = ", ".join(names or ("details",))
    return [
        tuple(row) for row in query(dsn, f"SELECT event, {columns} FROM auth_events ORDER BY id")
    ]


def told(caplog):
    """Return the lines of the audit log as what they say."""
    return [record for record in caplog.records if record.name == "mcpserve.audit"]


def old(event="login.failed", *, days, grant_id=None, details=None):
    """Return the INSERT of an event that happened so many days ago."""
    grant = f"'{grant_id}'" if grant_id else "NULL"
    return f"""INSERT INTO auth_events (at, event, grant_id, details)
        VALUES (clock_timestamp() - interval '{days} days', '{event}', {grant},
                '{json.dumps(details or {})}')"""

"""What the tables hold, for tests that say "nothing changed" or "no secret is stored"."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2 import sql

NOT_AUTHORITY = ("schema_migrations", "rate_limits", "auth_events")
"""Tables whose rows give nobody access to anything."""


def contents(dsn: str) -> dict[str, list[str]]:
    """Return every row of every table as text, without the counters of failures."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        found = {}
        for (table,) in cursor.fetchall():
            statement = "SELECT (to_jsonb(t) - 'failures')::text FROM {} t ORDER BY 1"
            cursor.execute(sql.SQL(statement).format(sql.Identifier(table)))
            found[table] = [row for (row,) in cursor.fetchall()]
        return found


def state(dsn: str) -> dict[str, list[str]]:
    """Return the rows that decide who may do what."""
    return {table: rows for table, rows in contents(dsn).items() if table not in NOT_AUTHORITY}


@contextmanager
def unchanged(dsn: str) -> Iterator[None]:
    """Fail if the block changed who may do what."""
    before = state(dsn)
    yield
    assert state(dsn) == before

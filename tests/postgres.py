"""Databases for tests: one throw-away cluster for a run, one database for a test."""

import os
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import make_dsn

from mcpserve.testing.running import temporary_database


@contextmanager
def cluster() -> Iterator[str]:
    """Yield the DSN of a database whose user may create others: given by the caller, or new."""
    given = os.environ.get("MCPSERVE_TEST_DSN")
    if given:
        yield given
        return
    # No database lives long enough to be vacuumed.
    settings = {"autovacuum": "off", "client_connection_check_interval": "100ms"}
    with temporary_database(within=memory(), **settings) as dsn:
        yield dsn


def memory() -> str | None:
    """Return a folder in memory if there is a roomy one: a database is 300 small files."""
    folder = "/dev/shm"
    if not os.path.isdir(folder):
        return None
    room = os.statvfs(folder)
    roomy = room.f_bavail * room.f_frsize > 1 << 30
    return folder if roomy and not room.f_flag & os.ST_NOEXEC else None


@contextmanager
def new_database(maintenance_dsn: str, *, template: str = "template1") -> Iterator[str]:
    """Yield the DSN of a copy of ``template``, which goes away with everybody connected to it."""
    name = f"mcpserve_test_{uuid.uuid4().hex}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
    with closing(psycopg2.connect(maintenance_dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
            try:
                yield make_dsn(maintenance_dsn, dbname=name)
            finally:
                cursor.execute(drop)


def query(dsn: str, statement: str | sql.Composable) -> list[Any]:
    """Run one statement on a connection of its own and block until it is done."""
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def hang_up_on_everybody_else(dsn: str) -> int:
    """End all other connections to this database and return their number."""
    statement = """
        SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
    """
    return len(query(dsn, statement))


def backends(dsn: str) -> set[int]:
    """Return the process ids of all other connections to this database."""
    statement = """
        SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
    """
    return {pid for (pid,) in query(dsn, statement)}

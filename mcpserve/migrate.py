"""Schema migrations: ``NNNN_name.sql`` files, forward only, applied in the order of their names.

Each file is one transaction together with its row in ``schema_migrations``; so a file contains
neither BEGIN nor COMMIT, nor what cannot run in a transaction.
"""

import hashlib
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

import psycopg2

from mcpserve.db import Database, Queryable, Transaction
from mcpserve.errors import DatabaseConflict, DatabaseTimeout, MigrationError
from mcpserve.settings import DatabaseSettings

logger = logging.getLogger(__name__)

FILE_NAME = re.compile(r"[0-9]{4}_[a-z0-9_]+\.sql")

TRANSACTION_CONTROL = re.compile(r"^\s*(BEGIN|COMMIT|ROLLBACK)\s*;", re.IGNORECASE | re.MULTILINE)

ADVISORY_LOCK = 0x6D63707365727665
"""Held by whoever migrates this database: "mcpserve" in ASCII."""

TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name text PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL
)
"""

RECORD = """
INSERT INTO schema_migrations (name, sha256, applied_at)
VALUES (%(name)s, %(sha256)s, clock_timestamp())
"""


@dataclass(frozen=True)
class Status:
    """How a database compares with the files, each in the order of names."""

    applied: tuple[str, ...]
    """All that the database has seen, altered and unknown ones included."""
    pending: tuple[str, ...]
    altered: tuple[str, ...]
    """The text was changed after it had been applied."""
    unknown: tuple[str, ...]
    """Applied, but there is no such file: the database is newer than this program."""

    @property
    def current(self) -> bool:
        """Whether database and files agree."""
        return not (self.pending or self.altered or self.unknown)


@asynccontextmanager
async def open_database(
    settings: DatabaseSettings, dsn: str, *, migrates: bool
) -> AsyncIterator[Database]:
    """Connect, and make sure that the schema is this program's.

    Raises :class:`~mcpserve.errors.DatabaseError`, and
    :class:`~mcpserve.errors.MigrationError` with the command to run.
    """
    async with Database.connect(dsn, pool_size=settings.pool_size) as db:
        if migrates or settings.migrate:
            for name in await apply(db):
                logger.info("applied migration %s", name)
        await require_current(db)
        yield db


async def status(db: Queryable, directory: Traversable | None = None) -> Status:
    """Compare the database with the files; changes nothing, also if it was never migrated."""
    return await _compare(db, _read(directory))


async def apply(db: Database, directory: Traversable | None = None) -> tuple[str, ...]:
    """Apply what is pending and return the names; two processes at once share the work.

    Raises MigrationError. Files before the one that failed stay applied, nothing of it does.
    """
    texts = _read(directory)
    applied = []
    while name := await _apply_next(db, texts):
        applied.append(name)
    return tuple(applied)


async def require_current(db: Queryable, directory: Traversable | None = None) -> None:
    """Raise MigrationError, with what to do about it, unless database and files agree."""
    found = await status(db, directory)
    _refuse(found)
    if found.pending:
        names = ", ".join(found.pending)
        raise MigrationError(f"the database lacks {names}: run `mcpserve db init`")


async def _apply_next(db: Database, texts: Mapping[str, str]) -> str | None:
    """Apply the first pending file and return its name, or None."""
    name = "schema_migrations"
    try:
        async with db.transaction(unlimited=True) as tx:
            await _wait_for_our_turn(tx)
            await tx.execute(TABLE)
            found = await _compare(tx, texts)
            _refuse(found)
            if not found.pending:
                return None
            name = found.pending[0]
            await tx.execute(texts[name])
            await tx.execute(RECORD, name=name, sha256=_digest(texts[name]))
    except (psycopg2.Error, DatabaseTimeout, DatabaseConflict) as error:
        raise MigrationError(f"{name} failed, nothing of it was applied: {error}") from error
    return name


async def _wait_for_our_turn(tx: Transaction) -> None:
    """Wait as long as it takes: another process may be in the middle of a long migration.

    The limit on locks is for tables, where everybody else would queue up behind us.
    """
    [limit] = await tx.rows("SELECT current_setting('lock_timeout') AS value")
    await tx.execute("SET LOCAL lock_timeout = 0")
    await tx.execute("SELECT pg_advisory_xact_lock(%(key)s)", key=ADVISORY_LOCK)
    await tx.execute("SELECT set_config('lock_timeout', %(value)s, true)", value=limit.value)


async def _compare(db: Queryable, texts: Mapping[str, str]) -> Status:
    table = await db.row("SELECT 1 WHERE to_regclass('schema_migrations') IS NOT NULL")
    rows = await db.rows("SELECT name, sha256 FROM schema_migrations") if table else []
    recorded = {row.name: row.sha256 for row in rows}
    here = {name: _digest(text) for name, text in texts.items()}
    return Status(
        applied=tuple(sorted(recorded)),
        pending=tuple(name for name in here if name not in recorded),
        altered=tuple(name for name in here if recorded.get(name, here[name]) != here[name]),
        unknown=tuple(sorted(recorded.keys() - here.keys())),
    )


def _refuse(found: Status) -> None:
    if found.altered:
        names = ", ".join(found.altered)
        message = f"{names} changed after being applied: restore the text, add a new file instead"
        raise MigrationError(f"{message}; then run `mcpserve db init`")
    if found.unknown:
        names = ", ".join(found.unknown)
        message = f"the database is newer than this program, which lacks {names}"
        raise MigrationError(f"{message}: upgrade mcpserve, then run `mcpserve db init`")


def _read(directory: Traversable | None) -> dict[str, str]:
    """Return the files' texts by name and in its order."""
    entries = (directory or files("mcpserve.schema")).iterdir()
    found = sorted((e for e in entries if e.name.endswith(".sql")), key=lambda e: e.name)
    for entry in found:
        if not FILE_NAME.fullmatch(entry.name):
            raise MigrationError(f"{entry.name}: a migration is called NNNN_name.sql")
    texts = {entry.name: entry.read_text(encoding="utf-8") for entry in found}
    for name, text in texts.items():
        if TRANSACTION_CONTROL.search(text):
            raise MigrationError(f"{name}: a migration contains neither BEGIN nor COMMIT")
    return texts


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

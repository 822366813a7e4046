"""Migrations: what is applied, what is refused, and what a failure leaves behind."""

import asyncio
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from postgres import query
from serving import Flow, serving

from mcpserve import migrate
from mcpserve.db import Database
from mcpserve.errors import MigrationError

SCHEMA = Path(__file__).parent.parent.parent / "schema"

TABLES = (
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)

WAITING = """
    SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted
"""


@pytest.fixture
def directory(tmp_path):
    """A folder with two migrations and what else lies beside them."""
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "0002_b.sql").write_text("ALTER TABLE a ADD value int;\nCREATE TABLE b ();\n")
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE a ();\n")
    return tmp_path


def tables(dsn):
    return {name for (name,) in query(dsn, TABLES)}


@contextmanager
def somebody_migrates(dsn):
    """Hold the lock that another migrating process would hold."""
    with closing(psycopg2.connect(dsn)) as other, other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (migrate.ADVISORY_LOCK,))
        yield


async def until_waiting(dsn, count):
    async with asyncio.timeout(10):
        while len(query(dsn, WAITING)) < count:
            await asyncio.sleep(0.01)


async def test_pending_files_are_applied_in_the_order_of_their_names(empty_dsn, directory):
    async with Database.connect(empty_dsn) as db:
        assert await migrate.apply(db, directory) == ("0001_a.sql", "0002_b.sql")
        assert tables(empty_dsn) == {"a", "b", "schema_migrations"}
        rows = await db.rows(
            "SELECT name, length(sha256) AS digits, now() - applied_at < '1 minute' AS recent"
            " FROM schema_migrations ORDER BY applied_at"
        )
    assert rows == [("0001_a.sql", 64, True), ("0002_b.sql", 64, True)]


async def test_what_was_applied_is_not_applied_again(empty_dsn, directory):
    async with Database.connect(empty_dsn) as db:
        await migrate.apply(db, directory)
        assert await migrate.apply(db, directory) == ()
        (directory / "0003_c.sql").write_text("CREATE TABLE c ()")
        assert await migrate.apply(db, directory) == ("0003_c.sql",)


async def test_status_of_a_new_database_is_all_pending_and_changes_nothing(empty_dsn, directory):
    async with Database.connect(empty_dsn) as db:
        status = await migrate.status(db, directory)
    assert status == migrate.Status((), ("0001_a.sql", "0002_b.sql"), (), ())
    assert not status.current
    assert tables(empty_dsn) == set()


async def test_status_tells_pending_altered_and_unknown_files_apart(empty_dsn, directory):
    async with Database.connect(empty_dsn) as db:
        await migrate.apply(db, directory)
        assert (await migrate.status(db, directory)).current
        (directory / "0001_a.sql").write_text("CREATE TABLE other ();\n")
        (directory / "0002_b.sql").rename(directory / "0003_b.sql")
        status = await migrate.status(db, directory)
    assert status.applied == ("0001_a.sql", "0002_b.sql")
    assert status.pending == ("0003_b.sql",)
    assert status.altered == ("0001_a.sql",)
    assert status.unknown == ("0002_b.sql",)
    assert not status.current


async def test_the_line_endings_of_a_checkout_do_not_alter_a_file(empty_dsn, directory):
    async with Database.connect(empty_dsn) as db:
        await migrate.apply(db, directory)
        file = directory / "0002_b.sql"
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
        assert (await migrate.status(db, directory)).current


@pytest.mark.parametrize("refuse", [migrate.apply, migrate.require_current])
async def test_an_altered_file_is_refused(empty_dsn, directory, refuse):
    async with Database.connect(empty_dsn) as db:
        await migrate.apply(db, directory)
        (directory / "0001_a.sql").write_text("CREATE TABLE other ();\n")
        (directory / "0003_c.sql").write_text("CREATE TABLE c ()")
        with pytest.raises(MigrationError, match=r"0001_a.sql changed.*add a new file"):
            await refuse(db, directory)
    assert "c" not in tables(empty_dsn)


@pytest.mark.parametrize("refuse", [migrate.apply, migrate.require_current])
async def test_a_database_newer_than_the_program_is_refused(empty_dsn, directory, refuse):
    async with Database.connect(empty_dsn) as db:
        await migrate.apply(db, directory)
        (directory / "0002_b.sql").unlink()
        (directory / "0003_c.sql").write_text("CREATE TABLE c ()")
        with pytest.raises(MigrationError, match=r"newer.*0002_b.sql: upgrade mcpserve"):
            await refuse(db, directory)
    assert "c" not in tables(empty_dsn)


async def test_pending_files_are_named_with_the_command_to_run(empty_dsn, directory):
    async with Database.connect(empty_dsn) as db:
        with pytest.raises(MigrationError, match=r"0001_a.sql, 0002_b.sql: run `mcpserve db init`"):
            await migrate.require_current(db, directory)
        await migrate.apply(db, directory)
        await migrate.require_current(db, directory)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("CREATE TABLE c ();\nFROBNICATE;\n", 'syntax error at or near "FROBNICATE"'),
        ("CREATE TABLE c ();\nSELECT 1 / 0;\n", "division by zero"),
        (
            # This one fails at COMMIT only.
            "CREATE TABLE c (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);\n"
            "INSERT INTO c VALUES (1), (1);\n",
            "duplicate key value",
        ),
        # And this one when it is recorded.
        ("CREATE TABLE c ();\nDROP TABLE schema_migrations;\n", 'relation "schema_migrations"'),
    ],
    ids=["syntax", "run", "commit", "record"],
)
async def test_a_failing_file_leaves_nothing_behind_and_is_named(
    empty_dsn, directory, text, reason
):
    (directory / "0003_c.sql").write_text(text)
    async with Database.connect(empty_dsn) as db:
        with pytest.raises(MigrationError, match=f"^0003_c.sql failed.*: {reason}"):
            await migrate.apply(db, directory)
        assert tables(empty_dsn) == {"a", "b", "schema_migrations"}
        assert (await migrate.status(db, directory)).pending == ("0003_c.sql",)


async def test_a_percent_sign_in_a_file_stands_for_itself(empty_dsn, directory):
    (directory / "0003_c.sql").write_text("COMMENT ON TABLE a IS '100%; %s %(name)s';")
    async with Database.connect(empty_dsn) as db:
        await migrate.apply(db, directory)
        row = await db.row("SELECT obj_description('a'::regclass) AS text")
    assert row.text == "100%; %s %(name)s"


async def test_a_long_migration_is_not_cut_by_the_statement_timeout(empty_dsn, directory):
    # Red in an ordinary transaction.
    (directory / "0003_c.sql").write_text("SELECT pg_sleep(0.4);")
    async with Database.connect(empty_dsn, statement_timeout=0.1) as db:
        assert "0003_c.sql" in await migrate.apply(db, directory)


async def test_a_migration_does_not_wait_long_for_a_table(empty_dsn, directory):
    # Red when the advisory lock's exemption from lock_timeout is left in place.
    query(empty_dsn, "CREATE TABLE busy ()")
    (directory / "0003_c.sql").write_text("ALTER TABLE busy ADD value int;")
    async with Database.connect(empty_dsn, lock_timeout=0.1) as db:
        async with asyncio.timeout(5), db.transaction() as tx:
            await tx.execute("LOCK TABLE busy IN ACCESS SHARE MODE")
            with pytest.raises(MigrationError, match=r"0003_c.sql failed.*lock timeout"):
                await migrate.apply(db, directory)
        assert await migrate.apply(db, directory) == ("0003_c.sql",)


async def test_another_process_that_migrates_is_waited_for(empty_dsn, directory):
    # Red when lock_timeout holds for the advisory lock too.
    async with Database.connect(empty_dsn, lock_timeout=0.05) as db:
        with somebody_migrates(empty_dsn):
            task = asyncio.create_task(migrate.apply(db, directory))
            await until_waiting(empty_dsn, 1)
            await asyncio.sleep(0.2)
        assert len(await task) == 2


async def test_two_processes_at_once_apply_each_file_once(empty_dsn, directory):
    # Red without the advisory lock, or with the comparison made before it: duplicate tables.
    program = """if True:
        import asyncio, pathlib, sys
        from mcpserve import migrate
        from mcpserve.db import Database
        async def main(dsn, directory):
            async with Database.connect(dsn) as db:
                print(*await migrate.apply(db, pathlib.Path(directory)))
        asyncio.run(main(*sys.argv[1:]))
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, empty_dsn, str(directory)]
    with ExitStack() as stack:
        async with Database.connect(empty_dsn) as db:
            with somebody_migrates(empty_dsn):
                process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
                stack.enter_context(process)
                here = asyncio.create_task(migrate.apply(db, directory))
                await until_waiting(empty_dsn, 2)
            applied_here = await here
        applied_there = process.communicate()[0].decode().split()
    assert process.returncode == 0
    assert sorted([*applied_here, *applied_there]) == ["0001_a.sql", "0002_b.sql"]


@pytest.mark.parametrize("name", ["3_c.sql", "0003-c.sql", "0003_C.sql", "extra.sql"])
async def test_a_file_that_is_not_called_like_a_migration_is_refused(empty_dsn, directory, name):
    (directory / name).write_text("CREATE TABLE c ()")
    async with Database.connect(empty_dsn) as db:
        with pytest.raises(MigrationError, match=r"NNNN_name.sql"):
            await migrate.status(db, directory)


@pytest.mark.parametrize("text", ["BEGIN;\nCREATE TABLE c ();", "CREATE TABLE c ();\n  commit ;"])
async def test_a_file_that_ends_its_own_transaction_is_refused(empty_dsn, directory, text):
    (directory / "0003_c.sql").write_text(text)
    async with Database.connect(empty_dsn) as db:
        with pytest.raises(MigrationError, match=r"0003_c.sql: .*neither BEGIN nor COMMIT"):
            await migrate.apply(db, directory)
    assert tables(empty_dsn) == set()


async def test_a_function_body_may_begin(empty_dsn, directory):
    body = "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n  RETURN 1;\nEND;\n$$;"
    (directory / "0003_f.sql").write_text(body)
    async with Database.connect(empty_dsn) as db:
        await migrate.apply(db, directory)
        assert await db.row("SELECT f() AS one") == (1,)


OPEN_WINDOW = """
    INSERT INTO users (id, name, password_hash) VALUES (gen_random_uuid(), 'alice', 'x');
    INSERT INTO oauth_clients (client_id, client_name, redirect_uris, origin)
        VALUES ('public-client', 'Public Client', '{https://client.example/callback}', 'cli');
    INSERT INTO mcp_sessions (client_id, user_id, scopes, resource, auth_time, expires_at)
        SELECT 'public-client', id, '{mcp.tools.call}', 'http://localhost:3000/mcp',
               clock_timestamp(), clock_timestamp() + interval '1 day' FROM users;
    INSERT INTO oauth_refresh_tokens
            (digest, session_id, expires_at, rotated_at, salt, reusable_until)
        SELECT pg_catalog.sha256('rotated'), id, expires_at, clock_timestamp(), 'salt',
               clock_timestamp() + interval '1 hour' FROM mcp_sessions;
    INSERT INTO oauth_refresh_tokens (digest, session_id, expires_at, parent_id)
        SELECT pg_catalog.sha256('successor'), session_id, expires_at, id FROM oauth_refresh_tokens;
"""
"""A grant whose client may ask again for its last answer."""


async def test_who_asks_again_after_an_upgrade_is_refused_and_keeps_the_grant(empty_dsn, tmp_path):
    shutil.copy(SCHEMA / "0001_initial.sql", tmp_path)
    async with Database.connect(empty_dsn) as db:
        await migrate.apply(db, tmp_path)
        query(empty_dsn, OPEN_WINDOW)
        await migrate.apply(db, SCHEMA)
    named = {"server": {"public_url": "http://localhost:3000"}}
    async with serving(empty_dsn, named) as server:
        refused = await Flow(server).refresh("rotated")
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
        assert query(empty_dsn, "SELECT state FROM mcp_sessions") == [("active",)]
        assert (await Flow(server).refresh("successor")).status_code == 200


async def test_an_upgrade_without_an_open_window_makes_no_key(empty_dsn, tmp_path):
    shutil.copy(SCHEMA / "0001_initial.sql", tmp_path)
    async with Database.connect(empty_dsn) as db:
        await migrate.apply(db, tmp_path)
        await migrate.apply(db, SCHEMA)
    assert query(empty_dsn, "SELECT key_id FROM server_keys") == []


async def test_the_template_database_has_the_whole_schema(dsn):
    async with Database.connect(dsn) as db:
        await migrate.require_current(db, SCHEMA)


async def test_without_a_directory_the_packaged_schema_is_meant(dsn):
    pytest.importorskip("mcpserve.schema", reason="needs the installed package")
    async with Database.connect(dsn) as db:
        await migrate.require_current(db)

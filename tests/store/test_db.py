"""What db.py promises, on a real server and over a network that breaks."""
# ruff: noqa: PT012  (a transaction's end is part of what raises)

import asyncio
import os
import random
import resource
import socket
import time
import traceback
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from urllib.parse import quote

import psycopg2
import pytest
from postgres import backends, hang_up_on_everybody_else, query
from postgres_proxy import proxy
from psycopg2.extensions import make_dsn, parse_dsn

from mcpserve.connection import Connection
from mcpserve.db import Database
from mcpserve.errors import (
    ConfigError,
    DatabaseConflict,
    DatabaseError,
    DatabaseTimeout,
    DatabaseUnavailable,
)


@pytest.fixture
def item_dsn(empty_dsn):
    """A database with one table that has one row."""
    query(empty_dsn, "CREATE TABLE item (id int PRIMARY KEY, value int)")
    query(empty_dsn, "INSERT INTO item VALUES (1, 0)")
    return empty_dsn


LOCK = "SELECT FROM item WHERE id = 1 FOR UPDATE"
INCREMENT = "UPDATE item SET value = value + 1 WHERE id = 1"


async def value_of(db):
    return (await db.row("SELECT value FROM item WHERE id = 1")).value


@asynccontextmanager
async def locked_row(db):
    """Hold the lock of the row in a transaction of another task, which is yielded."""
    locked, enough = asyncio.Event(), asyncio.Event()

    async def hold():
        async with db.transaction() as tx:
            await tx.execute(INCREMENT)
            locked.set()
            await enough.wait()

    task = asyncio.create_task(hold())
    await locked.wait()
    try:
        yield task
    finally:
        enough.set()
        await asyncio.gather(task, return_exceptions=True)


async def open_connections(db, count):
    """Make the pool open ``count`` connections and leave them idle."""
    everybody = asyncio.Barrier(count)

    async def use():
        async with db.transaction():
            await everybody.wait()

    await asyncio.gather(*(use() for _ in range(count)))


async def settle():
    """Let the tasks that were just started run until they have to wait."""
    for _ in range(10):
        await asyncio.sleep(0)


async def until(condition):
    """Wait for what the server is about to do."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


# Statements and rows


async def test_rows_have_their_columns_as_attributes(empty_dsn):
    async with Database.connect(empty_dsn) as db:
        row = await db.row("SELECT %(a)s::int AS one, 'x' AS two", a=1)
    assert (row.one, row.two) == (1, "x")


async def test_a_query_that_finds_nothing_returns_none_or_an_empty_list(item_dsn):
    async with Database.connect(item_dsn) as db:
        assert await db.row("SELECT id FROM item WHERE id = 7") is None
        assert await db.rows("SELECT id FROM item WHERE id = 7") == []


async def test_one_insists_on_a_row(item_dsn):
    async with Database.connect(item_dsn) as db:
        assert await db.one("SELECT id FROM item WHERE id = 1") == (1,)
        with pytest.raises(LookupError):
            await db.one("SELECT id FROM item WHERE id = 7")


async def test_execute_returns_the_number_of_rows_affected(item_dsn):
    async with Database.connect(item_dsn) as db, db.transaction() as tx:
        assert await tx.execute("INSERT INTO item VALUES (2, 0), (3, 0)") == 2
        assert await tx.execute("DELETE FROM item") == 3


async def test_bytea_comes_back_as_bytes(empty_dsn):
    # Red with psycopg2's own type: it returns a memoryview.
    async with Database.connect(empty_dsn) as db:
        row = await db.row(
            "SELECT %(b)s AS one, ARRAY[%(b)s] AS many, NULL::bytea AS none", b=b"\0"
        )
    assert row == (b"\0", [b"\0"], None)
    assert type(row.one) is bytes


async def test_a_percent_sign_stands_for_itself_without_parameters(empty_dsn):
    # Red when an empty mapping is handed to psycopg2: it then formats the statement.
    async with Database.connect(empty_dsn) as db, db.transaction() as tx:
        assert (await db.row("SELECT 'a' LIKE '%' AS matches")).matches
        assert (await tx.row("SELECT 7 % 4 AS rest")).rest == 3


async def test_a_parameter_may_have_any_name(empty_dsn):
    async with Database.connect(empty_dsn) as db:
        row = await db.row("SELECT %(sql)s || %(self)s AS text", sql="a", self="b")
    assert row.text == "ab"


async def test_a_nul_character_is_the_callers_mistake_and_breaks_nothing(empty_dsn):
    async with Database.connect(empty_dsn, pool_size=1) as db:
        with pytest.raises(ValueError, match="NUL"):
            await db.row("SELECT %(a)s", a="a\0b")
        await db.ping()


async def test_mistakes_in_sql_pass_through_and_keep_the_connection(item_dsn):
    async with Database.connect(item_dsn, pool_size=1) as db:
        pids = backends(item_dsn)
        with pytest.raises(psycopg2.errors.SyntaxError):
            await db.row("SELEKT 1")
        with pytest.raises(psycopg2.errors.UniqueViolation):
            async with db.transaction() as tx:
                await tx.execute("INSERT INTO item VALUES (1, 1)")
        assert backends(item_dsn) == pids
        await db.ping()


async def test_mistakes_in_sql_are_told_with_more_than_1024_files_open(empty_dsn):
    # Red with aiopg's own callback: its select() fails, and the caller waits for nothing.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip("this system does not allow that many")
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
        for _ in range(1100):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        async with Database.connect(empty_dsn, statement_timeout=1) as db:
            with pytest.raises(psycopg2.errors.DivisionByZero):
                await db.row("SELECT 1 / 0")


# Transactions


async def test_a_transaction_commits_at_the_end_of_its_block(item_dsn):
    async with Database.connect(item_dsn) as db:
        async with db.transaction() as tx:
            await tx.execute(INCREMENT)
            assert await value_of(db) == 0
        assert await value_of(db) == 1


async def test_an_exception_rolls_back_and_keeps_the_connection(item_dsn):
    async with Database.connect(item_dsn) as db:
        pids = backends(item_dsn)
        with pytest.raises(LookupError):
            async with db.transaction() as tx:
                await tx.execute(INCREMENT)
                raise LookupError
        assert await value_of(db) == 0
        assert backends(item_dsn) == pids


async def test_a_cancelled_transaction_rolls_back_and_frees_its_locks_at_once(item_dsn):
    async with Database.connect(item_dsn, lock_timeout=0.5) as db, locked_row(db) as holder:
        holder.cancel()
        async with db.transaction() as tx:
            await tx.execute(LOCK)
        assert holder.cancelled()
        assert await value_of(db) == 0


async def test_a_transaction_cancelled_in_a_statement_frees_its_locks(item_dsn):
    async def sleep(db, asleep):
        async with db.transaction() as tx:
            await tx.execute("SET LOCAL client_connection_check_interval = '50ms'")
            await tx.execute(INCREMENT)
            asleep.set()
            await tx.row("SELECT pg_sleep(30)")

    async with Database.connect(item_dsn) as db:
        asleep = asyncio.Event()
        task = asyncio.create_task(sleep(db, asleep))
        await asleep.wait()
        await settle()
        task.cancel()
        async with db.transaction() as tx:
            await tx.execute(LOCK)
        assert task.cancelled()


async def test_begin_sets_all_limits_in_one_round_trip_and_nothing_for_the_session(item_dsn):
    names = "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"
    show = "SELECT " + ", ".join(f"current_setting('{name}') AS {name}" for name in names)
    async with (
        proxy(item_dsn) as network,
        Database.connect(network.dsn, pool_size=1, lock_timeout=1.5, statement_timeout=4) as db,
    ):
        before = await db.row(show)
        async with db.transaction() as tx:
            inside = await tx.row(show)
        assert inside == ("1500ms", "4s", "4s")
        assert await db.row(show) == before
        begin = next(part for part in network.sent.split(b"\0") if part.endswith(b"4000"))
        assert b"BEGIN" in begin
        assert all(name.encode() in begin for name in names)
        # pgbouncer gives the session to somebody else after each transaction.
        assert b"SET " not in network.sent.replace(b"SET LOCAL ", b"")


async def test_a_transaction_sees_what_was_committed_before_it_got_the_lock(item_dsn):
    # Red when BEGIN leaves the isolation level to the server: a serialization failure.
    name = parse_dsn(item_dsn)["dbname"]
    query(item_dsn, f"ALTER DATABASE {name} SET default_transaction_isolation = serializable")
    async with Database.connect(item_dsn) as db, db.transaction() as tx:
        await tx.row("SELECT 1")
        await db.execute(INCREMENT)
        await tx.execute(LOCK)
        assert await value_of(tx) == 1


async def test_a_transaction_without_limit_still_limits_locks(item_dsn):
    async with Database.connect(item_dsn, statement_timeout=0.2) as db:
        async with db.transaction(unlimited=True) as tx:
            row = await tx.row("SELECT current_setting('lock_timeout') AS lock, pg_sleep(0.4)")
        assert row.lock == "2s"


async def test_commit_after_an_ignored_error_is_not_silent(item_dsn):
    # Red without the look at the answer: the server replies ROLLBACK and reports no error.
    async with Database.connect(item_dsn) as db:
        with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
            async with db.transaction() as tx:
                await tx.execute(INCREMENT)
                with suppress(psycopg2.errors.UniqueViolation):
                    await tx.execute("INSERT INTO item VALUES (1, 1)")
        assert await value_of(db) == 0


async def test_an_error_that_only_commit_finds_passes_through(item_dsn):
    query(item_dsn, "CREATE TABLE part (id int REFERENCES item DEFERRABLE INITIALLY DEFERRED)")
    async with Database.connect(item_dsn, pool_size=1) as db:
        with pytest.raises(psycopg2.errors.ForeignKeyViolation):
            async with db.transaction() as tx:
                await tx.execute("INSERT INTO part VALUES (7)")
        await db.ping()


async def test_a_transaction_that_has_ended_cannot_be_used(item_dsn):
    async with Database.connect(item_dsn) as db:
        async with db.transaction() as tx:
            pass
        with pytest.raises(RuntimeError, match="has ended"):
            await tx.execute(INCREMENT)


async def test_begin_as_a_statement_does_not_reach_the_next_user_of_the_connection(item_dsn):
    async with Database.connect(item_dsn, pool_size=1) as db:
        await db.execute("BEGIN")
        await db.execute(INCREMENT)
        assert query(item_dsn, "SELECT value FROM item") == [(1,)]


# Limits in time


@pytest.mark.parametrize("in_transaction", [True, False], ids=["transaction", "statement"])
async def test_a_slow_statement_is_a_database_timeout(empty_dsn, in_transaction):
    # Red with aiopg's own waiting: CancelledError, and a traceback to the loop's handler.
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with Database.connect(empty_dsn, statement_timeout=0.1) as db:
        started = time.monotonic()
        with pytest.raises(DatabaseTimeout):
            if in_transaction:
                async with db.transaction() as tx:
                    await tx.row("SELECT pg_sleep(10)")
            else:
                await db.row("SELECT pg_sleep(10)")
        assert time.monotonic() - started < 3
        await db.ping()
    assert complaints == []


async def test_a_timeout_during_clean_up_after_a_cancellation_is_still_a_timeout(empty_dsn):
    # Red when a timeout is told from a cancellation by looking at Task.cancelling().
    async with Database.connect(empty_dsn, statement_timeout=0.1) as db:

        async def clean_up():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                async with db.transaction() as tx:
                    await tx.row("SELECT pg_sleep(10)")

        task = asyncio.create_task(clean_up())
        await settle()
        task.cancel()
        with pytest.raises(DatabaseTimeout):
            await task


@pytest.mark.parametrize("in_transaction", [True, False], ids=["transaction", "statement"])
async def test_a_cancelled_statement_stays_cancelled(empty_dsn, in_transaction):
    async def sleep(db):
        if not in_transaction:
            return await db.row("SELECT pg_sleep(10)")
        async with db.transaction() as tx:
            return await tx.row("SELECT pg_sleep(10)")

    async with Database.connect(empty_dsn, pool_size=1) as db:
        task = asyncio.create_task(sleep(db))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await db.ping()


async def test_a_cancellation_that_comes_with_the_answer_is_not_lost(empty_dsn):
    # Red on Python 3.11 with aiopg's own waiting: asyncio.wait_for returns the answer.
    async with Database.connect(empty_dsn) as db:
        task = asyncio.create_task(db.row("SELECT pg_sleep(0.02)"))
        await asyncio.sleep(0)  # it has sent the statement
        asyncio.get_running_loop().call_later(0.05, task.cancel)
        time.sleep(0.2)  # now the answer is there and the timer due, in this order
        await asyncio.wait([task])
        assert task.cancelled()


async def test_a_lock_that_is_not_free_in_time_is_a_database_timeout(item_dsn):
    async with Database.connect(item_dsn, lock_timeout=0.1) as db, locked_row(db):
        with pytest.raises(DatabaseTimeout):
            async with db.transaction() as tx:
                await tx.execute(LOCK)


async def test_a_silent_server_is_a_database_timeout(item_dsn):
    # Red with the cursor's default of a minute: the server's own limit cannot arrive.
    async with (
        proxy(item_dsn) as network,
        Database.connect(network.dsn, statement_timeout=0.1) as db,
        asyncio.timeout(3),
    ):
        network.freeze()
        with pytest.raises(DatabaseTimeout):
            await db.row("SELECT 1")


async def test_a_server_that_falls_silent_in_a_transaction_is_a_database_timeout(item_dsn):
    async with (
        proxy(item_dsn) as network,
        Database.connect(network.dsn, statement_timeout=0.1) as db,
        asyncio.timeout(3),
    ):
        with pytest.raises(DatabaseTimeout):
            async with db.transaction() as tx:
                network.freeze()
                await tx.execute(INCREMENT)


async def test_a_commit_without_answer_has_an_unknown_outcome(item_dsn):
    # Red when it is reported as DatabaseTimeout, which promises that nothing was written.
    async with (
        proxy(item_dsn) as network,
        Database.connect(network.dsn, statement_timeout=0.1) as db,
        asyncio.timeout(3),
    ):
        with pytest.raises(DatabaseUnavailable, match="unknown"):
            async with db.transaction() as tx:
                await tx.execute(INCREMENT)
                network.freeze()


# Other transactions in the way


async def test_a_deadlock_asks_for_a_later_try(item_dsn):
    query(item_dsn, "INSERT INTO item VALUES (2, 0)")
    both = asyncio.Barrier(2)

    async def lock(db, first, second):
        async with db.transaction() as tx:
            await tx.execute(INCREMENT.replace("1", "%(id)s"), id=first)
            await both.wait()
            await tx.execute("UPDATE item SET value = 5 WHERE id = %(id)s", id=second)

    async with Database.connect(item_dsn) as db:
        tasks = [lock(db, 1, 2), lock(db, 2, 1)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
    (error,) = [result for result in results if result]
    assert isinstance(error, DatabaseConflict)
    assert isinstance(error, DatabaseError)


async def test_a_serialization_failure_asks_for_a_later_try(item_dsn):
    async with Database.connect(item_dsn) as db:
        with pytest.raises(DatabaseConflict):
            async with db.transaction() as tx:
                await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                await tx.row("SELECT FROM item")
                await db.execute(INCREMENT)
                await tx.execute(INCREMENT)
        assert await value_of(db) == 1


# The pool


async def test_a_full_pool_is_unavailable_after_the_acquire_timeout(empty_dsn):
    async with Database.connect(empty_dsn, pool_size=1, acquire_timeout=0.1) as db:
        async with db.transaction():
            started = time.monotonic()
            with pytest.raises(DatabaseUnavailable, match="became free"):
                await db.ping()
            assert time.monotonic() - started < 1.8  # The default is 2.
        await db.ping()


async def test_the_pool_opens_no_more_connections_than_its_size(empty_dsn):
    async with Database.connect(empty_dsn, pool_size=3) as db:
        await asyncio.gather(*(db.row("SELECT pg_sleep(0.01)") for _ in range(12)))
        assert len(backends(empty_dsn)) == 3


async def test_whoever_asks_first_is_served_first(empty_dsn):
    # Red on aiopg's own pool: who asks just after a release overtakes those who wait.
    served = []

    async def use(number):
        await db.ping()
        served.append(number)

    async with Database.connect(empty_dsn, pool_size=1, acquire_timeout=10) as db:
        tasks = []
        while len(served) < 10:  # somebody comes at every moment of the others' use
            tasks.append(asyncio.create_task(use(len(tasks))))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
    assert served == list(range(len(tasks)))


async def test_a_waiter_cancelled_in_the_queue_leaks_nothing(empty_dsn):
    async with Database.connect(empty_dsn, pool_size=1) as db:
        async with db.transaction():
            first, second = asyncio.create_task(db.ping()), asyncio.create_task(db.ping())
            await settle()
            first.cancel()
            await settle()
        await asyncio.wait_for(second, 1)
        assert first.cancelled()


async def test_a_waiter_cancelled_when_its_turn_has_just_come_leaks_nothing(empty_dsn):
    # Red on aiopg's own pool: the wake-up is lost with the waiter that was cancelled.
    async with Database.connect(empty_dsn, pool_size=1) as db:
        async with db.transaction():
            first, second = asyncio.create_task(db.ping()), asyncio.create_task(db.ping())
            await settle()
        first.cancel()
        await asyncio.wait_for(second, 1)
        assert first.cancelled()


async def test_cancellations_at_any_moment_leave_the_pool_whole(empty_dsn):
    async def use(db):
        async with db.transaction() as tx:
            await tx.row("SELECT pg_sleep(0.002)")

    chance = random.Random(1)
    async with Database.connect(empty_dsn, pool_size=3) as db:
        for _ in range(20):
            tasks = [asyncio.create_task(use(db)) for _ in range(9)]
            for task in tasks[::2]:
                await asyncio.sleep(chance.uniform(0, 0.004))
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await open_connections(db, 3)
        await until(lambda: len(backends(empty_dsn)) == 3)


async def test_leaving_closes_all_connections(empty_dsn):
    async with Database.connect(empty_dsn) as db:
        await open_connections(db, 3)
    await until(lambda: not backends(empty_dsn))


async def test_a_connection_still_in_use_closes_when_it_is_given_back(empty_dsn):
    async with Database.connect(empty_dsn) as db:
        transaction = db.transaction()
        await transaction.__aenter__()
    await transaction.__aexit__(None, None, None)
    await until(lambda: not backends(empty_dsn))


async def test_a_statement_under_way_is_answered_although_the_pool_was_left(empty_dsn):
    async with Database.connect(empty_dsn) as db:
        await db.ping()
        task = asyncio.create_task(db.row("SELECT 7 AS answer, pg_sleep(0.05)"))
        await settle()
    assert (await task).answer == 7
    await until(lambda: not backends(empty_dsn))


# Connections that break


@pytest.mark.parametrize("again", ["close", "run"])
async def test_a_connection_that_was_closed_lets_its_descriptor_be_somebody_elses(empty_dsn, again):
    here, there = socket.socketpair()
    with closing(here), closing(there):
        connection = await Connection.open(empty_dsn)
        descriptor = connection.raw.fileno()
        connection.close()
        os.dup2(here.fileno(), descriptor)
        came = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, came.set)
        try:
            if again == "close":
                connection.close()
            else:
                with pytest.raises(DatabaseUnavailable):
                    await connection.run("SELECT 1", {}, limit=1)
            there.send(b"x")
            async with asyncio.timeout(1):
                await came.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "loop was blocked"])
async def test_dead_idle_connections_are_replaced_unseen(item_dsn, noticed):
    # Red on aiopg's own pool when the loop was blocked: each dead connection fails once.
    async def write(db):
        async with db.transaction() as tx:
            await tx.execute(INCREMENT)

    async with Database.connect(item_dsn, pool_size=6) as db:
        await open_connections(db, 6)
        assert hang_up_on_everybody_else(item_dsn) == 6
        if noticed:
            await asyncio.sleep(0.05)
        uses = [db.ping(), db.ping(), write(db), write(db), db.execute(INCREMENT), db.ping()]
        await asyncio.gather(*uses)
        assert await value_of(db) == 3


@pytest.mark.parametrize("moment", ["cut_before", "cut_after"])
async def test_a_read_whose_connection_breaks_is_repeated(item_dsn, moment):
    async with proxy(item_dsn) as network, Database.connect(network.dsn) as db:
        setattr(network, moment, b"SELECT value")
        assert await value_of(db) == 0
        assert network.connections == 2


@pytest.mark.parametrize(("moment", "effect"), [("cut_before", 0), ("cut_after", 1)])
async def test_a_write_whose_connection_breaks_is_not_repeated(item_dsn, moment, effect):
    # Red when every statement is repeated: the row is incremented twice.
    async with proxy(item_dsn) as network, Database.connect(network.dsn) as db:
        setattr(network, moment, b"UPDATE")
        with pytest.raises(DatabaseUnavailable):
            await db.row(INCREMENT + " RETURNING value")
        await until(lambda: len(backends(item_dsn)) == 0)
        assert await value_of(db) == effect


@pytest.mark.parametrize("moment", ["cut_before", "cut_after"])
async def test_a_transaction_whose_begin_breaks_is_begun_again(item_dsn, moment):
    async with proxy(item_dsn) as network, Database.connect(network.dsn) as db:
        setattr(network, moment, b"BEGIN")
        async with db.transaction() as tx:
            await tx.execute(INCREMENT)
        assert await value_of(db) == 1
        assert network.connections == 2


async def test_a_transaction_that_breaks_in_the_middle_is_not_repeated(item_dsn):
    async with proxy(item_dsn) as network, Database.connect(network.dsn) as db:
        with pytest.raises(DatabaseUnavailable):
            async with db.transaction() as tx:
                await tx.execute(INCREMENT)
                network.cut_before = b"SELECT value"
                await value_of(tx)
        assert await value_of(db) == 0


@pytest.mark.parametrize(("moment", "effect"), [("cut_before", 0), ("cut_after", 1)])
async def test_a_commit_that_breaks_is_unavailable_and_never_repeated(item_dsn, moment, effect):
    async with proxy(item_dsn) as network, Database.connect(network.dsn) as db:
        setattr(network, moment, b"COMMIT\0")
        with pytest.raises(DatabaseUnavailable):
            async with db.transaction() as tx:
                await tx.execute(INCREMENT)
        await until(lambda: len(backends(item_dsn)) == 0)
        assert await value_of(db) == effect
        assert network.sent.count(b"COMMIT\0") == 1


async def test_the_pool_heals_after_a_restart_of_the_server(item_dsn):
    async with proxy(item_dsn) as network, Database.connect(network.dsn, pool_size=3) as db:
        await open_connections(db, 3)
        await network.stop()
        for _ in range(4):
            with pytest.raises(DatabaseUnavailable, match="refused"):
                await db.ping()
        await network.start()
        await open_connections(db, 3)


# Connecting


def urls(dsn):
    """The ways to write a connection string, each for the same database."""
    parts = parse_dsn(dsn)
    rest = f"{quote(parts['user'])}:p%40ss@127.0.0.1:{parts['port']}/{parts['dbname']}"
    return {
        "postgresql": f"postgresql://{rest}?sslmode=disable",
        "postgres": f"postgres://{rest}",
        "words": make_dsn(dsn, password="it's a \\ secret"),
        # Red with aiopg's own waiting: it never notices that libpq went on to the second.
        "first host refuses": make_dsn(
            dsn, host="127.0.0.1,127.0.0.1", hostaddr="", port=f"1,{parts['port']}"
        ),
    }


@pytest.mark.parametrize("form", ["postgresql", "postgres", "words", "first host refuses"])
async def test_every_form_of_connection_string_works(empty_dsn, form):
    async with proxy(empty_dsn) as network, Database.connect(urls(network.dsn)[form]) as db:
        row = await db.row("SELECT current_database() AS name")
    assert row.name == parse_dsn(empty_dsn)["dbname"]


async def test_without_a_server_the_error_names_it_but_not_the_password(empty_dsn):
    async with proxy(empty_dsn) as network:
        port = parse_dsn(network.dsn)["port"]
    dsn = f"postgresql://me:s3cret@127.0.0.1:{port}/things"
    with pytest.raises(DatabaseUnavailable) as raised:
        async with Database.connect(dsn):
            pass
    assert f"'things' at 127.0.0.1:{port}: " in str(raised.value)
    assert "s3cret" not in "".join(traceback.format_exception(raised.value))


async def test_a_database_that_does_not_exist_is_named(empty_dsn):
    with pytest.raises(DatabaseUnavailable, match='database "nowhere" does not exist'):
        async with Database.connect(make_dsn(empty_dsn, dbname="nowhere")):
            pass


@pytest.mark.parametrize(
    "malformed", ["me:s3cret@localhost/things", "postgresql://me:s3cret%zz@localhost/things"]
)
async def test_a_malformed_connection_string_is_a_config_error_without_the_password(malformed):
    # Red with libpq's own words: they quote the string.
    with pytest.raises(ConfigError, match=r"^database\.url: ") as raised:
        async with Database.connect(malformed):
            pass
    assert "s3cret" not in "".join(traceback.format_exception(raised.value))

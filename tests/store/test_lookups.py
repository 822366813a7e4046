"""Lookups that wait together: everybody is told what was true after they asked, and nobody's end
is anybody else's."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from postgres import backends, query
from postgres_proxy import proxy
from psycopg2 import errors
from store import acts, lab, naive_lookups
from store.naive import GATE

from mcpserve import batching, containment, crypto
from mcpserve.batching import IN_FLIGHT, MOST_KEYS, Lookups
from mcpserve.db import Database
from mcpserve.errors import DatabaseError, DatabaseTimeout, DatabaseUnavailable
from mcpserve.oauth.store import bearer

KEYS = "abc"


class Source:
    """Answers with its version at the moment of a statement, once it is told to."""

    def __init__(self):
        self.version = 0
        self.sent = []
        """Keys and version of each statement."""
        self.under_way = []

    @property
    def open(self):
        """Statements that have no answer yet."""
        return [answer for answer in self.under_way if not answer.done()]

    async def ask(self, keys):
        version = self.version
        self.sent.append((keys, version))
        answer = asyncio.get_running_loop().create_future()
        self.under_way.append(answer)
        try:
            await answer
        finally:
            self.under_way.remove(answer)
        return {key: version for key in keys if key != "absent"}


class Asked:
    """One who asks."""

    def __init__(self, lookups, source, key):
        self.key = key
        self.since = source.version
        self.cancelled = False
        self.task = asyncio.ensure_future(lookups.find(key))


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def play(make, steps):
    """Play the steps, answer everything that is open, and check what everybody was told."""
    source = Source()
    lookups = make(source.ask)
    asked, failures = [], 0
    for step, number in steps:
        match step:
            case "ask":
                asked.append(Asked(lookups, source, KEYS[number % len(KEYS)]))
            case "change":
                source.version += 1
            case "answer" if source.open:
                source.open[number % len(source.open)].set_result(None)
            case "fail" if source.open:
                source.open[number % len(source.open)].set_exception(DatabaseTimeout("slow"))
                failures += 1
            case "stop" if asked:
                stopped = asked[number % len(asked)]
                stopped.cancelled |= stopped.task.cancel()
            case "later":
                await asyncio.sleep(0)
                continue
        if number % 2:
            await settle()
        assert len(source.under_way) <= IN_FLIGHT
    async with asyncio.timeout(2):
        while not all(each.task.done() for each in asked):
            for answer in source.open:
                answer.set_result(None)
            await asyncio.sleep(0)
    check(source, asked, failures)
    await lookups.close()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


def run(make, steps):
    """Play on a loop of its own; this machine may be too busy to be in time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "PATIENCE", 60)
        asyncio.run(play(make, steps))


def check(source, asked, failures):
    raised = []
    for each in asked:
        if each.cancelled:
            assert each.task.cancelled(), "a cancellation was lost"
            continue
        assert not each.task.cancelled(), "the cancellation of somebody else"
        if error := each.task.exception():
            assert type(error) is DatabaseTimeout
            assert failures, "nothing had failed"
            raised.append(error)
        else:
            assert each.task.result() >= each.since, "an old answer"
    assert len({id(error) for error in raised}) == len(raised), "an exception was raised twice"
    for keys, _ in source.sent:
        assert len(set(keys)) == len(keys) <= MOST_KEYS


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "change", "answer", "fail", "stop", "later"]),
        st.integers(0, 5),
    ),
    max_size=30,
)


@given(steps=STEPS)
@settings(max_examples=300, deadline=None, database=None)
def test_whatever_happens_everybody_is_told_what_was_true_since_they_asked(steps):
    run(Lookups, steps)


BUSY = [("ask", 0), ("ask", 1)]
"""As many as are under way at once."""

NAIVE = {
    naive_lookups.Joining: ([*BUSY, ("change", 1), ("ask", 0)], "an old answer"),
    naive_lookups.Remembering: (
        [("ask", 1), ("answer", 1), ("change", 1), ("ask", 1)],
        "an old answer",
    ),
    naive_lookups.SharingFutures: (
        [*BUSY, ("ask", 2), ("ask", 5), ("stop", 2)],
        "of somebody else",
    ),
    naive_lookups.SharingErrors: (
        [*BUSY, ("ask", 2), ("ask", 3), ("answer", 1), ("fail", 1)],
        "an exception was raised twice",
    ),
    naive_lookups.LedByTheFirst: (
        [*BUSY, ("ask", 2), ("ask", 3), ("answer", 1), ("stop", 2)],
        "RuntimeError",
    ),
}


@pytest.mark.parametrize("make", NAIVE)
def test_naive_lookups_are_found_broken(make):
    steps, why = NAIVE[make]
    with pytest.raises(AssertionError, match=why):
        run(make, steps)
    run(Lookups, steps)


async def test_one_who_waits_for_nobody_asks_alone_and_at_once():
    source = Source()
    lookups, before = Lookups(source.ask), asyncio.all_tasks()
    looking = lookups.find("a")
    looking.send(None)  # As far as it comes by itself: the statement is sent.
    assert source.sent == [(("a",), 0)]
    assert asyncio.all_tasks() == before
    looking.close()
    await lookups.close()


async def test_who_waits_together_is_asked_for_together_and_each_key_once():
    source = Source()
    lookups = Lookups(source.ask)
    keys = ["x", "y", "a", "b", "a", "absent", "b"]
    tasks = [asyncio.ensure_future(lookups.find(key)) for key in keys]
    await settle()
    source.open[0].set_result(None)
    await settle()
    assert source.sent == [(("x",), 0), (("y",), 0), (("a", "b", "absent"), 0)]
    for answer in source.open:
        answer.set_result(None)
    assert await asyncio.gather(*tasks) == [0, 0, 0, 0, 0, None, 0]


async def in_the_order_of_asking(make):
    """Check that of more than a statement takes nobody is overtaken."""
    source = Source()
    lookups = make(source.ask)
    tasks = [asyncio.ensure_future(lookups.find(number)) for number in range(3 * MOST_KEYS)]
    while not all(task.done() for task in tasks):
        await settle()
        for answer in source.open:
            answer.set_result(None)
    assert [len(keys) for keys, _ in source.sent] == [1, 1, MOST_KEYS, MOST_KEYS, MOST_KEYS - 2]
    assert [key for keys, _ in source.sent for key in keys] == list(range(3 * MOST_KEYS))


async def test_a_statement_has_a_limit_and_nobody_is_overtaken():
    await in_the_order_of_asking(Lookups)
    with pytest.raises(AssertionError):
        await in_the_order_of_asking(naive_lookups.Greedy)


async def hanging_statements_hold_nobody_up(make):
    """Check that somebody is answered although as many statements as are waited for hang."""
    source = Source()
    lookups = make(source.ask)
    hanging = [asyncio.ensure_future(lookups.find(number)) for number in range(IN_FLIGHT)]
    await settle()
    later = [asyncio.ensure_future(lookups.find(key)) for key in "abc"]
    try:
        async with asyncio.timeout(10 * batching.PATIENCE):
            while len(source.sent) == IN_FLIGHT:
                await asyncio.sleep(0.001)
            source.open[-1].set_result(None)
            assert await asyncio.gather(*later) == [0, 0, 0]
    finally:
        for task in [*hanging, *later]:
            task.cancel()
        await asyncio.gather(*hanging, *later, return_exceptions=True)
        await lookups.close()
    assert source.open == []


async def test_nobody_waits_long_for_a_statement_that_hangs():
    await hanging_statements_hold_nobody_up(Lookups)
    with pytest.raises(TimeoutError):
        await hanging_statements_hold_nobody_up(naive_lookups.Patient)


async def a_cancelled_task_leaves_nobody_waiting(make):
    """Check that whoever waits is told when the task that asks for them is cancelled."""
    source = Source()
    lookups = make(source.ask)
    tasks = [asyncio.ensure_future(lookups.find(key)) for key in "abcd"]
    await settle()
    before = asyncio.all_tasks()
    source.open[0].set_result(None)
    while not (made := asyncio.all_tasks() - before):
        await asyncio.sleep(0)
    for task in made:  # Before it begins.
        task.cancel()
    try:
        await asyncio.wait(tasks[2:], timeout=0.2)
        assert [type(task.exception()) for task in tasks[2:]] == [DatabaseUnavailable] * 2
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_nobody_is_lost_when_the_task_that_asks_is_cancelled():
    await a_cancelled_task_leaves_nobody_waiting(Lookups)
    with pytest.raises(asyncio.InvalidStateError):
        await a_cancelled_task_leaves_nobody_waiting(naive_lookups.AnsweringInTheTask)


async def test_closing_tells_whoever_waits_and_leaves_no_task():
    source = Source()
    lookups = Lookups(source.ask)
    tasks = [asyncio.ensure_future(lookups.find(key)) for key in "abcd"]
    await settle()
    source.open[0].set_result(None)
    await settle()
    tasks += [asyncio.ensure_future(lookups.find(key)) for key in "ef"]
    await settle()
    tasks.pop().cancel()
    await lookups.close()
    await settle()
    assert [type(task.exception()) for task in tasks[2:]] == [DatabaseUnavailable] * 3
    source.open[0].set_result(None)
    assert await tasks[1] == 0  # It asked by itself.
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_whoever_hung_up_while_they_waited_is_not_asked_for():
    source = Source()
    lookups = Lookups(source.ask)
    tasks = [asyncio.ensure_future(lookups.find(key)) for key in "abcd"]
    await settle()
    tasks[3].cancel()
    source.open[0].set_result(None)
    await settle()
    assert source.sent[2:] == [(("c",), 0)]
    await lookups.close()
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_others_wait_for_does_not_end_with_the_plugin_that_asked_before():
    source = Source()
    lookups = Lookups(source.ask)
    theirs = containment.Tasks("plugin")
    containment.know_tasks()
    with theirs.working("call"):
        asking = [asyncio.ensure_future(lookups.find(key)) for key in "ab"]
        await settle()
    other = asyncio.ensure_future(lookups.find("c"))
    await settle()
    source.open[0].set_result(None)  # Now the plugin's own task sends what waits.
    await settle()
    await theirs.close()
    await settle()
    assert [task.cancelled() for task in asking] == [False, True]
    (answer,) = source.open
    answer.set_result(None)
    assert await other == 0


# With PostgreSQL


GATED = f"{bearer.PRINCIPALS} AND (SELECT pg_advisory_xact_lock_shared({GATE})::text) = ''"


def use(db, number=0, *, sql=GATED):
    """Look a token up, as far as a gate that may be closed."""
    digest = crypto.digest(f"at-{number}")
    return asyncio.ensure_future(db.lookup(sql, digest, resource=lab.RESOURCE))


@asynccontextmanager
async def at_the_gate(db, tasks):
    """Hold up these lookups, which have been sent, and whatever is sent later."""
    async with db.transaction() as gate:
        await gate.execute(f"SELECT pg_advisory_xact_lock({GATE})")
        waiting = [use(db, number) for number in range(tasks)]
        while (await db.one("SELECT count(*) AS n FROM pg_locks WHERE NOT granted")).n < tasks:
            await asyncio.sleep(0.001)
        yield waiting


@pytest.mark.proves("RV-08")
async def test_a_token_revoked_while_it_is_looked_up_is_refused_to_whoever_asks_then(
    dsn, monkeypatch
):
    async def two(db):
        async with at_the_gate(db, IN_FLIGHT) as under_way:
            await acts.revoke_access(db)
            later = use(db)
            await settle()
        assert (await under_way[0]).client_id == "client-0"
        return await later

    async with lab.opened(dsn) as db:
        await lab.populate(db, range(IN_FLIGHT))
        assert await two(db) is None
    monkeypatch.setattr("mcpserve.db.Lookups", naive_lookups.Joining)
    async with lab.opened(dsn) as db:
        query(dsn, "UPDATE oauth_access_tokens SET revoked_at = NULL RETURNING 1")
        assert await two(db) is not None


@pytest.mark.parametrize("moment", ["cut_before", "cut_after"])
async def test_lookups_whose_connection_breaks_are_repeated_together(dsn, moment):
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(8))
    async with proxy(dsn) as network, lab.opened(network.dsn) as db:
        async with at_the_gate(db, IN_FLIGHT) as under_way:
            together = [use(db, number) for number in range(IN_FLIGHT, 8)]
            await settle()
            setattr(network, moment, crypto.digest("at-7").hex().encode())
        rows = await asyncio.gather(*under_way, *together)
        assert [row.client_id for row in rows] == [f"client-{number}" for number in range(8)]
        assert getattr(network, moment) is None


async def test_who_hangs_up_holds_up_nobody_who_waits_with_them(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(8))
        async with at_the_gate(db, IN_FLIGHT) as under_way:
            together = [use(db, number) for number in range(IN_FLIGHT, 8)]
            await settle()
            under_way[0].cancel()  # Now the others are sent.
            while backends(dsn) and len(together) < 7:
                await settle()
                together.append(use(db, 1))
            together[0].cancel()
            together[3].cancel()
        ends = await asyncio.gather(*under_way, *together, return_exceptions=True)
    stopped = [number for number, end in enumerate(ends) if isinstance(end, BaseException)]
    assert stopped == [0, IN_FLIGHT, IN_FLIGHT + 3]


FAILURES = {
    "a limit in time": ("pg_sleep(10)", DatabaseTimeout),
    "a mistake": ("1 / (random() * 0)::int", errors.DivisionByZero),
}


@pytest.mark.parametrize("what", FAILURES)
async def test_each_of_those_who_wait_together_gets_an_exception_of_its_own(dsn, what):
    effect, kind = FAILURES[what]
    sql = f"{bearer.PRINCIPALS} AND (SELECT {effect} IS NOT NULL)"
    async with Database.connect(dsn, statement_timeout=0.1) as db:
        await lab.populate(db, range(8))
        tasks = [use(db, number, sql=sql) for number in range(8)]
        raised = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in raised] == [kind] * 8
        assert len({id(error) for error in raised}) == 8
        assert len({str(error) for error in raised}) == 1
        assert len({getattr(error, "pgcode", None) for error in raised}) == 1
        assert (await use(db, sql=bearer.PRINCIPALS)).client_id == "client-0"


async def test_without_a_server_everybody_who_waits_is_told(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(8))
    async with proxy(dsn) as network, lab.opened(network.dsn) as db:
        await network.stop()
        tasks = [use(db, number, sql=bearer.PRINCIPALS) for number in range(8)]
        raised = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(error) for error in raised} == {DatabaseUnavailable}


async def test_a_full_pool_is_unavailable_to_lookups_after_the_acquire_timeout(dsn):
    async with Database.connect(dsn, pool_size=1, acquire_timeout=0.1) as db:
        await lab.populate(db, range(8))
        async with db.transaction():
            tasks = [use(db, number, sql=bearer.PRINCIPALS) for number in range(8)]
            async with asyncio.timeout(1):
                raised = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(error) for error in raised} == {DatabaseUnavailable}
        assert {str(error).endswith("became free in 0.1 s") for error in raised} == {True}


async def test_leaving_ends_what_is_under_way_for_those_who_are_gone(dsn):
    async with lab.opened(dsn) as other:
        await lab.populate(other, range(8))
        async with at_the_gate(other, 0):
            async with lab.opened(dsn) as db:
                tasks = [use(db, number) for number in range(8)]
                await asyncio.sleep(0.1)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                tasks = [use(db, number) for number in range(8)]
                await asyncio.sleep(0.2)
            ends = await asyncio.gather(*tasks[IN_FLIGHT:], return_exceptions=True)
            assert {isinstance(end, DatabaseError) for end in ends} == {True}
        await asyncio.gather(*tasks, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}

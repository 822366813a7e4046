"""What clients keep for us: nobody else opens it, nothing about it can be changed, and it ends."""

import re
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from pydantic import SecretStr

from mcpserve import crypto
from mcpserve.db import Database
from mcpserve.errors import BadSeal, KeyNotHere
from mcpserve.oauth import keys
from mcpserve.oauth.keys import KeyRing
from mcpserve.oauth.seals import Seals, encode

PLAIN = b'{"secret": "the answer"}'
HERE = b'["here"]'
OLD, NEW = "mcps_sk_" + "o" * 43, "mcps_sk_" + "n" * 43


@asynccontextmanager
async def started(dsn, *configured, **options):
    """Do what a server with these keys in its configuration does when it starts."""
    ring = KeyRing.of(map(SecretStr, configured))
    async with Database.connect(dsn) as db:
        await keys.prepare(db, ring)
        yield Seals(db, ring, **options)


async def refused(seals, sealed, bound_to=HERE):
    """Whether it does not open."""
    try:
        await seals.open(sealed, bound_to=bound_to)
    except BadSeal:
        return True
    return False


async def test_a_seal_opens_after_a_restart_and_as_often_as_it_comes_back(dsn):
    async with started(dsn) as seals:
        sealed = await seals.seal(PLAIN, bound_to=HERE)
    for _ in range(2):
        async with started(dsn) as seals:
            assert await seals.open(sealed, bound_to=HERE) == PLAIN


async def test_a_seal_shows_nothing_of_its_content_and_no_two_are_the_same(dsn):
    async with started(dsn) as seals:
        one, other = [await seals.seal(PLAIN, bound_to=HERE) for _ in range(2)]
    assert one.rpartition(".")[2][:16] != other.rpartition(".")[2][:16]
    assert re.fullmatch(r"[0-9a-f]{12}\.[0-9]{10}\.[\w-]+", one)


async def test_no_character_of_a_seal_can_be_changed_left_out_or_added(dsn):
    async with started(dsn) as seals:
        sealed = await seals.seal(b"x", bound_to=HERE)
        assert not await refused(seals, sealed)
        for position, old in enumerate(sealed):
            before, after = sealed[:position], sealed[position + 1 :]
            new = "1" if old != "1" else "2"
            last = "A" if old != "A" else "B"
            for changed in (before + new + after, before + last + after, before + after):
                assert await refused(seals, changed), (position, changed)
        assert await refused(seals, sealed + "A")


async def test_a_seal_is_bound_to_what_it_was_made_for(dsn):
    async with started(dsn) as seals:
        sealed = await seals.seal(PLAIN, bound_to=HERE)
        for other in (b"", HERE + b" ", HERE[:-1], b"." + HERE, b'["there"]'):
            assert await refused(seals, sealed, other)


async def test_the_readable_end_cannot_flow_over_into_what_it_is_bound_to(dsn):
    async with started(dsn) as seals:
        sealed = await seals.seal(PLAIN, bound_to=b"7." + HERE)
        key_id, until, body = sealed.split(".")
        assert await refused(seals, f"{key_id}.{until[:-1]}.{body}", until[-1:].encode() + HERE)


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(seconds=-1)])
async def test_a_seal_ends(dsn, lifetime):
    async with started(dsn, lifetime=lifetime) as seals:
        assert await refused(seals, await seals.seal(PLAIN, bound_to=HERE))


async def test_a_seal_lasts_ten_minutes_by_the_clock_of_the_database(dsn):
    async with started(dsn) as seals, Database.connect(dsn) as db:
        sealed = await seals.seal(PLAIN, bound_to=HERE)
        clock = await db.one("SELECT extract(epoch FROM clock_timestamp()) AS now")
    assert 595 < int(sealed.split(".")[1]) - float(clock.now) < 601


async def test_a_seal_of_the_key_before_opens_until_that_key_is_retired(dsn):
    async with started(dsn, OLD) as seals:
        before = await seals.seal(PLAIN, bound_to=HERE)
    async with started(dsn, NEW, OLD) as seals, Database.connect(dsn) as db:
        after = await seals.seal(PLAIN, bound_to=HERE)
        assert before[:12] == crypto.key_id(OLD.encode())
        assert after[:12] == crypto.key_id(NEW.encode())
        assert await seals.open(before, bound_to=HERE) == PLAIN
        await keys.retire(db, KeyRing.of([SecretStr(NEW)]), before[:12], force=False)
        assert await refused(seals, before)
        assert await seals.open(after, bound_to=HERE) == PLAIN


async def test_a_seal_of_a_key_that_other_servers_have_is_no_bad_one(dsn):
    async with started(dsn, NEW, OLD), Database.connect(dsn) as db:
        sealed = await Seals(db, KeyRing.of([SecretStr(NEW)])).seal(PLAIN, bound_to=HERE)
        with pytest.raises(KeyNotHere):
            await Seals(db, KeyRing.of([SecretStr(OLD)])).open(sealed, bound_to=HERE)


async def test_a_seal_takes_the_key_and_not_only_its_name(dsn):
    async with started(dsn, OLD) as seals:
        sealed = await seals.seal(PLAIN, bound_to=HERE)
        head = sealed[: sealed.rindex(".") + 1]
        forged = crypto.seal(PLAIN, key=NEW.encode(), bound_to=head.encode() + HERE)
        assert await refused(seals, head + encode(forged))


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        ".",
        "..",
        "a" * 12,
        "0" * 12 + ".1.",
        "0" * 12 + ".1.A",
        "0" * 12 + ".1.AAAA",
        "0" * 12 + ".99999999999." + "A" * 64,
        "0" * 12 + ".999999999999." + "A" * 64,
        "0" * 12 + ".\u0661." + "A" * 64,
        "\0" * 12 + ".1." + "A" * 64,
        "0" * 12 + ".1." + "A" * 64 + "\n",
        "0" * 12 + ".1." + "A" * 64 + "==",
        "{}",
        "A" * 4_000_000,
        "0" * 12 + ".1." + "A" * 4_000_000,
    ],
    ids=lambda text: repr(text[:24]),
)
async def test_garbage_is_refused(dsn, garbage):
    async with started(dsn) as seals:
        assert await refused(seals, garbage)


async def test_garbage_under_a_real_key_is_refused(dsn):
    async with started(dsn) as seals:
        key_id = (await seals.seal(PLAIN, bound_to=HERE))[:12]
        for body in ("A", "AA", "AAAA", "A" * 22, "A" * 64, "A" * 4_000_000):
            assert await refused(seals, f"{key_id}.99999999999.{body}")


async def test_a_large_content_comes_back(dsn):
    content = b"x" * 3_000_000
    async with started(dsn) as seals:
        sealed = await seals.seal(content, bound_to=HERE)
        assert await seals.open(sealed, bound_to=HERE) == content

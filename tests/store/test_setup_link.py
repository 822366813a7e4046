"""The link that creates the first user: once, for a day, while there is nobody."""

from datetime import timedelta

import pytest
from store import lab
from store.interleave import every_order

from mcpserve import crypto
from mcpserve.errors import UsageError
from mcpserve.oauth import users
from mcpserve.oauth.store import users as user_store
from mcpserve.settings import LoginSettings

PASSWORD = "a long enough password"


async def set_up(db, link, *, name="first", password=PASSWORD):
    """Follow the link and send its form."""
    with lab.hashing() as hasher:
        return await users.add_first(
            db, hasher, LoginSettings(), link=link, name=name, password=password
        )


async def add(db, name):
    """Add a person from the command line."""
    with lab.hashing() as hasher:
        await users.add(db, hasher, LoginSettings(), name=name, password=PASSWORD)


async def is_good(db, link):
    """Whether the link shows its form."""
    return await user_store.setup_link_is_good(db, crypto.digest(link))


async def test_the_setup_link_creates_one_user(dsn):
    async with lab.opened(dsn) as db:
        link = await users.new_setup_link(db)
        assert await is_good(db, link)
        assert await set_up(db, link)
        assert not await is_good(db, link)
        assert not await set_up(db, link, name="second")
        assert [user.name for user in await user_store.find_all(db)] == ["first"]
        assert await users.new_setup_link(db) is None


@pytest.mark.parametrize(
    "bad", [{"name": "a b"}, {"name": ""}, {"password": "short"}, {"password": "x" * 73}]
)
async def test_a_bad_name_or_password_leaves_the_setup_link_good(dsn, bad):
    async with lab.opened(dsn) as db:
        link = await users.new_setup_link(db)
        with pytest.raises(UsageError):
            await set_up(db, link, **bad)
        assert await set_up(db, link)


async def test_a_newer_setup_link_replaces_the_older(dsn):
    async with lab.opened(dsn) as db:
        old, new = [await users.new_setup_link(db) for _ in range(2)]
        assert not await is_good(db, old)
        assert not await set_up(db, old)
        assert await set_up(db, new)


async def test_a_setup_link_works_for_a_day(dsn):
    async with lab.opened(dsn) as db:
        link = await users.new_setup_link(db)
        left = await db.one("SELECT expires_at - clock_timestamp() AS time FROM setup_links")
        assert timedelta(hours=23, minutes=59) < left.time <= timedelta(days=1)
        await db.execute("UPDATE setup_links SET expires_at = clock_timestamp()")
        assert not await is_good(db, link)
        assert not await set_up(db, link)


async def test_a_setup_link_is_refused_once_somebody_exists(dsn):
    async with lab.opened(dsn) as db:
        link = await users.new_setup_link(db)
        await add(db, "operator")
        assert not await is_good(db, link)
        assert not await set_up(db, link)
        assert [user.name for user in await user_store.find_all(db)] == ["operator"]


async def expire(db, _):
    """Let the day pass."""
    await db.execute("UPDATE setup_links SET expires_at = clock_timestamp()")


async def add_operator(db, number):
    """Add somebody from the command line."""
    await add(db, f"operator-{number}")


@pytest.mark.parametrize(("meanwhile", "refused"), [(expire, 2), (add_operator, 3)])
async def test_a_setup_link_is_looked_at_again_when_it_is_taken(dsn, meanwhile, refused):
    # The password is hashed in between.
    async with lab.opened(dsn) as db:
        links = []

        async def begin_anew(_, __):
            await db.execute("DELETE FROM users")
            links.append(await users.new_setup_link(db))

        async def follow(watched, number):
            return await set_up(watched, links[-1], name=f"user-{number}")

        outcomes = await every_order(db, follow, meanwhile, numbers=range(10), prepare=begin_anew)
        assert [mine for mine, _ in outcomes[:refused]] == [False] * refused


async def test_two_who_follow_the_setup_link_at_once_create_one_user(dsn):
    async with lab.opened(dsn) as db:
        links = []

        async def begin_anew(_, __):
            await db.execute("DELETE FROM users")
            links.append(await users.new_setup_link(db))

        async def follow(watched, number):
            return await set_up(watched, links[-1], name=f"user-{number}")

        async def follow_too(watched, number):
            return await set_up(watched, links[-1], name=f"other-{number}")

        outcomes = await every_order(db, follow, follow_too, numbers=range(10), prepare=begin_anew)
        assert len(outcomes) >= 2
        assert all(sorted(both) == [False, True] for both in outcomes)
        assert len(await user_store.find_all(db)) == 1

"""Addresses of people: one person each, vouched for or not, and every change on record."""

import pytest
from store import lab
from store.events import recorded
from store.interleave import every_order

from mcpserve.errors import UsageError
from mcpserve.oauth import userinfo, users
from mcpserve.oauth.store import users as store
from mcpserve.principal import Principal, User
from mcpserve.settings import LoginSettings

ADDRESS = "ann@example.org"
IDENTITY = frozenset({"openid", "profile", "email"})


async def add(db, name, email=None):
    """Add a person; return the id."""
    with lab.hashing() as hasher:
        password = "a long enough password"
        await users.add(db, hasher, LoginSettings(), name=name, password=password, email=email)
    return (await store.find(db, name)).id


async def told(db, user_id):
    """Return what a client learns that may know everything."""
    return await userinfo.find(db, Principal("client", user_id, IDENTITY))


async def test_who_is_added_with_an_address_is_vouched_for(dsn):
    async with lab.opened(dsn) as db:
        ann, bob = await add(db, "ann", ADDRESS), await add(db, "bob")
        assert await told(db, ann) == User(ann, "ann", ADDRESS, email_verified=True)
        assert await told(db, bob) == User(bob, "bob")


async def test_an_address_is_changed_and_forgotten(dsn):
    async with lab.opened(dsn) as db:
        ann = await add(db, "ann")
        await users.set_email(db, "Ann", ADDRESS, verified=False)
        assert await told(db, ann) == User(ann, "ann", ADDRESS, email_verified=False)
        await users.set_email(db, "ann", "Ann@Example.org", verified=True)
        assert await told(db, ann) == User(ann, "ann", "Ann@Example.org", email_verified=True)
        await users.set_email(db, "ann", None, verified=True)
        assert await told(db, ann) == User(ann, "ann")
    changes = [
        {"email": ADDRESS, "email_verified": False, "email_before": None},
        {"email": "Ann@Example.org", "email_verified": True, "email_before": ADDRESS},
        {"email": None, "email_verified": False, "email_before": "Ann@Example.org"},
    ]
    assert recorded(dsn, "user_id", "details")[1:] == [
        ("user.email_changed", ann, change) for change in changes
    ]


async def test_an_address_is_of_one_person_in_whatever_case(dsn):
    async with lab.opened(dsn) as db:
        await add(db, "ann", ADDRESS)
        with pytest.raises(UsageError, match="'ann' has this address already"):
            await add(db, "bob", ADDRESS.upper())
        assert await store.find(db, "bob") is None
        await add(db, "bob")
        with pytest.raises(UsageError, match="'ann' has this address already"):
            await users.set_email(db, "bob", ADDRESS.title(), verified=False)


async def test_of_two_who_are_given_an_address_at_once_one_gets_it(dsn):
    def giving(name):
        async def give(db, number):
            try:
                await users.set_email(db, name.format(number), f"{number}@x.example", verified=True)
            except UsageError:
                return "too late"

        return give

    async with lab.opened(dsn) as db:
        await lab.populate(db, range(20))
        numbers = range(10)
        outcomes = await every_order(db, giving("user-{}"), giving("user-1{}"), numbers=numbers)
    assert len(outcomes) > 3
    assert {tuple(sorted(map(str, both))) for both in outcomes} == {("None", "too late")}


async def test_nobody_is_given_an_address_who_is_not_there(dsn):
    async with lab.opened(dsn) as db:
        with pytest.raises(UsageError, match="there is no user 'ann'"):
            await users.set_email(db, "ann", ADDRESS, verified=True)


async def test_who_is_locked_out_is_not_told_about(dsn):
    async with lab.opened(dsn) as db:
        ann = await add(db, "ann", ADDRESS)
        await users.set_disabled(db, "ann", disabled=True)
        assert await told(db, ann) is None


@pytest.mark.parametrize("email", [ADDRESS, "a.b+c@x", "o'neill@sub.example.org", "a@1.2.3.4"])
def test_an_address_is_one_of_those_that_browsers_take(email):
    assert users.check_email(email) == email


NO_ADDRESS = [
    "",
    "ann",
    "@example.org",
    "ann@",
    "ann@example.org\n",
    "ann bob@example.org",
    "ann@exa mple.org",
    "ann@example..org",
    "ann@@example.org",
    '"ann"@example.org',
    "Ann <ann@example.org>",
    "änn@example.org",
    "ann@exämple.org",
    "ann\x1b[2J@example.org",
    "a" * 65 + "@example.org",
    "a@" + "b" * 253,
]


@pytest.mark.parametrize("email", NO_ADDRESS)
def test_anything_else_is_no_address(email):
    with pytest.raises(UsageError, match="is no e-mail address"):
        users.check_email(email)

"""Clients from the configuration, people, and what disabling them does."""

import logging
from datetime import timedelta

import pytest
from store import acts, lab
from store.interleave import at_once
from store.processes import let_meet

from mcpserve import crypto
from mcpserve.errors import InvalidGrant, UsageError
from mcpserve.oauth import clients, revocation, users
from mcpserve.oauth.store import browsers, grants
from mcpserve.oauth.store import clients as client_store
from mcpserve.oauth.store import users as user_store
from mcpserve.settings import ClientSettings, LoginSettings

PASSWORD = "a long enough password"


async def seed(db, **settings):
    """Start with one configured client; return it as it is stored."""
    configured = {"id": "seeded", "redirect_uris": (lab.CALLBACK,)} | settings
    with lab.hashing() as hasher:
        await clients.seed(db, hasher, [ClientSettings(**configured)])
    return await client_store.find(db, "seeded")


async def version(db):
    """Return what changes with every write to the seeded client."""
    return (await db.one("SELECT xmin::text FROM oauth_clients WHERE client_id = 'seeded'")).xmin


FULL = {"name": "Seeded", "secret": "a secret", "refresh_reuse_window": "30s"}


@pytest.mark.proves("AD-01")
@pytest.mark.parametrize("settings", [{}, FULL], ids=["public", "with everything"])
async def test_seeding_again_writes_nothing(dsn, settings):
    async with lab.opened(dsn) as db:
        first = await seed(db, **settings)
        before = await version(db)
        assert await seed(db, **settings) == first
        assert await version(db) == before


@pytest.mark.proves("AD-01")
@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"name": "Another"}, {"name": "Another"}),
        ({"name": ""}, {"name": "seeded"}),
        ({"redirect_uris": ("https://b.example/",)}, {"redirect_uris": ("https://b.example/",)}),
        ({"refresh_reuse_window": "1m"}, {"refresh_reuse_window": timedelta(minutes=1)}),
        ({"refresh_reuse_window": None}, {"refresh_reuse_window": None}),
        ({"scopes": ("extra",)}, {"scopes": ("extra",)}),
        ({"secret": ""}, {"secret_hash": None, "auth_methods": ("none",)}),
        (
            {"secret": "", "jwks_uri": "https://a.example/keys"},
            {
                "secret_hash": None,
                "auth_methods": ("private_key_jwt",),
                "jwks_uri": "https://a.example/keys",
            },
        ),
    ],
)
async def test_what_changed_in_the_configuration_is_written_and_nothing_else(dsn, change, fields):
    async with lab.opened(dsn) as db:
        before = vars(await seed(db, **FULL))
        after = vars(await seed(db, **FULL | change))
        assert after == before | fields


@pytest.mark.proves("AD-01")
async def test_a_changed_secret_replaces_the_old_one(dsn):
    async with lab.opened(dsn) as db:
        await seed(db, **FULL)
        client = await seed(db, **FULL | {"secret": "another secret"})
        with lab.hashing() as hasher:
            assert await hasher.verify_secret("another secret", client.secret_hash)
            assert not await hasher.verify_secret("a secret", client.secret_hash)


@pytest.mark.proves("AD-01")
async def test_the_log_of_seeding_names_the_client_once_and_not_its_secret(dsn, caplog):
    caplog.set_level(logging.DEBUG, "mcpserve")
    async with lab.opened(dsn) as db:
        client = await seed(db, **FULL)
        await seed(db, **FULL)
    (told,) = caplog.records
    assert (told.getMessage(), told.client_id) == ("client.added", "seeded")
    assert FULL["secret"] not in str(vars(told))
    assert client.secret_hash not in str(vars(told))


@pytest.mark.proves("AD-01")
async def test_two_processes_that_seed_at_once_write_one_client(dsn, workers):
    # The second finds the first one's hash of the same secret, and leaves it.
    rounds = range(10)
    async with lab.opened(dsn) as db:
        for number in rounds:
            assert let_meet(workers, dsn, ["seed", number], ["seed", number]) == [None, None]
        stored = await client_store.find_all(db)
        assert [client.client_id for client in stored] == [f"client-{n}" for n in rounds]
        writes = await db.one("SELECT array_agg(DISTINCT xmax::text) AS all FROM oauth_clients")
        assert writes.all == ["0"]


async def test_a_client_that_an_operator_disabled_stays_disabled(dsn):
    async with lab.opened(dsn) as db:
        await seed(db)
        await clients.set_disabled(db, "seeded", disabled=True)
        changed = await seed(db, name="Another")
        assert changed.name == "Another"
        assert changed.disabled_at is not None
        assert await clients.resolve(db, "seeded") is None


async def test_a_client_is_not_overwritten_unless_that_is_asked_for(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        with pytest.raises(UsageError, match="already a client"):
            await clients.add(db, lab.client(), replace=False)
        await clients.add(db, lab.client(), replace=True)


@pytest.mark.proves("RF-08", "AC-01")
@pytest.mark.parametrize(
    ("disable", "enable"),
    [(acts.disable_client, acts.enable_client), (acts.disable_user, acts.enable_user)],
    ids=["client", "user"],
)
async def test_disabling_ends_the_grants_at_once_and_for_good(dsn, disable, enable):
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(2))
        await disable(db, 0)
        assert await acts.use(db, 0) is None
        assert await lab.state(db, 0) == "revoked"
        for attempt in (acts.refresh, acts.exchange):
            assert isinstance(await lab.outcome(attempt(db, 0)), InvalidGrant)
        await enable(db, 0)
        assert await acts.use(db, 0) is None
        assert isinstance(await lab.outcome(acts.refresh(db, 0)), InvalidGrant)
        # The others do not notice.
        assert await acts.use(db, 1) is not None
        assert isinstance(await acts.refresh(db, 1), dict)


async def test_more_grants_than_one_statement_ends_all_end(dsn):
    more = f"SELECT i, gen_random_uuid() AS id FROM generate_series(1, {2 * grants.BATCH}) i"
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await db.execute(
            f"""WITH more AS MATERIALIZED ({more}), made AS (
                    INSERT INTO mcp_sessions (id, client_id, user_id, scopes, resource, auth_time,
                                              expires_at)
                    SELECT more.id, client_id, user_id, scopes, resource, auth_time, expires_at
                    FROM mcp_sessions, more)
                INSERT INTO oauth_refresh_tokens (digest, session_id, expires_at)
                SELECT sha256(more.i::text::bytea), more.id, expires_at
                FROM oauth_refresh_tokens, more"""
        )
        assert await revocation.revoke_grants(db, client_id="client-0") == 2 * grants.BATCH + 1
        states = await db.one("SELECT array_agg(DISTINCT state) AS all FROM mcp_sessions")
        assert states.all == ["revoked"]
        assert await lab.broken(db) == []


async def test_disabling_a_person_ends_their_browsers_and_what_waited_in_them(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(2))
        await acts.disable_user(db)
        assert await browsers.find_session(db, crypto.digest("cookie-0")) is None
        assert await browsers.find_session(db, crypto.digest("cookie-1")) is not None
        assert (await db.one("SELECT count(*) AS n FROM authorization_requests")).n == 1


async def test_a_disabled_person_cannot_log_in_and_an_enabled_one_can(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await acts.log_out(db)
        await acts.disable_user(db)
        assert await acts.log_in(db) is None
        await acts.enable_user(db)
        assert await acts.log_in(db) is not None


@pytest.mark.proves("LG-02")
async def test_another_password_logs_out_every_browser_and_keeps_the_grants(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(2))
        await acts.change_password(db)
        assert await browsers.find_session(db, crypto.digest("cookie-0")) is None
        assert await browsers.find_session(db, crypto.digest("cookie-1")) is not None
        assert await acts.use(db) is not None
        assert isinstance(await acts.refresh(db), dict)


async def add(db, name):
    """Add a person."""
    with lab.hashing() as hasher:
        await users.add(db, hasher, LoginSettings(), name=name, password=PASSWORD)


async def test_a_name_is_the_same_in_any_case(dsn):
    async with lab.opened(dsn) as db:
        await add(db, "Alice")
        with pytest.raises(UsageError, match="already a user"):
            await add(db, "aLICE")
        assert (await user_store.find(db, "ALICE")).name == "Alice"
        await users.set_disabled(db, "alice", disabled=True)
        assert (await user_store.find(db, "Alice")).disabled_at is not None
        assert len(await user_store.find_all(db)) == 1


async def test_of_two_who_take_a_name_at_once_one_gets_it(dsn):
    async with lab.opened(dsn) as db:
        taken = ["carol", "Carol"]

        async def take():
            try:
                await add(db, taken.pop())
            except UsageError:
                return "too late"

        assert sorted(map(str, await at_once(2, take))) == ["None", "too late"]


@pytest.mark.parametrize("act", [acts.disable_user, acts.change_password, acts.disable_client])
async def test_nobody_can_be_changed_who_is_not_there(dsn, act):
    async with lab.opened(dsn) as db:
        with pytest.raises(UsageError, match="there is no"):
            await act(db, 7)

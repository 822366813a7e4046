"""What is recorded: every change, in the transaction of the change, and nothing else."""

import contextlib
import logging

import psycopg2
import pytest
from postgres import query
from store import acts, lab
from store.events import recorded, told
from tables import state

from mcpserve import audit, crypto, log
from mcpserve.audit import Event
from mcpserve.errors import DatabaseError, UsageError
from mcpserve.oauth import clients, decision, revocation, users
from mcpserve.oauth.store import browsers
from mcpserve.oauth.users import LoginLimits
from mcpserve.ratelimit import Limit
from mcpserve.settings import LoginSettings

SCOPES = ["mcp.tools.call"]
REGISTERED = {"redirect_uris": [lab.CALLBACK], "auth_methods": ["none"]}


async def wait_a_minute(db, number=0):
    """Let the code have been exchanged long enough ago."""
    await db.execute(
        """UPDATE oauth_authorization_codes SET used_at = used_at - interval '1 minute'
           WHERE digest = %(digest)s""",
        digest=crypto.digest(f"used-{number}"),
    )


async def deny(db, number=0):
    session = await browsers.find_session(db, crypto.digest("cookie-0"))
    pending = await browsers.find_request(db, crypto.digest("request-0"), session.id)
    return await decision.deny(db, lab.SERVER, session, "request-0", pending)


async def add_user(db, number=0):
    with lab.hashing() as hasher:
        await users.add(db, hasher, LoginSettings(), name="carol", password="a long password")


async def open_the_link(db, number=0):
    with lab.hashing() as hasher:
        return await users.add_first(
            db, hasher, LoginSettings(), link="link", name="carol", password="a long password"
        )


async def make_a_link(db, number=0):
    await db.execute("DELETE FROM users")
    await db.execute(
        """INSERT INTO setup_links (digest, expires_at)
           VALUES (%(digest)s, clock_timestamp() + interval '1 hour')""",
        digest=crypto.digest("link"),
    )


async def type_a_wrong(db, *, name="user-0", password="CANARY"):
    session = await browsers.find_session(db, crypto.digest("cookie-0"))
    limit = Limit("login", lab.PATIENT)
    with lab.hashing() as hasher:
        return await users.log_in(
            db,
            hasher,
            LoginSettings(),
            session,
            name=name,
            password=password,
            network="192.0.2.1",
            limits=LoginLimits(limit, limit, limit),
        )


async def add_client(db, number=0):
    await clients.add(db, lab.client(7), replace=False)


async def replace_client(db, number=0):
    await clients.add(db, lab.client(0), replace=True)


async def nothing(db, number=0):
    pass


# What is prepared, what is done, and what is recorded of it, without what changes every time.
RECORDED = {
    "exchange": (nothing, acts.exchange, [("grant.started", {"scopes": SCOPES})]),
    "replay": (wait_a_minute, acts.replay, [("code.replayed", {})]),
    "refresh": (nothing, acts.refresh, [("token.refreshed", {})]),
    "reuse": (acts.refresh, acts.refresh, [("token.reused", {})]),
    "repetition": (acts.refresh_in_window, acts.refresh_in_window, [("token.repeated", {})]),
    "revocation": (nothing, acts.revoke, [("grant.revoked", {"reason": "client"})]),
    "revocation of an access token": (nothing, acts.revoke_access, [("token.revoked", {})]),
    "revocation by user": (
        nothing,
        acts.revoke_all_of_user,
        [("grant.revoked", {"reason": "operator"})],
    ),
    "revocation of everything": (
        nothing,
        acts.revoke_everything,
        [("grant.revoked", {"reason": "operator"})],
    ),
    "disabled client": (
        nothing,
        acts.disable_client,
        [("client.disabled", {}), ("grant.revoked", {"reason": "client disabled"})],
    ),
    "enabled client": (acts.disable_client, acts.enable_client, [("client.enabled", {})]),
    "disabled user": (
        nothing,
        acts.disable_user,
        [
            ("user.disabled", {"user_name": "user-0"}),
            ("grant.revoked", {"reason": "user disabled"}),
        ],
    ),
    "enabled user": (
        acts.disable_user,
        acts.enable_user,
        [("user.enabled", {"user_name": "user-0"})],
    ),
    "added user": (nothing, add_user, [("user.added", {"user_name": "carol", "by": "command"})]),
    "first user": (
        make_a_link,
        open_the_link,
        [("user.added", {"user_name": "carol", "by": "setup link"})],
    ),
    "password": (nothing, acts.change_password, [("user.password_changed", {})]),
    "login": (acts.log_out, acts.log_in, [("login.succeeded", {"user_name": "user-0"})]),
    "consent": (
        nothing,
        acts.approve,
        [
            (
                "consent.given",
                {
                    "client_name": "client-0",
                    "user_name": "user-0",
                    "scopes": SCOPES,
                    "withheld_tools": [],
                    "redirect_host": "client.example",
                    "automatically": False,
                },
            )
        ],
    ),
    "denial": (
        nothing,
        deny,
        [
            (
                "consent.denied",
                {
                    "client_name": "client-0",
                    "user_name": "user-0",
                    "scopes": SCOPES,
                    "redirect_host": "client.example",
                },
            )
        ],
    ),
    "added client": (
        nothing,
        add_client,
        [
            (
                "client.added",
                {"client_name": "client-7", "origin": "cli", "changed": [], **REGISTERED},
            )
        ],
    ),
    "client in the configuration": (
        nothing,
        acts.seed,
        [
            (
                "client.changed",
                {
                    "client_name": "new",
                    "origin": "config",
                    "redirect_uris": [lab.CALLBACK],
                    "auth_methods": ["client_secret_basic", "client_secret_post"],
                    "changed": ["name", "auth_methods", "origin", "secret_hash"],
                },
            )
        ],
    ),
    "replaced client": (
        acts.disable_client,
        replace_client,
        [
            (
                "client.changed",
                {
                    "client_name": "client-0",
                    "origin": "cli",
                    "changed": [],
                    **REGISTERED,
                },
            )
        ],
    ),
}
CHANGES_EVERY_TIME = {"browser_session", "rotated_at", "expires_at"}
every_change = pytest.mark.parametrize(
    ("prepare", "act"), [row[:2] for row in RECORDED.values()], ids=RECORDED
)


@pytest.mark.proves("AD-02", "AD-03")
@pytest.mark.parametrize(("prepare", "act", "expected"), RECORDED.values(), ids=RECORDED)
async def test_every_change_is_recorded(dsn, prepare, act, expected):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await prepare(db)
        before = len(recorded(dsn))
        await lab.outcome(act(db))
    events = [
        (event, {name: details[name] for name in details.keys() - CHANGES_EVERY_TIME})
        for event, details in recorded(dsn)[before:]
    ]
    assert events == expected


FAIL_LATE = """
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER late AFTER INSERT ON auth_events DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION fail()"""
FAILURES = {
    "an error": "RAISE EXCEPTION 'too late';",
    "the end of the database": "PERFORM pg_terminate_backend(pg_backend_pid());",
}


@pytest.mark.proves("AD-03")
@pytest.mark.parametrize("failure", FAILURES)
@every_change
async def test_what_is_undone_after_it_was_recorded_leaves_no_trace(
    dsn, caplog, prepare, act, failure
):
    caplog.set_level(logging.INFO, "mcpserve.audit")
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await prepare(db)
        query(dsn, FAIL_LATE.format(FAILURES[failure]))
        before = state(dsn)
        caplog.clear()
        with pytest.raises((DatabaseError, psycopg2.Error)):
            await act(db)
    assert state(dsn) == before
    assert told(caplog) == []


@pytest.mark.proves("AD-03")
async def test_only_what_is_committed_is_told(dsn, caplog):
    caplog.set_level(logging.INFO, "mcpserve.audit")
    async with lab.opened(dsn) as db:
        with contextlib.suppress(UsageError):
            async with db.transaction() as tx:
                await audit.record(tx, Event.KEY_ADDED, key_id="undone")
                raise UsageError("no")
        async with db.transaction() as tx:
            await audit.record(tx, Event.KEY_ADDED, key_id="kept")
            assert told(caplog) == []
    assert [line.details for line in told(caplog)] == [{"key_id": "kept"}]
    assert recorded(dsn) == [("key.added", {"key_id": "kept"})]


async def revoke_again(db, number=0):
    await acts.revoke(db)
    await acts.revoke_access(db)
    await acts.revoke_everything(db)


async def refuse(db, number=0):
    """Be a client with dead and with invented tokens, and an operator who mistypes."""
    await lab.outcome(acts.refresh(db))
    await lab.outcome(acts.replay(db))
    await lab.outcome(acts.refresh(db, 8))
    await acts.revoke(db, 8)
    await lab.outcome(acts.exchange(db, 8))
    for attempt in (
        revocation.revoke_grants(db, client_id="nobody"),
        revocation.revoke_grant(db, "0b6f3c8e-6a51-4f4e-9d7c-2f1f6f3f8a11"),
        clients.set_disabled(db, "nobody", disabled=True),
        users.set_disabled(db, "nobody", disabled=True),
    ):
        with pytest.raises(UsageError):
            await attempt


@pytest.mark.proves("AD-03")
@pytest.mark.parametrize("act", [revoke_again, refuse])
async def test_what_changes_nothing_is_not_recorded(dsn, act):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await wait_a_minute(db)
        await acts.revoke(db)
        await acts.revoke_access(db)
        before = recorded(dsn)
        await act(db)
    assert recorded(dsn) == before


@pytest.mark.proves("AD-03")
@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ({}, "wrong password"),
        ({"name": "CANARY"}, "no such user"),
        ({"name": "CANARY with spaces"}, "no such user"),
        ({"password": lab.OLD_PASSWORD}, "disabled"),
    ],
)
async def test_a_failed_login_is_recorded_without_what_was_typed(dsn, caplog, typed, reason):
    caplog.set_level(logging.DEBUG)
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        if reason == "disabled":
            await acts.disable_user(db)
            async with db.transaction() as tx:
                await browsers.create_session(tx, crypto.digest("cookie-0"))
        assert await type_a_wrong(db, **typed) is None
    ((user,),) = query(dsn, "SELECT id FROM users")
    who = None if reason == "no such user" else user
    assert recorded(dsn, "user_id", "details")[-1] == ("login.failed", who, {"reason": reason})
    (line,) = [line for line in told(caplog) if line.event == "login.failed"]
    assert line.levelno == logging.WARNING
    assert "CANARY" not in caplog.text + "".join(map(str, map(vars, caplog.records)))


@pytest.mark.proves("AD-03")
async def test_an_event_tells_whose_grant_where_from_and_on_which_request(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(2))
        log.network.set("192.0.2.1")
        log.request_id.set("0123456789abcdef")
        await acts.refresh(db, 1)
        await acts.revoke_everything(db)
    rows = query(
        dsn,
        """SELECT event, e.client_id, u.name, network, request_id FROM auth_events e
           JOIN users u ON u.id = user_id
           JOIN mcp_sessions s ON s.id = grant_id AND s.client_id = e.client_id ORDER BY 1, 2""",
    )
    where = ("192.0.2.1", "0123456789abcdef")
    assert rows == [
        ("grant.revoked", "client-0", "user-0", *where),
        ("grant.revoked", "client-1", "user-1", *where),
        ("token.refreshed", "client-1", "user-1", *where),
    ]

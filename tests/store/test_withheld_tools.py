"""What a grant withholds: from the code to the caller, and changed by one after the other."""

import asyncio

import pytest
from store import acts, lab
from store.checks import NUMBERS, deadlocks, every_order_ends_well
from store.interleave import every_order, nothing

from mcpserve import crypto
from mcpserve.errors import UsageError
from mcpserve.oauth import decision, grants, revocation, withholding
from mcpserve.oauth.store import bearer, browsers
from mcpserve.oauth.store import grants as store

A, B = frozenset({"a"}), frozenset({"b"})


async def caller(db, token="at-0"):
    """Return who holds a token."""
    return await bearer.find_principal(db, crypto.digest(token), resource=lab.RESOURCE)


async def grant_of(db, number=0):
    """Return the id of a grant, and its person's."""
    return await db.one(
        "SELECT id, user_id FROM mcp_sessions WHERE client_id = %(id)s", id=f"client-{number}"
    )


async def events(db):
    """Return what was recorded of changes."""
    rows = await db.rows(
        "SELECT details FROM auth_events WHERE event = 'grant.tools_changed' ORDER BY at"
    )
    return [row.details for row in rows]


async def test_what_was_not_allowed_goes_from_the_code_to_the_caller(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        await db.execute("UPDATE oauth_authorization_codes SET withheld_tools = '{b,a}'")
        answer = await grants.authorization_code(
            db, lab.issuance(), lab.client(), lab.code_form("code-0")
        )
        assert (await caller(db, answer["access_token"])).withheld == A | B
        refreshed = await grants.refresh_token(
            db, lab.issuance(), lab.client(), lab.refresh_form(answer["refresh_token"])
        )
        assert (await caller(db, refreshed["access_token"])).withheld == A | B
        assert (await caller(db)).withheld == frozenset()


async def test_consent_keeps_and_records_what_was_not_allowed(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        session = await browsers.find_session(db, crypto.digest("cookie-0"))
        pending = await browsers.find_request(db, crypto.digest("request-0"), session.id)
        await decision.approve(
            db,
            lab.SERVER,
            session,
            "request-0",
            pending,
            code_lifetime=lab.settings().authorization_code_lifetime,
            withheld=B | A,
        )
        codes = "SELECT withheld_tools FROM oauth_authorization_codes ORDER BY created_at DESC"
        assert (await db.rows(codes))[0].withheld_tools == ["a", "b"]
        [event] = await db.rows("SELECT details FROM auth_events WHERE event = 'consent.given'")
        assert event.details["withheld_tools"] == ["a", "b"]


async def test_a_request_knows_what_its_own_person_withheld_from_its_own_client_last(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(2))
        session = await browsers.find_session(db, crypto.digest("cookie-0"))

        async def last():
            found = await browsers.find_request(db, crypto.digest("request-0"), session.id)
            return found.withheld_last

        await db.execute(
            "UPDATE mcp_sessions SET withheld_tools = '{b}' WHERE client_id <> 'client-0'"
        )
        assert await last() == frozenset()
        # Now the other person's grant is to this client, and newer.
        await db.execute(
            """UPDATE mcp_sessions SET client_id = 'client-0', created_at = clock_timestamp()
               WHERE client_id = 'client-1'"""
        )
        assert await last() == frozenset()
        await db.execute(
            "UPDATE mcp_sessions SET withheld_tools = '{a}' WHERE withheld_tools = '{}'"
        )
        assert await last() == A
        await revocation.revoke_grants(db)
        assert await last() == A
        await grants.authorization_code(db, lab.issuance(), lab.client(), lab.code_form("code-0"))
        assert await last() == frozenset()
        await db.execute("DELETE FROM mcp_sessions")
        assert await last() == frozenset()


async def test_a_person_changes_their_own_grant_from_what_they_saw(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db, range(2))
        grant, other = await grant_of(db), await grant_of(db, 1)

        async def save(user_id, before, withheld):
            return await withholding.save(
                db, grant.id, user_id=user_id, before=before, withheld=withheld
            )

        assert await save(other.user_id, frozenset(), A) is False
        assert await save("", frozenset(), A) is False
        assert await save(grant.user_id, B, A) is False
        assert (await caller(db)).withheld == frozenset()
        assert await save(grant.user_id, frozenset(), A | B) is True
        assert (await caller(db)).withheld == A | B
        assert await save(grant.user_id, A | B, A | B) is True
        assert await save(grant.user_id, A | B, frozenset()) is True
        assert (await caller(db)).withheld == frozenset()
        assert (await caller(db, "at-1")).withheld == frozenset()
        assert await events(db) == [
            {"by": "person", "withheld_tools": ["a", "b"]},
            {"by": "person", "withheld_tools": []},
        ]
        assert await revocation.disconnect(db, grant.id, user_id=other.user_id) is False
        assert await caller(db) is not None
        assert await revocation.disconnect(db, grant.id, user_id=grant.user_id) is True
        assert await revocation.disconnect(db, grant.id, user_id=grant.user_id) is False
        assert await save(grant.user_id, frozenset(), A) is False
        assert (await store.find(db, grant.id)).withheld == frozenset()


async def test_an_operator_adds_to_what_is_withheld_and_takes_from_it(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        grant = await grant_of(db)
        await withholding.change(db, grant.id, withhold=A, allow=frozenset())
        await withholding.change(db, grant.id, withhold=B, allow=frozenset())
        assert (await caller(db)).withheld == A | B
        await withholding.change(db, grant.id, withhold=frozenset(), allow=A)
        await withholding.change(db, grant.id, withhold=B, allow=A)
        assert (await caller(db)).withheld == B
        assert [event["by"] for event in await events(db)] == ["operator"] * 3
        await revocation.revoke_grants(db)
        with pytest.raises(UsageError, match="there is no active grant"):
            await withholding.change(db, grant.id, withhold=A, allow=frozenset())


async def test_of_two_saves_of_one_page_one_is_told_to_look_again(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db, NUMBERS)
        outcomes = await every_order(db, acts.narrow, acts.narrow_otherwise, numbers=NUMBERS)
        # The second may have begun when the first was not read yet, but never writes over it.
        saved = [sum(outcome) for outcome in outcomes]
        assert set(saved) <= {1, 2}
        assert 1 in saved
        row = await db.one("SELECT count(*) AS n FROM mcp_sessions WHERE withheld_tools = '{a,b}'")
        assert row.n == 0
        # The last round had nobody else in it.
        assert len(await events(db)) == sum(saved) + 1
    assert deadlocks(dsn) == 0


RACES = {
    "save and revoke": (acts.narrow, acts.revoke, nothing, {"revoked"}),
    "save and disconnect": (acts.narrow, acts.disconnect, nothing, {"revoked"}),
    "save and user disabled": (acts.narrow, acts.disable_user, nothing, {"revoked"}),
    "save and refresh": (acts.narrow, acts.refresh, nothing, {"active"}),
    "disconnect and refresh": (acts.disconnect, acts.refresh, nothing, {"revoked"}),
}


@pytest.mark.parametrize("race", RACES)
async def test_every_order_of_steps_ends_well(dsn, race):
    async with lab.opened(dsn) as db:
        await every_order_ends_well(db, RACES[race], swapped=False)
        await every_order_ends_well(db, RACES[race], swapped=True)
        # What ended is never changed any more.
        late = """SELECT FROM auth_events e JOIN mcp_sessions s ON s.id = e.grant_id
                  WHERE e.event = 'grant.tools_changed' AND e.at > s.ended_at"""
        assert await db.rows(late) == []
    assert deadlocks(dsn) == 0


async def test_changes_by_operators_at_the_same_time_all_count(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        grant = await grant_of(db)
        names = [frozenset({f"tool{at}"}) for at in range(10)]
        await asyncio.gather(
            *(withholding.change(db, grant.id, withhold=name, allow=frozenset()) for name in names)
        )
        assert (await caller(db)).withheld == frozenset().union(*names)

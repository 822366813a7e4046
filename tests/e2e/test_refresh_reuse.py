"""The reuse window: the same client gets the same answer again, and theft is still noticed."""

from dataclasses import replace

import postgres
import pytest
from locks import race
from postgres_proxy import proxy
from serving import CALLBACK, PUBLIC_CLIENT, Flow, serving
from tables import unchanged

OTHER = "other-client"
LOCK = "SELECT 1 FROM mcp_sessions FOR UPDATE"
CLOSE = """UPDATE oauth_refresh_tokens SET reusable_until = clock_timestamp()
    WHERE reusable_until IS NOT NULL"""


def settings(window="30s", **client):
    return {
        "oauth": {
            "refresh_reuse_window": window,
            "scopes": {"extra": "Something more"},
            "clients": {
                "configured": [
                    {"id": PUBLIC_CLIENT, "redirect_uris": [CALLBACK], **client},
                    {"id": OTHER, "redirect_uris": [CALLBACK]},
                ]
            },
        }
    }


def rows_of_tokens(dsn):
    """Return the token rows, without the count of repeats."""
    statement = "SELECT to_jsonb(t) - 'repeats' FROM {} t ORDER BY digest"
    names = ("oauth_refresh_tokens", "oauth_access_tokens")
    return [postgres.query(dsn, statement.format(name)) for name in names]


def error(answer):
    return (answer.status_code, answer.json()["error"])


def pair(answer):
    body = answer.json()
    return (body["access_token"], body["refresh_token"], body["scope"])


def grant_states(dsn):
    return [state for (state,) in postgres.query(dsn, "SELECT state FROM mcp_sessions")]


async def check_compromised(dsn, flow, *tokens):
    """Check that the one grant has ended, with every token of these answers."""
    assert grant_states(dsn) == ["compromised"]
    assert postgres.query(dsn, "SELECT 1 FROM oauth_refresh_tokens WHERE salt IS NOT NULL") == []
    for answer in tokens:
        assert (await flow.call_mcp(answer["access_token"])).status_code == 401
        assert error(await flow.refresh(answer["refresh_token"])) == (400, "invalid_grant")


@pytest.mark.proves("CC-02")
@pytest.mark.parametrize(
    "chosen",
    [
        settings("30s"),
        settings("0s", refresh_reuse_window="30s"),
        settings("1s", refresh_reuse_window="30s"),
    ],
)
async def test_inside_the_window_the_same_answer_is_given_again(dsn, chosen):
    async with serving(dsn, chosen) as server:
        flow = Flow(server)
        first = await flow.tokens()
        answer = await flow.refresh(first["refresh_token"])
        before = rows_of_tokens(dsn)
        for _ in range(3):
            again = await flow.refresh(first["refresh_token"])
            assert again.status_code == 200
            assert pair(again) == pair(answer)
            assert 0 <= answer.json()["expires_in"] - again.json()["expires_in"] < 5
        assert rows_of_tokens(dsn) == before
        assert (await flow.call_mcp(answer.json()["access_token"])).status_code == 200
        assert (await flow.refresh(answer.json()["refresh_token"])).status_code == 200


async def test_an_answer_is_given_again_a_hundred_times_and_nothing_ends(dsn):
    async with serving(dsn, settings("30s")) as server:
        flow = Flow(server)
        first = await flow.tokens()
        answer = (await flow.refresh(first["refresh_token"])).json()
        postgres.query(dsn, "UPDATE oauth_refresh_tokens SET repeats = 99")
        assert (await flow.refresh(first["refresh_token"])).status_code == 200
        assert error(await flow.refresh(first["refresh_token"])) == (400, "invalid_grant")
        postgres.query(dsn, "UPDATE oauth_refresh_tokens SET repeats = 32767")
        assert error(await flow.refresh(first["refresh_token"])) == (400, "invalid_grant")
        assert (await flow.refresh(answer["refresh_token"])).status_code == 200


@pytest.mark.proves("RF-04")
@pytest.mark.parametrize("chosen", [settings("0s"), settings("30s", refresh_reuse_window="0s")])
async def test_without_a_window_every_reuse_ends_the_grant(dsn, chosen):
    async with serving(dsn, chosen) as server:
        flow = Flow(server)
        first = await flow.tokens()
        second = (await flow.refresh(first["refresh_token"])).json()
        assert error(await flow.refresh(first["refresh_token"])) == (400, "invalid_grant")
        await check_compromised(dsn, flow, first, second)


@pytest.mark.proves("CC-03")
async def test_after_the_window_reuse_ends_the_grant(dsn):
    async with serving(dsn, settings()) as server:
        flow = Flow(server)
        first = await flow.tokens()
        second = (await flow.refresh(first["refresh_token"])).json()
        postgres.query(dsn, CLOSE)
        assert error(await flow.refresh(first["refresh_token"])) == (400, "invalid_grant")
        await check_compromised(dsn, flow, first, second)


@pytest.mark.proves("CC-03")
async def test_a_used_successor_closes_the_window(dsn):  # A grandparent
    async with serving(dsn, settings()) as server:
        flow = Flow(server)
        first = await flow.tokens()
        second = (await flow.refresh(first["refresh_token"])).json()
        third = await flow.refresh(second["refresh_token"])
        # The parent of the newest token still gets it again, and nothing older can be derived.
        assert pair(await flow.refresh(second["refresh_token"])) == pair(third)
        salts = "SELECT salt IS NOT NULL FROM oauth_refresh_tokens ORDER BY created_at"
        assert postgres.query(dsn, salts) == [(False,), (True,), (False,)]
        assert error(await flow.refresh(first["refresh_token"])) == (400, "invalid_grant")
        await check_compromised(dsn, flow, first, second, third.json())


@pytest.mark.proves("CC-03")
async def test_two_holders_of_one_token_are_noticed_at_the_next_use(dsn):
    async with serving(dsn, settings()) as server:
        owner = thief = Flow(server)
        stolen = (await owner.tokens())["refresh_token"]
        owners, thiefs = await owner.refresh(stolen), await thief.refresh(stolen)
        assert pair(owners) == pair(thiefs)
        third = (await thief.refresh(thiefs.json()["refresh_token"])).json()
        postgres.query(dsn, CLOSE)
        answer = await owner.refresh(owners.json()["refresh_token"])
        assert error(answer) == (400, "invalid_grant")
        await check_compromised(dsn, owner, owners.json(), third)


@pytest.mark.proves("CC-02")
async def test_a_client_may_repeat_as_often_as_it_likes(dsn):
    async with serving(dsn, settings()) as server:
        flow = Flow(server)
        first = await flow.tokens()
        answer = await flow.refresh(first["refresh_token"])
        for _ in range(100):
            assert pair(await flow.refresh(first["refresh_token"])) == pair(answer)
        assert postgres.query(dsn, "SELECT count(*) FROM oauth_refresh_tokens") == [(2,)]


@pytest.mark.proves("RV-05", "CC-02")
@pytest.mark.parametrize("gone", ["revoked", "expired"])
async def test_the_answer_is_given_again_though_its_access_token_is_dead(dsn, gone):
    # Whoever revokes only an access token is no thief, and needs the refresh token all the more.
    async with serving(dsn, settings()) as server:
        flow = Flow(server)
        first = await flow.tokens()
        answer = await flow.refresh(first["refresh_token"])
        if gone == "revoked":
            await flow.post("/revoke", token=answer.json()["access_token"])
        else:
            expire = "UPDATE oauth_access_tokens SET expires_at = clock_timestamp()"
            postgres.query(dsn, expire)
        again = await flow.refresh(first["refresh_token"])
        assert pair(again) == pair(answer)
        assert again.json()["expires_in"] == 0
        assert (await flow.call_mcp(again.json()["access_token"])).status_code == 401
        third = (await flow.refresh(again.json()["refresh_token"])).json()
        assert (await flow.call_mcp(third["access_token"])).status_code == 200
        assert grant_states(dsn) == ["active"]


@pytest.mark.proves("RF-01")
async def test_another_client_gets_nothing_inside_the_window(dsn):
    async with serving(dsn, settings()) as server:
        flow = Flow(server)
        first = await flow.tokens()
        answer = await flow.refresh(first["refresh_token"])
        with unchanged(dsn):
            refused = await replace(flow, client_id=OTHER).refresh(first["refresh_token"])
            assert error(refused) == (400, "invalid_grant")
        assert pair(await flow.refresh(first["refresh_token"])) == pair(answer)


@pytest.mark.proves("RF-04")
async def test_another_scope_inside_the_window_is_reuse(dsn):
    async with serving(dsn, settings()) as server:
        flow = Flow(server)
        first = await flow.tokens(scope="extra mcp.tools.call")
        second = (await flow.refresh(first["refresh_token"], scope="extra")).json()
        again = await flow.refresh(first["refresh_token"], scope="extra")
        assert again.json()["refresh_token"] == second["refresh_token"]
        answer = await flow.refresh(first["refresh_token"], scope="mcp.tools.call")
        assert error(answer) == (400, "invalid_grant")
        await check_compromised(dsn, flow, first, second)


@pytest.mark.proves("RF-06", "RF-07")
async def test_more_than_was_granted_is_refused_inside_the_window_too(dsn):
    async with serving(dsn, settings()) as server:
        flow = Flow(server)
        first = await flow.tokens()
        answer = await flow.refresh(first["refresh_token"])
        with unchanged(dsn):
            refused = await flow.refresh(first["refresh_token"], scope="extra")
            assert error(refused) == (400, "invalid_scope")
            refused = await flow.refresh(first["refresh_token"], resource="https://evil.example")
            assert error(refused) == (400, "invalid_target")
        assert pair(await flow.refresh(first["refresh_token"])) == pair(answer)


@pytest.mark.proves("RF-09")
async def test_a_revoked_grant_gives_nothing_inside_the_window(dsn):
    async with serving(dsn, settings()) as server:
        flow = Flow(server)
        first = await flow.tokens()
        second = (await flow.refresh(first["refresh_token"])).json()
        await flow.post("/revoke", token=second["refresh_token"])
        with unchanged(dsn):
            assert error(await flow.refresh(first["refresh_token"])) == (400, "invalid_grant")
        assert grant_states(dsn) == ["revoked"]


@pytest.mark.proves("CC-02")
async def test_eight_refreshes_at_once_give_one_pair_inside_the_window(dsn):
    async with serving(dsn, settings()) as server:
        flow = Flow(server)
        first = (await flow.tokens())["refresh_token"]
        answers = await race(dsn, LOCK, *(flow.refresh(first) for _ in range(8)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({pair(answer) for answer in answers}) == 1
        assert grant_states(dsn) == ["active"]
        assert postgres.query(dsn, "SELECT count(*) FROM oauth_refresh_tokens") == [(2,)]
        assert (await flow.call_mcp(answers[0].json()["access_token"])).status_code == 200


@pytest.mark.proves("CC-01")
async def test_eight_refreshes_at_once_end_the_grant_without_a_window(dsn):
    async with serving(dsn, settings("0s")) as server:
        flow = Flow(server)
        first = await flow.tokens()
        racers = [flow.refresh(first["refresh_token"]) for _ in range(8)]
        answers = await race(dsn, LOCK, *racers)
        answers.sort(key=lambda answer: answer.status_code)
        winner, *losers = answers
        assert winner.status_code == 200
        assert {error(answer) for answer in losers} == {(400, "invalid_grant")}
        await check_compromised(dsn, flow, first, winner.json())


@pytest.mark.proves("CC-02", "TR-14")
async def test_an_answer_that_was_lost_with_the_database_is_given_again(dsn):
    async with proxy(dsn) as network, serving(network.dsn, settings()) as server:
        flow = Flow(server)
        first = (await flow.tokens())["refresh_token"]
        network.cut_after = b"COMMIT\0"
        assert error(await flow.refresh(first)) == (503, "temporarily_unavailable")
        assert postgres.query(dsn, "SELECT count(*) FROM oauth_refresh_tokens") == [(2,)]
        answer = await flow.refresh(first)
        assert answer.status_code == 200
        assert (await flow.call_mcp(answer.json()["access_token"])).status_code == 200


@pytest.mark.proves("RF-04", "TR-14")
async def test_without_a_window_an_answer_that_was_lost_costs_the_grant(dsn):
    # The price of strictness, which docs/adr/0014 tells of.
    async with proxy(dsn) as network, serving(network.dsn, settings("0s")) as server:
        flow = Flow(server)
        first = (await flow.tokens())["refresh_token"]
        network.cut_after = b"COMMIT\0"
        assert error(await flow.refresh(first)) == (503, "temporarily_unavailable")
        assert error(await flow.refresh(first)) == (400, "invalid_grant")
        assert grant_states(dsn) == ["compromised"]


@pytest.mark.proves("CC-08")
@pytest.mark.parametrize("window", ["0s", "30s"])
async def test_a_refresh_that_was_not_written_rotates_nothing(dsn, window):
    async with proxy(dsn) as network, serving(network.dsn, settings(window)) as server:
        flow = Flow(server)
        first = (await flow.tokens())["refresh_token"]
        network.cut_before = b"COMMIT\0"
        with unchanged(dsn):
            assert error(await flow.refresh(first)) == (503, "temporarily_unavailable")
        assert (await flow.refresh(first)).status_code == 200
        assert grant_states(dsn) == ["active"]

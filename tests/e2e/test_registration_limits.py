"""How many clients may register: of one network in an hour, and in all that nobody uses."""

import asyncio

import pytest
from e2e.registering import register
from serving import Flow, serving

LOOPBACK = "http://127.0.0.1:4711/callback"
GOOD = {"redirect_uris": [LOOPBACK], "token_endpoint_auth_method": "none"}
BAD = GOOD | {"redirect_uris": ["javascript:alert(1)"]}


def limits(**settings):
    """Settings of registration; the proxy may tell where a request came from."""
    return {
        "server": {"trusted_proxies": ["127.0.0.1"]},
        "oauth": {"clients": {"registration": settings}},
    }


async def post(server, body=GOOD, *, address="192.0.2.1", number=1):
    """Post so many registrations at once and return their statuses, sorted, and one answer."""
    async with server.http() as http:
        answers = await asyncio.gather(
            *(
                http.post("/register", json=body, headers={"X-Forwarded-For": address})
                for _ in range(number)
            )
        )
    answers.sort(key=lambda answer: answer.status_code)
    return [answer.status_code for answer in answers], answers[-1]


def is_told_to_wait(answer, *, seconds):
    """Check that a client is told when to come again."""
    assert answer.status_code == 429
    assert answer.json()["error"] == "temporarily_unavailable"
    assert 0 < int(answer.headers["Retry-After"]) <= seconds
    assert answer.headers["Cache-Control"] == "no-store"


async def registered(server):
    """Return how many clients registered."""
    count = "SELECT count(*) AS n FROM oauth_clients WHERE origin = 'registration'"
    return (await server.db.one(count)).n


@pytest.mark.proves("DC-07")
async def test_one_network_may_register_so_many_in_an_hour_even_at_once(dsn):
    async with serving(dsn, limits(per_network=5)) as server:
        statuses, last = await post(server, number=15)
        assert statuses == [201] * 5 + [429] * 10
        is_told_to_wait(last, seconds=3600)
        said = last.json()["error_description"]
        assert said == "too many registrations from this network"
        assert await registered(server) == 5
        assert (await post(server, address="192.0.2.2"))[0] == [201]
        await server.db.execute("UPDATE rate_limits SET expires_at = clock_timestamp()")
        assert (await post(server))[0] == [201]


@pytest.mark.proves("DC-07", "RL-06")
async def test_a_network_of_ipv6_is_counted_as_one(dsn):
    async with serving(dsn, limits(per_network=1)) as server:
        assert (await post(server, address="2001:db8::1"))[0] == [201]
        assert (await post(server, address="2001:db8::2"))[0] == [429]
        assert (await post(server, address="2001:db8:0:1::1"))[0] == [201]


@pytest.mark.proves("DC-07")
async def test_what_is_refused_for_its_content_does_not_count(dsn):
    async with serving(dsn, limits(per_network=1)) as server:
        assert (await post(server, BAD, number=5))[0] == [400] * 5
        assert (await post(server))[0] == [201]


@pytest.mark.proves("DC-07")
async def test_so_many_may_be_unused_even_when_they_come_at_once(dsn):
    async with serving(dsn, limits(max_unused=3)) as server:
        statuses, last = await post(server, number=12)
        assert statuses == [201] * 3 + [429] * 9
        is_told_to_wait(last, seconds=3600)
        assert await registered(server) == 3


@pytest.mark.proves("DC-07")
async def test_a_client_that_is_used_makes_room(dsn):
    async with serving(dsn, limits(max_unused=1)) as server:
        client_id = await register(server, LOOPBACK)
        assert (await post(server))[0] == [429]
        assert "access_token" in await Flow(server, client_id, redirect_uri=LOOPBACK).tokens()
        assert (await post(server))[0] == [201]
        assert (await post(server))[0] == [429]


@pytest.mark.proves("DC-07")
async def test_who_was_not_used_for_an_hour_makes_room_for_others(dsn):
    # Or one stranger could take every place and keep them.
    older = "UPDATE oauth_clients SET created_at = clock_timestamp() - interval '{} minutes'"
    async with serving(dsn, limits(max_unused=2)) as server, server.http() as http:
        for _ in range(2):
            flow = Flow(server, await register(server, LOOPBACK), redirect_uri=LOOPBACK)
            assert (await http.get("/authorize", params=flow.parameters())).status_code == 303
        await server.db.execute(older.format(59))
        is_told_to_wait((await post(server))[1], seconds=60)
        await server.db.execute(older.format(61))
        assert (await post(server))[0] == [201]


@pytest.mark.proves("DC-07", "DC-08")
async def test_a_client_with_which_somebody_is_logging_in_is_not_made_room_of(dsn):
    async with serving(dsn, limits(max_unused=1)) as server, server.browser() as browser:
        flow = Flow(server, await register(server, LOOPBACK), redirect_uri=LOOPBACK)
        await flow.ask(browser)
        await server.db.execute(
            "UPDATE oauth_clients SET created_at = clock_timestamp() - interval '1 day'"
        )
        assert (await post(server))[0] == [429]
        assert "code" in await browser.approve()


@pytest.mark.proves("DC-09")
async def test_a_client_that_was_deleted_is_told_to_begin_again(dsn):
    async with serving(dsn) as server, server.http() as http:
        flow = Flow(server, await register(server, LOOPBACK), redirect_uri=LOOPBACK)
        await server.db.execute("DELETE FROM oauth_clients")
        page = await http.get("/authorize", params=flow.parameters())
        assert page.status_code == 400
        assert "Remove the connection in the application and add it again" in page.text
        answer = await flow.refresh("mcps_rt_" + "a" * 43)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")

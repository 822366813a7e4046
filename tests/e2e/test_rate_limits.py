"""Failures at /token and /revoke are counted; successes never are."""

import postgres
import pytest
from serving import Flow, serving
from tables import unchanged

from mcpserve import ratelimit
from mcpserve.oauth.store import cleanup
from mcpserve.web.network import client_address

LIMIT = 3
LIMITS = {name: {"failures": LIMIT} for name in ("token", "revoke", "authorize")}
SETTINGS = {"limits": LIMITS}
BEHIND_A_PROXY = SETTINGS | {"server": {"trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]}}
AGE = "UPDATE rate_limits SET expires_at = clock_timestamp()"


def check_limited(answer):
    assert (answer.status_code, answer.json()["error"]) == (429, "temporarily_unavailable")
    assert 0 < int(answer.headers["retry-after"]) <= 300
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"].startswith("application/json")


def error(answer):
    return (answer.status_code, answer.json()["error"])


def behind(*hops):
    return {"X-Forwarded-For": ", ".join(hops)}


async def guess(flow, **form):
    """Present a refresh token that never was."""
    return await flow.refresh("mcps_rt_guess", **form)


async def use_up(flow, **form):
    """Make as many failures as are allowed; each is told what it is."""
    for _ in range(LIMIT):
        assert error(await guess(flow, **form)) in ((400, "invalid_grant"), (401, "invalid_client"))


@pytest.mark.proves("RL-02", "RL-03")
async def test_after_too_many_failures_a_client_is_told_to_wait(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        await use_up(flow)
        for _ in range(2):
            check_limited(await guess(flow))
        await use_up(flow.confidential())  # another client has failures of its own
        postgres.query(dsn, AGE)
        await use_up(flow)  # a new window
        check_limited(await guess(flow))


@pytest.mark.proves("RL-02")
async def test_successes_are_never_counted_nor_refused(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        tokens = await flow.tokens()
        for _ in range(LIMIT + 2):
            tokens = (await flow.refresh(tokens["refresh_token"])).json()
            counted = postgres.query(dsn, "SELECT coalesce(sum(failures), 0) FROM rate_limits")
            assert counted == [(0,)]
        await use_up(flow)
        check_limited(await guess(flow))
        tokens = (await flow.refresh(tokens["refresh_token"])).json()
        assert (await flow.exchange(await flow.code())).status_code == 200
        assert (await flow.post("/revoke", token=tokens["refresh_token"])).status_code == 200


@pytest.mark.proves("RL-02")
async def test_a_dead_token_is_told_so_however_often_it_comes(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        code = await flow.code()
        tokens = (await flow.exchange(code)).json()
        await flow.post("/revoke", token=tokens["refresh_token"])
        await use_up(flow)
        check_limited(await guess(flow))
        for _ in range(LIMIT + 2):
            assert error(await flow.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
            assert error(await flow.exchange(code)) == (400, "invalid_grant")
            wrong = await flow.exchange(code, code_verifier="w" * 43)
            assert error(wrong) == (400, "invalid_grant")


@pytest.mark.proves("RL-02", "RF-04", "AC-07")
async def test_too_many_failures_hide_neither_reuse_nor_replay(dsn):
    # A client that is told to wait instead never asks its person to log in again.
    expire = "UPDATE oauth_authorization_codes SET {} = {} - interval '1 hour' WHERE used_at IS {}"
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        late, spent, replayed = [await flow.code() for _ in range(3)]
        for code in (spent, replayed):
            reused = (await flow.exchange(code)).json()["refresh_token"]
        await flow.refresh(reused)
        await use_up(flow)
        check_limited(await guess(flow))
        assert error(await flow.exchange(spent)) == (400, "invalid_grant")  # asked twice
        assert error(await flow.refresh(reused)) == (400, "invalid_grant")
        postgres.query(dsn, expire.format("used_at", "used_at", "NOT NULL"))
        postgres.query(dsn, expire.format("expires_at", "expires_at", "NULL"))
        for code in (late, spent, replayed):
            assert error(await flow.exchange(code)) == (400, "invalid_grant")
        states = postgres.query(dsn, "SELECT state FROM mcp_sessions")
        assert states == [("compromised",), ("compromised",)]


@pytest.mark.proves("RL-01")
async def test_a_wrong_secret_is_limited_before_it_is_hashed(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server).confidential()
        tokens = await flow.tokens()
        await use_up(flow, client_secret="wrong")
        server.services.hasher.close()  # from here on, hashing anything is a server error
        with unchanged(dsn):
            check_limited(await guess(flow, client_secret="wrong"))
            check_limited(await flow.refresh(tokens["refresh_token"]))
        assert (await guess(flow, headers=behind("6.6.6.6"))).status_code == 429


@pytest.mark.proves("RL-01")
async def test_a_right_secret_is_accepted_again_when_the_window_ends(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server).confidential()
        tokens = await flow.tokens()
        await use_up(flow, client_secret="wrong")
        check_limited(await flow.refresh(tokens["refresh_token"]))
        postgres.query(dsn, AGE)
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.proves("RL-01")
async def test_invented_clients_are_limited_together_before_anything_is_hashed(dsn):
    # They are told that they are gone all the same: a real one then registers again.
    async with serving(dsn, SETTINGS) as server:
        for number in range(LIMIT):
            flow = Flow(server, client_id=f"invented-{number}", secret="x")
            assert error(await guess(flow)) == (401, "invalid_client")
        server.services.hasher.close()
        for number in range(LIMIT):
            flow = Flow(server, client_id=f"another-{number}", secret="x")
            assert error(await guess(flow)) == (401, "invalid_client")
            flow = Flow(server, client_id=f"public-{number}")
            assert error(await guess(flow)) == (401, "invalid_client")


@pytest.mark.proves("RL-02")
async def test_only_wrong_secrets_keep_a_client_from_proving_itself(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server).confidential()
        tokens = await flow.tokens()
        await use_up(flow)
        check_limited(await guess(flow))
        for _ in range(LIMIT):
            answer = await flow.refresh(tokens["refresh_token"], scope="unknown")
            assert error(answer) == (400, "invalid_scope")
            assert error(await flow.token(grant_type="x")) == (400, "unsupported_grant_type")
            assert error(await flow.token()) == (400, "invalid_request")
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.proves("RL-02")
async def test_requests_that_are_no_protocol_at_all_are_limited(dsn):
    async with serving(dsn, SETTINGS) as server, server.http() as http:
        for path in ("/token", "/revoke"):
            for _ in range(LIMIT):
                assert error(await http.post(path, content=b"{}")) == (400, "invalid_request")
            check_limited(await http.post(path, content=b"{}"))


@pytest.mark.proves("RL-03")
async def test_each_endpoint_counts_for_itself(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        for _ in range(LIMIT):
            assert error(await flow.post("/revoke")) == (400, "invalid_request")
        check_limited(await flow.post("/revoke"))
        tokens = await flow.tokens()
        assert (await flow.post("/revoke", token=tokens["refresh_token"])).status_code == 200
        await use_up(flow)
        check_limited(await guess(flow))


@pytest.mark.proves("RL-03")
async def test_people_are_told_to_wait_by_a_page(dsn):
    async with serving(dsn, SETTINGS) as server, server.http() as http:
        for _ in range(LIMIT):
            assert (await http.get("/authorize")).status_code == 400
        answer = await http.get("/authorize")
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 300
        assert answer.headers["content-type"].startswith("text/html")
        good = await http.get("/authorize", params=Flow(server).parameters())
        assert good.status_code == 303


@pytest.mark.proves("RL-04")
async def test_a_restart_forgets_nothing(dsn):
    async with serving(dsn, SETTINGS) as server:
        await use_up(Flow(server))
    async with serving(dsn, SETTINGS, with_user=False) as server:
        check_limited(await guess(Flow(server)))


@pytest.mark.proves("RL-05")
async def test_nobody_chooses_an_address(dsn):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        for number in range(LIMIT):
            headers = behind(f"6.6.6.{number}") | {"X-Real-IP": f"6.6.6.{number}"}
            assert error(await guess(flow, headers=headers)) == (400, "invalid_grant")
        check_limited(await guess(flow, headers=behind("7.7.7.7")))


@pytest.mark.proves("RL-05")
async def test_behind_a_trusted_proxy_each_address_counts_for_itself(dsn):
    async with serving(dsn, BEHIND_A_PROXY) as server:
        flow = Flow(server)
        await use_up(flow, headers=behind("6.6.6.6"))
        check_limited(await guess(flow, headers=behind("6.6.6.6")))
        # What a client wrote in front of it is not believed, what our proxies added is skipped.
        check_limited(await guess(flow, headers=behind("1.1.1.1", "6.6.6.6")))
        check_limited(await guess(flow, headers=behind("1.1.1.1", "6.6.6.6", "10.1.2.3")))
        await use_up(flow, headers=behind("6.6.6.6", "7.7.7.7"))
        await use_up(flow)


@pytest.mark.proves("RL-06")
async def test_a_household_of_ipv6_counts_as_one(dsn):
    async with serving(dsn, BEHIND_A_PROXY) as server:
        flow = Flow(server)
        for number in range(LIMIT):
            answer = await guess(flow, headers=behind(f"2001:db8:0:1::{number}"))
            assert error(answer) == (400, "invalid_grant")
        check_limited(await guess(flow, headers=behind("2001:db8:0:1:ffff::1")))
        await use_up(flow, headers=behind("2001:db8:0:2::1"))


@pytest.mark.proves("RL-06")
async def test_the_table_stays_small(dsn):
    async with serving(dsn, SETTINGS) as server:
        for number in range(LIMIT):
            await guess(Flow(server, client_id="x" * 9000 + str(number)))
        await guess(Flow(server))
        await guess(Flow(server).confidential(), client_secret="wrong")
        assert postgres.query(dsn, "SELECT octet_length(digest) FROM rate_limits") == [(32,)] * 3
        await cleanup.purge(server.db)
        assert postgres.query(dsn, "SELECT count(*) FROM rate_limits") == [(3,)]
        postgres.query(dsn, AGE)
        await cleanup.purge(server.db)
        assert postgres.query(dsn, "SELECT count(*) FROM rate_limits") == [(0,)]


@pytest.mark.proves("RL-06")
@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", "unknown"),
        ("localhost", "unknown"),
        ("192.0.2.1:80", "unknown"),
        ("é", "unknown"),
    ],
)
def test_what_is_counted_of_an_address(address, counted):
    assert ratelimit.network(address) == counted


@pytest.mark.proves("RL-05")
@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("6.6.6.6", [], "6.6.6.6"),
        ("6.6.6.6", ["1.1.1.1"], "6.6.6.6"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6"], "6.6.6.6"),
        ("10.0.0.1", ["1.1.1.1, 6.6.6.6"], "6.6.6.6"),
        ("10.0.0.1", ["1.1.1.1", "6.6.6.6"], "6.6.6.6"),
        ("10.0.0.1", ["1.1.1.1,6.6.6.6 , 10.0.0.2"], "6.6.6.6"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["6.6.6.6, garbage"], "garbage"),
        ("10.0.0.1", ["6.6.6.6, "], ""),
        ("::ffff:10.0.0.1", ["6.6.6.6"], "6.6.6.6"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("", ["1.1.1.1"], ""),
    ],
)
def test_the_address_is_the_nearest_that_is_no_proxy_of_ours(peer, forwarded, client):
    assert client_address(peer, forwarded, ["10.0.0.0/8", "fd00::/8"]) == client

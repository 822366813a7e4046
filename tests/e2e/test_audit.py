"""The record of a running server and of the commands, and the story that it tells."""

import asyncio
import re

import postgres
import pytest
from e2e.process import add_user, configure, invoke
from serving import CALLBACK, PASSWORD, PUBLIC_CLIENT, USER, Flow, serving
from store.events import old, recorded

from mcpserve.cli.operator import operator

NEAR = {"server": {"trusted_proxies": ["127.0.0.1"]}}


@pytest.fixture
def config(dsn, tmp_path):
    return configure(tmp_path, dsn=dsn)


def done(config, *words, stdin=""):
    """Run a command that must succeed, and return the lines that it printed."""
    result = invoke(config, *words, stdin=stdin)
    assert (result.exit_code, result.stderr) == (0, ""), result.stderr
    return result.stdout.splitlines()


async def explained(config, grant_id):
    """Return the story without its times."""
    lines = await asyncio.to_thread(done, config, "grant", "explain", grant_id)
    return [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d", "T", line) for line in lines]


def grant_of(dsn):
    ((grant_id,),) = postgres.query(dsn, "SELECT id FROM mcp_sessions")
    return grant_id


LIFE = [
    'T  The client "Public Client" (public-client) was added from the configuration.',
    "T  alice logged in, from 127.0.0.1.",
    'T  alice allowed "Public Client" (public-client): mcp.tools.call, offline_access. '
    "The answer went to client.example.",
    "T  The client fetched its first tokens, from 127.0.0.1.",
    "T  The tokens were refreshed 2 times until T, from 127.0.0.1.",
    "T  The refresh token that was replaced at T was used again, from 127.0.0.1: the grant is "
    "compromised, all its tokens are dead.",
    "T  Now: compromised since T.",
]


@pytest.mark.proves("AD-03")
async def test_the_life_of_a_grant_is_told_also_after_it_was_deleted(dsn, config):
    async with serving(dsn) as server:
        flow = Flow(server)
        first = await flow.tokens(scope="mcp.tools.call offline_access")
        second = (await flow.refresh(first["refresh_token"])).json()
        await flow.refresh(second["refresh_token"])
        await flow.refresh(first["refresh_token"])
    grant_id = grant_of(dsn)
    assert await explained(config, grant_id) == [f"Grant {grant_id}", *LIFE]
    postgres.query(dsn, "DELETE FROM mcp_sessions; DELETE FROM oauth_clients; DELETE FROM users")
    assert await explained(config, grant_id) == [f"Grant {grant_id}", *LIFE]
    assert await explained(config, grant_id.replace("-", "").upper()[:7]) == [
        f"Grant {grant_id}",
        *LIFE,
    ]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ("abcd", "more than one grant begins with 'abcd'"),
        ("abc", "'abc' is too short, 4 digits of the id are needed"),
        ("abcg", "'abcg' is no grant id, see: mcpserve grant list"),
        ("nonsense\x1b[2J", "'nonsense\\x1b[2J' is no grant id, see: mcpserve grant list"),
        ("", "'' is no grant id, see: mcpserve grant list"),
        ("0" * 33, f"'{'0' * 33}' is no grant id, see: mcpserve grant list"),
        ("0123", "nothing is recorded of a grant '0123', see: mcpserve grant list"),
    ],
)
def test_an_id_of_no_grant_is_one_clear_line(dsn, config, asked, problem):
    for end in ("0", "1"):
        postgres.query(dsn, old(days=1, grant_id=f"abcd0000-0000-0000-0000-00000000000{end}"))
    result = invoke(config, "grant", "explain", asked)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"error: {problem}\n")


async def test_a_grant_of_which_nothing_is_recorded_is_told_as_it_is_now(dsn, config):
    async with serving(dsn) as server:
        await Flow(server).tokens()
    grant_id = grant_of(dsn)
    postgres.query(dsn, "SET session_replication_role = replica; DELETE FROM auth_events")
    assert await explained(config, grant_id[:4]) == [
        f"Grant {grant_id}",
        "Nothing is recorded of its life any more.",
        "T  Now: active until T.",
    ]


def test_names_of_strangers_are_listed_without_what_a_terminal_obeys(dsn, config):
    done(config, "client", "add", "--id", "x", "--public", "--redirect-uri", CALLBACK)
    postgres.query(dsn, "UPDATE oauth_clients SET client_name = E'\\x1b[2Jevil\\u202e\\n\\u009b'")
    for words in (("client", "list"), ("client", "show", "x")):
        lines = done(config, *words)
        assert "[2Jevil" in "".join(lines)
        assert [line for line in lines if not line.isprintable()] == []


REVOKED_BY = {
    "id": lambda grant_id: (grant_id,),
    "beginning of the id": lambda grant_id: (grant_id[:8],),
    "user": lambda _: ("--user", USER.upper()),
    "client": lambda _: ("--client", PUBLIC_CLIENT),
    "all": lambda _: ("--all",),
}


@pytest.mark.proves("AD-02")
@pytest.mark.parametrize("choice", REVOKED_BY)
async def test_what_an_operator_revokes_ends_at_once_and_is_recorded(dsn, config, choice):
    async with serving(dsn) as server:
        flow = Flow(server)
        tokens = await flow.tokens()
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 200
        words = ("grant", "revoke", *REVOKED_BY[choice](grant_of(dsn)))
        await asyncio.to_thread(done, config, *words)
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 401
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 400
    last = recorded(dsn, "grant_id", "operator", "network", "details")[-1]
    assert last == ("grant.revoked", grant_of(dsn), operator(), None, {"reason": "operator"})
    assert f"T  The grant was revoked by {operator()}." in await explained(config, grant_of(dsn))


@pytest.mark.proves("AD-02")
def test_every_change_by_a_command_is_recorded_with_the_operator(dsn, config):
    add_user(config, "carol", PASSWORD)
    done(config, "user", "password", "carol", "--password-stdin", stdin="another long password\n")
    for word in ("disable", "enable"):
        done(config, "user", word, "carol")
    client = ("client", "add", "--id", "c", "--redirect-uri", CALLBACK)
    done(config, *client)
    done(config, *client, "--replace")
    for word in ("disable", "disable", "enable", "enable"):
        done(config, "client", word, "c")
    for words in (("user", "list"), ("client", "list"), ("grant", "list"), ("cleanup",)):
        done(config, *words)
    assert recorded(dsn, "operator") == [
        (event, operator())
        for event in (
            "user.added",
            "user.password_changed",
            "user.disabled",
            "user.enabled",
            "client.added",
            "client.changed",
            "client.disabled",
            "client.enabled",
        )
    ]


@pytest.mark.proves("AD-03")
async def test_an_event_names_the_network_and_the_request(dsn):
    async with serving(dsn, NEAR) as server:
        flow = Flow(server)
        code = await flow.code()
        before = len(recorded(dsn))
        answer = await flow.post(
            "/token",
            headers={"X-Forwarded-For": "198.51.100.9, 2001:db8:1:2:3::4"},
            grant_type="authorization_code",
            code=code,
            code_verifier=flow.verifier,
            redirect_uri=flow.redirect_uri,
        )
    where = ("2001:db8:1:2::/64", answer.headers["X-Request-Id"], None)
    columns = ("network", "request_id", "operator")
    assert recorded(dsn, *columns)[before:] == [("grant.started", *where)]


@pytest.mark.proves("AD-03")
async def test_requests_of_one_connection_do_not_share_an_id(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        flow = Flow(server)
        await browser.open("/authorize", flow.parameters())
        await browser.log_in(USER, "wrong")
        await browser.log_in(USER, PASSWORD)
        await browser.approve()
    rows = postgres.query(
        dsn, "SELECT event, request_id FROM auth_events WHERE network IS NOT NULL ORDER BY id"
    )
    assert [event for event, _ in rows] == ["login.failed", "login.succeeded", "consent.given"]
    assert len({request_id for _, request_id in rows}) == 3


async def test_what_a_tool_does_is_no_event(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        tokens = await flow.tokens()
        before = recorded(dsn)
        for token in (tokens["access_token"], "guess"):
            await flow.call_tool(token)
        await flow.refresh("guess")
        await flow.exchange("guess")
        await flow.post("/revoke", token="guess")
        assert recorded(dsn) == before


async def test_consent_of_oauth_auto_approve_is_told_as_such(dsn, config):
    async with serving(dsn, {"oauth": {"auto_approve": True}}) as server:
        flow = Flow(server)
        async with server.browser() as browser:
            await browser.open("/authorize", flow.parameters())
            answer = browser.answer(await browser.log_in(USER, PASSWORD))
    ((grant_id,),) = postgres.query(dsn, "SELECT future_session_id FROM oauth_authorization_codes")
    assert "code" in answer
    story = await explained(config, grant_id)
    assert story[-2].startswith("T  alice was not asked: oauth.auto_approve allowed")
    assert story[-1] == "T  Now: no tokens were fetched."

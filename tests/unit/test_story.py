"""The life of a grant in sentences; no database is needed to tell it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mcpserve.audit import Event
from mcpserve.oauth import story
from mcpserve.oauth.store.events import Recorded
from mcpserve.oauth.store.grants import Grant

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
HOME, ABROAD = "192.0.2.1", "203.0.113.9"
CLIENT = {"client_name": "ChatGPT", "redirect_uris": [], "auth_methods": ["none"]}


def moment(time):
    return time.strftime("%d %H:%M")


def event(minutes, name, *, network=None, operator=None, **details):
    at = START + timedelta(minutes=minutes)
    return Recorded(at, name, "chatgpt", "user", network, operator, details)


ADDED = event(0, Event.CLIENT_ADDED, origin="cli", operator="root (sudo by ann)", **CLIENT)
LOGIN = event(1, Event.LOGIN_SUCCEEDED, network=HOME, user_name="alice")
CONSENT = event(
    2,
    Event.CONSENT_GIVEN,
    network=HOME,
    client_name="ChatGPT",
    user_name="alice",
    scopes=["mcp.tools.call", "offline_access"],
    redirect_host="chatgpt.com",
    automatically=False,
)
STARTED = event(
    3,
    Event.GRANT_STARTED,
    network=ABROAD,
    scopes=["mcp.tools.call"],
    expires_at=(START + timedelta(days=3)).isoformat(),
)


def refreshes(first, networks):
    return [
        event(first + number, Event.TOKEN_REFRESHED, network=network)
        for number, network in enumerate(networks)
    ]


def told(*events, days=1, grant=None):
    return story.tell(events, START + timedelta(days=days), moment=moment, grant=grant)


def grant(state, ended_at=None):
    at = (START, START, START + timedelta(days=3), ended_at)
    return Grant("0b6f", "chatgpt", "ChatGPT", "alice", ("mcp.tools.call",), state, *at)


def test_every_change_of_the_tools_is_told():
    changes = [
        event(at, Event.GRANT_TOOLS_CHANGED, network=HOME, by="person", withheld_tools=tools)
        for at, tools in ((5, ["a", "b\x1b"]), (6, []))
    ]
    assert [line.partition(": ")[2] for line in told(STARTED, *changes)[1:3]] == [
        "allowed are all but a, b.",
        "allowed are all.",
    ]


def test_consent_is_told_with_the_tools_that_were_not_allowed():
    consent = replace(CONSENT, details=CONSENT.details | {"withheld_tools": ["wipe"]})
    assert told(consent)[0].endswith(
        "mcp.tools.call, offline_access, but not the tools wipe. The answer went to chatgpt.com."
    )


def test_a_whole_life_is_told_in_order():
    rotated = (START + timedelta(minutes=10)).isoformat()
    assert told(
        ADDED,
        LOGIN,
        CONSENT,
        STARTED,
        *refreshes(10, [ABROAD] * 312),
        event(400, Event.TOKEN_REPEATED, network=ABROAD),
        event(410, Event.TOKEN_REUSED, network="198.51.100.7", rotated_at=rotated),
    ) == [
        '23 10:00  The client "ChatGPT" (chatgpt) was added by root (sudo by ann).',
        "23 10:01  alice logged in, from 192.0.2.1.",
        '23 10:02  alice allowed "ChatGPT" (chatgpt): mcp.tools.call, offline_access. '
        "The answer went to chatgpt.com.",
        "23 10:03  The client fetched its first tokens, from 203.0.113.9.",
        "23 10:10  The tokens were refreshed 312 times until 23 15:21, from 203.0.113.9.",
        "23 16:40  The client was told its last answer again, from 203.0.113.9.",
        "23 16:50  The refresh token that was replaced at 23 10:10 was used again, "
        "from 198.51.100.7: the grant is compromised, all its tokens are dead.",
        "24 10:00  Now: compromised since 23 16:50.",
    ]


@pytest.mark.parametrize(
    ("networks", "end"),
    [
        ([None], "refreshed."),
        ([HOME], "refreshed, from 192.0.2.1."),
        ([HOME, HOME, ABROAD, HOME], "from 192.0.2.1 and 203.0.113.9, last from 192.0.2.1."),
        (
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"],
            "from 192.0.2.1, 192.0.2.2, 192.0.2.3 and 192.0.2.4, last from 192.0.2.4.",
        ),
        ([f"192.0.2.{n}" for n in range(5)] * 9, "from 5 networks, last from 192.0.2.4."),
    ],
)
def test_a_change_of_network_shows(networks, end):
    _, refreshed, _ = told(STARTED, *refreshes(10, networks))
    assert refreshed.endswith(end)


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        (
            event(5, Event.CODE_REPLAYED, network=HOME),
            "The code was exchanged a second time, from 192.0.2.1: the grant is compromised, all "
            "its tokens are dead.",
        ),
        (
            event(5, Event.TOKEN_REVOKED, network=HOME),
            "The client revoked an access token, from 192.0.2.1.",
        ),
        (
            event(5, Event.GRANT_REVOKED, network=HOME, reason="client"),
            "The client ended the grant, from 192.0.2.1.",
        ),
        (
            event(5, Event.GRANT_REVOKED, network=HOME, reason="person"),
            "The person ended the grant, from 192.0.2.1.",
        ),
        (
            event(5, Event.GRANT_TOOLS_CHANGED, network=HOME, by="person", withheld_tools=["a"]),
            "The tools were changed by the person, from 192.0.2.1: allowed are all but a.",
        ),
        (
            event(5, Event.GRANT_TOOLS_CHANGED, operator="ann", by="operator", withheld_tools=[]),
            "The tools were changed by ann: allowed are all.",
        ),
        (
            event(5, Event.GRANT_REVOKED, operator="ann", reason="operator"),
            "The grant was revoked by ann.",
        ),
        (
            event(5, Event.GRANT_REVOKED, operator="ann", reason="client disabled"),
            "The grant ended because its client was disabled by ann.",
        ),
        (
            event(5, Event.GRANT_REVOKED, operator="ann", reason="user disabled"),
            "The grant ended because its person was disabled by ann.",
        ),
        (event(5, "client.eaten", network=HOME), "client.eaten, from 192.0.2.1."),
    ],
)
def test_every_way_to_go_on_has_its_sentence(last, sentence):
    assert told(STARTED, last)[1] == f"23 10:05  {sentence}"


@pytest.mark.parametrize(
    ("client", "sentence"),
    [
        (
            event(0, Event.CLIENT_ADDED, origin="config", **CLIENT),
            'The client "ChatGPT" (chatgpt) was added from the configuration.',
        ),
        (
            event(0, Event.CLIENT_CHANGED, origin="config", changed=["name"], **CLIENT),
            'The client "ChatGPT" (chatgpt) was changed from the configuration.',
        ),
        (
            event(0, Event.CLIENT_REGISTERED, network=HOME, **CLIENT),
            'The client "ChatGPT" (chatgpt) registered itself, from 192.0.2.1.',
        ),
        (
            event(0, Event.CLIENT_DOCUMENT_READ, network=HOME, **CLIENT),
            'The client "ChatGPT" (chatgpt) was read from its metadata document.',
        ),
        (
            event(0, Event.CLIENT_DOCUMENT_READ, network=HOME, pinned=True, **CLIENT),
            'The client "ChatGPT" (chatgpt) was read from the preset\'s copy of its metadata '
            "document.",
        ),
    ],
)
def test_a_story_begins_with_the_client(client, sentence):
    assert told(client, CONSENT)[0] == f"23 10:00  {sentence}"


@pytest.mark.parametrize(
    ("events", "days", "state"),
    [
        ([CONSENT], 1, "no tokens were fetched"),
        ([CONSENT, STARTED], 1, "active until 26 10:00"),
        ([CONSENT, STARTED], 4, "expired at 26 10:00"),
        (refreshes(5, [HOME]), 1, "active, as far as is still recorded"),
        ([STARTED, event(5, Event.GRANT_REVOKED, reason="client")], 4, "revoked since 23 10:05"),
        ([STARTED, event(5, Event.CODE_REPLAYED)], 4, "compromised since 23 10:05"),
    ],
)
def test_the_last_line_is_how_things_are_now(events, days, state):
    assert told(*events, days=days)[-1].split("  ")[1] == f"Now: {state}."


@pytest.mark.parametrize(
    ("kept", "state"),
    [
        (grant("active"), "active until 26 10:00"),
        (grant("expired"), "expired at 26 10:00"),
        (grant("revoked", START), "revoked since 23 10:00"),
        (grant("compromised", START), "compromised since 23 10:00"),
    ],
)
def test_a_grant_knows_how_it_is_also_when_its_events_are_gone(kept, state):
    now = f"24 10:00  Now: {state}."
    assert told(grant=kept) == ["Nothing is recorded of its life any more.", now]
    assert told(*refreshes(5, [HOME]), grant=kept)[1:] == [now]


def test_who_was_not_asked_has_not_allowed_anything():
    asked = CONSENT.details | {"automatically": True}
    (line, _) = told(Recorded(START, CONSENT.event, "chatgpt", "user", HOME, None, asked))
    assert "alice was not asked: oauth.auto_approve allowed" in line


def test_nothing_of_a_name_reaches_a_terminal_raw():
    evil = '\x1b[2J\u202eTPG\u2066\x9b"\n23 10:01  Now: {active}\u200b'
    names = {"client_name": evil, "user_name": evil, "redirect_host": evil, "scopes": [evil]}
    lines = told(
        Recorded(START, Event.CLIENT_REGISTERED, evil, None, evil, evil, names),
        Recorded(START, Event.LOGIN_SUCCEEDED, evil, None, evil, evil, names),
        Recorded(START, Event.CONSENT_GIVEN, evil, None, evil, evil, names),
        Recorded(START, Event.GRANT_REVOKED, evil, None, evil, evil, {"reason": "operator"}),
        Recorded(START, "client." + evil, evil, None, evil, evil, {}),
    )
    assert len(lines) == 6
    assert [line for line in lines if not line.isprintable()] == []


def test_every_event_of_a_grant_has_a_sentence():
    elsewhere = ("user.", "key.", "consent.denied", "login.failed")
    others = {Event.CLIENT_DISABLED, Event.CLIENT_ENABLED, Event.CLIENT_DELETED}
    of_a_grant = {name for name in Event if not name.startswith(elsewhere)} - others
    assert set(story.SENTENCES) == of_a_grant

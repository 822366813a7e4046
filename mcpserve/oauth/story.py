"""The life of a grant in sentences, from its events: the grant may be deleted long since.

Names come from strangers. Nothing invisible of them gets into a sentence.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import groupby

from mcpserve.audit import Event
from mcpserve.db import Queryable
from mcpserve.errors import UsageError
from mcpserve.oauth.store import events as store
from mcpserve.oauth.store import grants
from mcpserve.oauth.store.events import Recorded
from mcpserve.oauth.store.grants import Grant
from mcpserve.text import clean, printable

Moment = Callable[[datetime], str]
"""How a time is written."""

BEGINNING = re.compile(r"[0-9a-f]{1,32}")
"""Of an id without its hyphens."""

ENOUGH = 4
"""So many digits of an id are enough, if only one grant begins with them."""

FEW = 4
"""So many networks are named one by one."""

ENDINGS: dict[str, str] = {
    Event.TOKEN_REUSED: "compromised",
    Event.CODE_REPLAYED: "compromised",
    Event.GRANT_REVOKED: "revoked",
}

COMPROMISED = "the grant is compromised, all its tokens are dead"
ALLOWED = "{client}: {scopes}{but_not}. The answer went to {host}."

SENTENCES: dict[str, str] = {
    Event.CLIENT_ADDED: "The client {client} was added {by}.",
    Event.CLIENT_CHANGED: "The client {client} was changed {by}.",
    Event.CLIENT_REGISTERED: "The client {client} registered itself{origin}.",
    Event.CLIENT_DOCUMENT_READ: "The client {client} was read from {document}.",
    Event.LOGIN_SUCCEEDED: "{person} logged in{origin}.",
    Event.CONSENT_GIVEN: "{person} allowed " + ALLOWED,
    Event.GRANT_STARTED: "The client fetched its first tokens{origin}.",
    Event.GRANT_TOOLS_CHANGED: "The tools were changed {by}{origin}: allowed are {tools}.",
    Event.GRANT_REVOKED: "The grant was revoked {by}.",
    Event.CODE_REPLAYED: "The code was exchanged a second time{origin}: " + COMPROMISED + ".",
    Event.TOKEN_REFRESHED: "The tokens were refreshed{times}{origin}.",
    Event.TOKEN_REPEATED: "The client was told its last answer again{times}{origin}.",
    Event.TOKEN_REUSED: "The refresh token that was replaced at {rotated} was used again{origin}: "
    + COMPROMISED
    + ".",
    Event.TOKEN_REVOKED: "The client revoked an access token{times}{origin}.",
}
"""What is said of an event, or of several in a row, unless :data:`REVOKED` knows better."""

REVOKED = {
    "client": "The client ended the grant{origin}.",
    "person": "The person ended the grant{origin}.",
    "client disabled": "The grant ended because its client was disabled {by}.",
    "user disabled": "The grant ended because its person was disabled {by}.",
}


async def explain(db: Queryable, grant_id: str, *, moment: Moment) -> list[str]:
    """Return the story of a grant, of whose id the beginning is enough.

    Raises :class:`~mcpserve.errors.UsageError` if that is no id, or none of one grant.
    """
    found = await find(db, grant_id)
    events, grant = await store.of_grant(db, found), await grants.find(db, found)
    return [f"Grant {found}", *tell(events, await store.now(db), moment=moment, grant=grant)]


async def find(db: Queryable, beginning: str) -> str:
    """Return the id of the one grant, alive or only recorded, whose id begins like this.

    Raises :class:`~mcpserve.errors.UsageError` if there is none or more than one.
    """
    digits = beginning.replace("-", "").lower()
    if not BEGINNING.fullmatch(digits):
        raise UsageError(f"{beginning!r} is no grant id, see: mcpserve grant list")
    if len(digits) < ENOUGH:
        raise UsageError(f"{beginning!r} is too short, {ENOUGH} digits of the id are needed")
    found = await store.find_grants(db, digits)
    if not found:
        raise UsageError(f"nothing is recorded of a grant {beginning!r}, see: mcpserve grant list")
    if len(found) > 1:
        raise UsageError(f"more than one grant begins with {beginning!r}")
    return found[0]


def tell(
    events: Sequence[Recorded], now: datetime, *, moment: Moment, grant: Grant | None = None
) -> list[str]:
    """Return the story, line by line, oldest first; the last line is how things are ``now``.

    The ``grant``, as long as there is one, knows better than what is left of its events.
    """
    runs = [list(run) for _, run in groupby(events, key=_alike)]
    lines = [f"{moment(run[0].at)}  {_sentence(run, moment)}" for run in runs]
    state = _state_of(grant, moment) if grant else _state(events, now, moment)
    forgotten = [] if lines else ["Nothing is recorded of its life any more."]
    return [*forgotten, *lines, f"{moment(now)}  Now: {state}."]


def _alike(event: Recorded) -> tuple[str, datetime | None]:
    """Return what events in a row have in common that are told in one sentence."""
    alone = event.event == Event.GRANT_TOOLS_CHANGED
    return event.event, event.at if alone else None


def _sentence(run: Sequence[Recorded], moment: Moment) -> str:
    last = run[-1]
    rotated_at = last.details.get("rotated_at")
    withheld = ", ".join(map(printable, last.details.get("withheld_tools", ())))
    return _template(last).format(
        event=printable(last.event),
        client=_client(last),
        person=clean(last.details.get("user_name") or "somebody"),
        scopes=", ".join(map(printable, last.details.get("scopes", ()))),
        but_not=f", but not the tools {withheld}" if withheld else "",
        tools=f"all but {withheld}" if withheld else "all",
        host=printable(last.details.get("redirect_host", "")),
        rotated=moment(datetime.fromisoformat(rotated_at)) if rotated_at else "",
        by=_by(last),
        document="the preset's copy of its metadata document"
        if last.details.get("pinned")
        else "its metadata document",
        origin=_origin(run),
        times=f" {len(run)} times until {moment(last.at)}" if len(run) > 1 else "",
    )


def _template(event: Recorded) -> str:
    if event.details.get("automatically"):
        return "{person} was not asked: oauth.auto_approve allowed " + ALLOWED
    sentence = SENTENCES.get(event.event, "{event}{origin}.")
    return REVOKED.get(event.details.get("reason", ""), sentence)


def _state_of(grant: Grant, moment: Moment) -> str:
    if grant.ended_at:
        return f"{grant.state} since {moment(grant.ended_at)}"
    word = "active until" if grant.state == "active" else "expired at"
    return f"{word} {moment(grant.expires_at)}"


def _state(events: Sequence[Recorded], now: datetime, moment: Moment) -> str:
    for event in events:
        if event.event in ENDINGS:
            return f"{ENDINGS[event.event]} since {moment(event.at)}"
    for event in events:
        if event.event == Event.GRANT_STARTED:
            expires_at = datetime.fromisoformat(event.details["expires_at"])
            word = "active until" if expires_at > now else "expired at"
            return f"{word} {moment(expires_at)}"
    if events and events[-1].event == Event.CONSENT_GIVEN:
        return "no tokens were fetched"
    return "active, as far as is still recorded"


def _by(event: Recorded) -> str:
    if event.details.get("origin") == "config":
        return "from the configuration"
    if event.details.get("by") == "person":
        return "by the person"
    return f"by {printable(event.operator or 'an operator')}"


def _client(event: Recorded) -> str:
    name = clean(event.details.get("client_name", "")).replace('"', "'")
    return f'"{name}" ({printable(event.client_id or "")})'


def _origin(run: Sequence[Recorded]) -> str:
    """Say where it came from; a change is told, and where it came from last."""
    networks = [printable(event.network) for event in run if event.network]
    different = list(dict.fromkeys(networks))
    match different:
        case []:
            return ""
        case [only]:
            return f", from {only}"
        case _ if len(different) > FEW:
            return f", from {len(different)} networks, last from {networks[-1]}"
        case _:
            first = ", ".join(different[:-1])
            return f", from {first} and {different[-1]}, last from {networks[-1]}"

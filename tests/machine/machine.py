"""The state machine: everything that clients, people and operators do, in any order.

After every step the server must have answered as the model says, and the database must hold what
can be true at all. Two requests at once must end as one of the two orders would.
"""

import asyncio
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import httpx
from browser import Forms
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from machine.model import (
    ALL_SCOPES,
    CODE_LIFETIME,
    REUSE_WINDOW,
    Code,
    Exchange,
    Expected,
    Model,
    Operation,
    Revocation,
    Rotation,
)
from machine.model import Client as KnownClient
from machine.world import Person, World, answer_of, challenge, scope
from serving import PASSWORD, basic

SECRET = "a secret & nothing + else"
REDIRECT = "https://client.example/callback"
OTHER_REDIRECT = "https://client.example/other"
STEPS = (1, 5, 15, 45, 61, 901, 3600, 86400 + 5, 7 * 86400 + 5, 31 * 86400)
"""Seconds by which time moves on; none is so near a limit that the machine's own time matters."""

NOTHING_IMPOSSIBLE = """
    WITH mine AS (SELECT * FROM mcp_sessions WHERE client_id = ANY(%(clients)s))
    SELECT
        (SELECT count(*) FROM (
            SELECT session_id FROM oauth_refresh_tokens JOIN mine ON mine.id = session_id
            WHERE rotated_at IS NULL AND revoked_at IS NULL
            GROUP BY session_id HAVING count(*) > 1) x) AS two_live_refresh_tokens,
        (SELECT count(*) FROM oauth_refresh_tokens t JOIN mine ON mine.id = session_id
         WHERE mine.state <> 'active' AND t.revoked_at IS NULL) AS refresh_token_survives_grant,
        (SELECT count(*) FROM oauth_access_tokens t JOIN mine ON mine.id = session_id
         WHERE mine.state <> 'active' AND t.revoked_at IS NULL) AS access_token_survives_grant,
        (SELECT count(*) FROM oauth_access_tokens t JOIN mine ON mine.id = session_id
         WHERE NOT t.scopes <@ mine.scopes) AS wider_than_consented,
        (SELECT count(*) FROM mine WHERE resource <> %(resource)s) AS other_audience,
        (SELECT count(*) FROM (
            SELECT parent_id FROM oauth_refresh_tokens JOIN mine ON mine.id = session_id
            WHERE parent_id IS NOT NULL GROUP BY parent_id HAVING count(*) > 1) x) AS forks,
        (SELECT count(*) FROM (
            SELECT session_id FROM oauth_authorization_codes
            WHERE client_id = ANY(%(clients)s) AND session_id IS NOT NULL
            GROUP BY session_id HAVING count(*) > 1) x) AS grants_of_two_codes,
        (SELECT count(*) FROM oauth_refresh_tokens t JOIN mine ON mine.id = session_id
         WHERE t.salt IS NOT NULL AND EXISTS (
            SELECT FROM oauth_refresh_tokens child
            WHERE child.parent_id = t.id AND child.rotated_at IS NOT NULL)) AS salt_outlives_use
"""


@dataclass(frozen=True)
class Page:
    """A consent page that is open in a browser."""

    person: str
    client: str
    scopes: frozenset[str]
    verifier: str
    state: str
    redirect_uri: str
    form: tuple[tuple[str, str], ...]


FAULTS: dict[str, tuple[dict[str, str | None], str]] = {
    "unknown client": ({"client_id": "nobody"}, "page"),
    "no client": ({"client_id": None}, "page"),
    "foreign redirect": ({"redirect_uri": "https://evil.example/callback"}, "page"),
    "redirect with a slash more": ({"redirect_uri": f"{REDIRECT}/"}, "page"),
    "no redirect": ({"redirect_uri": None}, "page"),
    "response type": ({"response_type": "token"}, "unsupported_response_type"),
    "no response type": ({"response_type": None}, "invalid_request"),
    "plain challenge": ({"code_challenge_method": "plain"}, "invalid_request"),
    "no method": ({"code_challenge_method": None}, "invalid_request"),
    "no challenge": ({"code_challenge": None}, "invalid_request"),
    "unknown scope": ({"scope": "everything"}, "invalid_scope"),
    "foreign resource": ({"resource": "https://evil.example/mcp"}, "invalid_target"),
    "fragment mode": ({"response_mode": "fragment"}, "invalid_request"),
    "prompt none": ({"prompt": "none"}, "login_required consent_required"),
}

scopes_ = st.sets(st.sampled_from(sorted(ALL_SCOPES)), min_size=1).map(frozenset)


class Machine(RuleBasedStateMachine):
    """One example."""

    pages = Bundle("pages")
    codes = Bundle("codes")
    tokens = Bundle("tokens")
    clients = Bundle("clients")

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.model = Model()
        self.people: dict[str, Person] = {}
        self.redirects: dict[str, set[str]] = {}
        self.verifiers: dict[str, tuple[str, str]] = {}
        self.spent: list[str] = []

    @initialize(target=clients)
    def begin(self) -> Any:
        """Two people; a strict client, one with a window, one with a secret."""
        made = []
        for window, secret in ((0.0, None), (REUSE_WINDOW, None), (REUSE_WINDOW, SECRET)):
            settings: dict[str, Any] = {
                "redirect_uris": [REDIRECT, OTHER_REDIRECT],
                "refresh_reuse_window": f"{window:.0f}s",
            }
            if secret:
                settings["secret"] = secret
            client_id = self.world.run(self.world.add_client(**settings))
            self.model.clients[client_id] = KnownClient(client_id, window, secret)
            self.redirects[client_id] = {REDIRECT, OTHER_REDIRECT}
            made.append(client_id)
        for _ in range(2):
            name = self.world.run(self.world.add_person())
            self.people[name] = Person(self.world, name)
        self.world.secrets |= {PASSWORD, SECRET}
        return multiple(*made)

    # People

    @rule(target=pages, client=clients, who=st.integers(0, 1), scopes=scopes_, other=st.booleans())
    def open_a_page(self, client: str, who: int, scopes: frozenset[str], other: bool) -> Any:
        """Go to /authorize with a good request."""
        name = sorted(self.people)[who]
        redirect_uri = OTHER_REDIRECT if other else REDIRECT
        wanted = self.request(client, scope=scope(scopes), redirect_uri=redirect_uri)
        shown = self.world.run(self.people[name].open(wanted))
        if not self.model.clients[client].works or redirect_uri not in self.redirects[client]:
            assert shown.status_code == 400
            return multiple()
        if name in self.model.disabled_users:
            assert shown.status_code == 401
            return multiple()
        assert shown.status_code == 200, shown.text
        form = tuple(Forms(shown.text).forms[0]["fields"].items())
        verifier, state = self.verifiers[wanted["code_challenge"]][0], wanted["state"]
        return Page(name, client, scopes, verifier, state, redirect_uri, form)

    @rule(client=clients, who=st.integers(0, 1), fault=st.sampled_from(sorted(FAULTS)))
    def ask_wrongly(self, client: str, who: int, fault: str) -> None:
        """Go to /authorize with one fault; nothing ever leads to a place that is not registered."""
        changes, expected = FAULTS[fault]
        good = self.request(client) | changes
        wanted = {name: value for name, value in good.items() if value is not None}
        person = self.people[sorted(self.people)[who]]
        answer = self.world.run(person.send("GET", "/authorize", params=wanted))
        known = self.model.clients[client]
        enabled = known.works and REDIRECT in self.redirects[client]
        # Nobody vouched for a client that registered itself: the person decides where to go.
        if expected == "page" or not enabled or known.registered is not None:
            assert answer.status_code == 400
            assert "location" not in answer.headers
            return
        place, query = answer_of(answer.headers["location"])
        assert place == REDIRECT
        assert query["error"] in expected.split()
        assert (query["state"], query["iss"]) == (wanted["state"], self.issuer)

    @rule(target=codes, page=consumes(pages), decision=st.sampled_from(["approve", "deny", "x"]))
    def decide(self, page: Page, decision: str) -> Any:
        """Press a button, and then again: only the first press counts."""
        person = self.people[page.person]
        first = self.world.run(person.press(dict(page.form), decision))
        gone = not self.model.clients[page.client].works
        gone = gone or page.redirect_uri not in self.redirects[page.client]
        if first.status_code == 403 or gone or page.person in self.model.disabled_users:
            # Another login or logout made the form stale, or the request is void.
            assert first.status_code in (400, 403), first.text
            return multiple()
        if first.status_code == 400:
            # It waited for too long, or its browser was forgotten.
            return multiple()
        place, query = answer_of(first.headers["location"])
        assert place == page.redirect_uri
        assert (query["state"], query["iss"]) == (page.state, self.issuer)
        second = self.world.run(person.press(dict(page.form), "approve"))
        assert second.status_code == 400, second.text
        if decision != "approve":
            assert query["error"] == "access_denied"
            return multiple()
        code = query["code"]
        self.world.secrets.add(code)
        expires = self.world.now + CODE_LIFETIME
        self.model.codes[code] = Code(page.client, page.person, page.scopes, expires)
        self.verifiers[code] = (page.verifier, page.redirect_uri)
        return code

    @rule(page=pages)
    def log_out(self, page: Page) -> None:
        """Use another account: who pressed that is logged in no more, and the page is stale."""
        form = {name: value for name, value in page.form if name in ("request", "csrf")}
        answer = self.world.run(self.people[page.person].send("POST", "/logout", data=form))
        assert answer.status_code in (303, 400, 403), answer.text

    @rule(who=st.integers(0, 1))
    def leave_the_browser(self, who: int) -> None:
        """Use another browser: nothing of the old one works there."""
        self.people[sorted(self.people)[who]].leave()

    # Clients

    @rule(target=clients)
    def register(self) -> str:
        """Register a client, which goes when nobody logs in with it."""
        redirects = {REDIRECT, OTHER_REDIRECT}
        client_id: str = self.world.run(self.world.register(redirects))
        self.model.clients[client_id] = KnownClient(client_id, registered=self.world.now)
        self.redirects[client_id] = redirects
        return client_id

    @rule(target=tokens, client=clients, who=st.integers(0, 1), scopes=scopes_)
    def connect(self, client: str, who: int, scopes: frozenset[str]) -> Any:
        """Go all the way from /authorize to tokens, if nobody is disabled."""
        page = self.open_a_page(client, who, scopes, False)
        code = self.decide(page, "approve") if isinstance(page, Page) else None
        if not isinstance(code, str):
            return multiple()
        self.spent.append(code)
        return self.check(*self.exchange_of(code, ""))

    @precondition(lambda self: self.spent)
    @rule(target=tokens, number=st.integers(0, 10), fault=st.sampled_from(["", "", "verifier"]))
    def replay(self, number: int, fault: str) -> Any:
        """Present a code that was exchanged."""
        return self.check(*self.exchange_of(self.spent[-1 - number % len(self.spent)], fault))

    @rule(target=tokens, code=codes, fault=st.sampled_from(["", "", "", "verifier", "redirect"]))
    def exchange(self, code: str, fault: str) -> Any:
        """Exchange a code, of any age, by its own client."""
        return self.check(*self.exchange_of(code, fault))

    @rule(code=codes, thief=clients)
    def exchange_as_another(self, code: str, thief: str) -> None:
        """Present a code that may be another client's."""
        mine = self.model.codes.get(code)
        if mine is not None and mine.client != thief:
            self.check(*self.exchange_of(code, "", thief))

    @rule(target=tokens, token=tokens, scopes=st.none() | scopes_)
    def refresh(self, token: str, scopes: frozenset[str] | None) -> Any:
        """Present a token of any kind and age as a refresh token."""
        return self.check(*self.rotation_of(token, scopes))

    @precondition(lambda self: self.refreshes(rotated=False))
    @rule(target=tokens, number=st.integers(0, 10), scopes=st.none() | scopes_)
    def refresh_the_newest(self, number: int, scopes: frozenset[str] | None) -> Any:
        """Refresh as a client does that lost nothing."""
        newest = self.refreshes(rotated=False)
        return self.check(*self.rotation_of(newest[-1 - number % len(newest)], scopes))

    @precondition(lambda self: self.refreshes(rotated=True))
    @rule(target=tokens, number=st.integers(0, 10), scopes=st.none() | scopes_)
    def refresh_again(self, number: int, scopes: frozenset[str] | None) -> Any:
        """Present a token that was rotated: a lost answer, a retry, or a theft."""
        rotated = self.refreshes(rotated=True)
        return self.check(*self.rotation_of(rotated[-1 - number % len(rotated)], scopes))

    @rule(token=tokens, thief=clients)
    def refresh_as_another(self, token: str, thief: str) -> None:
        """Present a token that is another client's."""
        if self.client_of(token) != thief:
            self.check(*self.rotation_of(token, None, thief))

    @rule(token=tokens, client=st.none() | clients)
    def revoke(self, token: str, client: str | None) -> None:
        """Revoke a token, as its client or as another."""
        self.check(*self.revocation_of(token, client))

    @rule(
        target=tokens,
        one=tokens,
        other=tokens,
        revokes=st.booleans(),
        same=st.booleans(),
        code=st.none() | codes,
    )
    def at_once(self, one: str, other: str, revokes: bool, same: bool, code: str | None) -> Any:
        """Do two things at the same time; they must end as one after the other would."""
        first = self.exchange_of(code, "") if code else self.rotation_of(one, None)
        other = one if same else other
        second = self.revocation_of(other, None) if revokes else self.rotation_of(other, None)
        if code and same and not revokes:
            second = self.exchange_of(code, "")
        before = self.world.now

        async def both() -> list[httpx.Response]:
            return await asyncio.gather(first[1], second[1])

        answers = self.world.run(both())
        for order in ((0, 1), (1, 0)):
            model = deepcopy(self.model)
            operations = (first[0], second[0])
            found = [
                self.matches(model, model.apply(operations[number], before), answers[number])
                for number in order
            ]
            if all(tokens is not None for tokens in found):
                self.model = model
                return multiple(*(token for tokens in found for token in tokens or ()))
        raise AssertionError([(answer.status_code, answer.text) for answer in answers])

    @rule(token=tokens)
    def look(self, token: str) -> None:
        """Introspection and /mcp say of a token what the model says."""
        self.look_at(token)

    # Operators, and time

    @rule(seconds=st.sampled_from(STEPS))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.world.run(self.world.move_clock(seconds))

    @rule()
    def clean_up(self) -> None:
        """Run the cleanup job: it changes no answer but those past their deadline."""
        self.world.run(self.world.clean_up())
        self.model.clean_up(self.world.now)

    @rule()
    def restart(self) -> None:
        """Start a new server on the same database."""
        self.world.run(self.world.restart())

    @rule(client=clients)
    def toggle_client(self, client: str) -> None:
        """Disable a client, which ends its grants, or enable it."""
        known = self.model.clients[client]
        if known.gone:
            return
        self.world.run(self.world.set_client_disabled(client, disabled=known.enabled))
        known.enabled = not known.enabled
        if not known.enabled:
            self.model.end_all(self.world.now, client=client)

    @rule(who=st.integers(0, 1))
    def toggle_person(self, who: int) -> None:
        """Disable a person, which ends their grants, or enable them."""
        name = sorted(self.people)[who]
        disabled = name not in self.model.disabled_users
        self.world.run(self.world.set_person_disabled(name, disabled=disabled))
        self.model.disabled_users ^= {name}
        if disabled:
            self.model.end_all(self.world.now, user=name)

    @rule(client=clients)
    def change_redirects(self, client: str) -> None:
        """Take a redirect URI away, or give it back."""
        if self.model.clients[client].gone:
            return
        self.redirects[client] ^= {OTHER_REDIRECT}
        self.world.run(self.world.set_redirects(client, self.redirects[client]))

    # What must hold

    @invariant()
    def nothing_impossible_is_stored(self) -> None:
        """The tables cannot contradict themselves."""
        if not self.model.clients:
            return
        row = self.world.run(
            self.world.running.db.one(
                NOTHING_IMPOSSIBLE,
                clients=list(self.model.clients),
                resource=self.world.running.resource,
            )
        )
        assert not any(row), row

    def teardown(self) -> None:
        """At the end all tokens are looked at, and all that was logged."""
        for token in [*self.model.accesses, *self.model.refreshes]:
            self.look_at(token)
        logged = "\n".join(self.world.heard.lines)
        self.world.heard.lines.clear()
        leaked = [secret for secret in self.world.secrets if secret in logged]
        self.world.secrets.clear()
        assert leaked == []

    # Parts of the rules

    @property
    def issuer(self) -> str:
        """What every answer names."""
        return self.world.running.services.settings.server.issuer

    def request(self, client: str, **changes: str) -> dict[str, str]:
        """Return good parameters for /authorize."""
        verifier = self.world.name("verifier-").ljust(43, "v")
        state = self.world.name("state & so on")
        self.world.secrets.add(verifier)
        good = {
            "response_type": "code",
            "client_id": client,
            "redirect_uri": REDIRECT,
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
            "state": state,
            "resource": self.world.running.resource,
        } | changes
        self.verifiers[good["code_challenge"]] = (verifier, good["redirect_uri"])
        return good

    def credentials(self, client: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return the form fields and the headers by which a client authenticates."""
        secret = self.model.clients[client].secret
        return ({"client_id": client}, {}) if secret is None else ({}, basic(client, secret))

    def exchange_of(self, code: str, fault: str, client: str = "") -> tuple[Operation, Any]:
        """Return the exchange of a code, and the request for it."""
        known = self.model.codes.get(code)
        client = client or (known.client if known else next(iter(self.model.clients)))
        verifier, redirect_uri = self.verifiers[code]
        fields, headers = self.credentials(client)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": verifier[::-1] if fault == "verifier" else verifier,
            "redirect_uri": f"{redirect_uri}/" if fault == "redirect" else redirect_uri,
            **fields,
        }
        return Exchange(code, client, not fault), self.world.post("/token", form, headers)

    def rotation_of(
        self, token: str, scopes: frozenset[str] | None, client: str = ""
    ) -> tuple[Operation, Any]:
        """Return the refresh with a token, and the request for it."""
        client = client or self.client_of(token)
        fields, headers = self.credentials(client)
        form = {
            "grant_type": "refresh_token",
            "refresh_token": token,
            "scope": scope(scopes) if scopes else None,
            **fields,
        }
        return Rotation(token, client, scopes), self.world.post("/token", form, headers)

    def revocation_of(self, token: str, client: str | None) -> tuple[Operation, Any]:
        """Return the revocation of a token, and the request for it."""
        client = client or self.client_of(token)
        fields, headers = self.credentials(client)
        request = self.world.post("/revoke", {"token": token, **fields}, headers)
        return Revocation(token, client), request

    def refreshes(self, *, rotated: bool) -> list[str]:
        """Return the refresh tokens of grants that are active."""
        return [
            token
            for token, refresh in self.model.refreshes.items()
            if (refresh.rotated is not None) is rotated and refresh.grant.state == "active"
        ]

    def client_of(self, token: str) -> str:
        """Return whose token it is; anybody's, if the server forgot it."""
        owner = self.model.refreshes.get(token) or self.model.accesses.get(token)
        return owner.grant.client if owner else next(iter(self.model.clients))

    def check(self, operation: Operation, request: Any) -> Any:
        """Send a request and compare; return the tokens that are new."""
        answer = self.world.run(request)
        states = sum(grant.state == "compromised" for grant in self.model.grants())
        expected = self.model.apply(operation, self.world.now)
        if sum(grant.state == "compromised" for grant in self.model.grants()) > states:
            event(f"{type(operation).__name__} compromises")
        event(f"{type(operation).__name__}: {expected.kind}")
        found = self.matches(self.model, expected, answer)
        assert found is not None, (operation, expected, answer.status_code, answer.text)
        return multiple(*found)

    def matches(
        self, model: Model, expected: Expected, answer: httpx.Response
    ) -> tuple[str, ...] | None:
        """Return the tokens of an answer if it is the expected one."""
        if expected.kind == "revoked":
            return () if answer.status_code == 200 and not answer.content else None
        told = answer.json() if answer.content else {}
        if expected.kind != "tokens":
            return () if told.get("error") == expected.kind else None
        if answer.status_code != 200 or expected.access is None:
            return None
        pair = (told["access_token"], told["refresh_token"])
        if told["scope"] != scope(expected.access.scopes) or not model.bind(expected, pair):
            return None
        assert told["token_type"] == "Bearer"
        assert 0 <= told["expires_in"] <= 900
        self.world.secrets |= set(pair)
        return pair

    def look_at(self, token: str) -> None:
        """Compare what the server says of a token with what the model says."""
        alive = self.model.alive(token, self.world.now)
        access = self.model.accesses.get(token)
        told = self.world.run(self.world.introspect(token))
        if access is None:
            # Refresh tokens are told to their own client only, and /mcp takes none.
            assert told == {"active": False}
            assert self.world.run(self.world.call_mcp(token)) == 401
            return
        assert told["active"] is (alive is not None)
        works = 200 if alive and "mcp.tools.call" in access.scopes else 401
        status = self.world.run(self.world.call_mcp(token))
        assert status == works or (alive and status in (200, 403)), (status, told)
        if alive:
            assert told["scope"] == scope(access.scopes)
            assert told["aud"] == self.world.running.resource
            assert told["client_id"] == access.grant.client

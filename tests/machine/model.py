"""What the server should answer: the rules of grants and tokens, as plain Python objects.

Nothing here knows the server. Times are seconds of one clock, which the world can move on.
"""

from dataclasses import dataclass, field

CODE_LIFETIME = 60.0
DOUBLE_FIRE = 10.0
MAX_CODE_FAILURES = 5
ACCESS_LIFETIME = 900.0
GRANT_LIFETIME = 30 * 86400.0
REUSE_WINDOW = 60.0
KEPT_ACCESS = 86400.0
KEPT_GRANT = 7 * 86400.0
UNUSED_CLIENT = 86400.0
IDLE_CLIENT = 90 * 86400.0

ALL_SCOPES = frozenset({"mcp.tools.call", "offline_access", "extra"})


@dataclass
class Client:
    """A client; with a window its lost answers may be asked for again."""

    id: str
    window: float = 0.0
    secret: str | None = None
    enabled: bool = True
    registered: float | None = None
    """When it registered itself, if it did; such clients go when nobody uses them."""
    used: float | None = None
    gone: bool = False

    @property
    def works(self) -> bool:
        """Whether it may do anything."""
        return self.enabled and not self.gone


@dataclass
class Grant:
    """What a person allowed a client."""

    client: str
    user: str
    scopes: frozenset[str]
    expires: float
    state: str = "active"
    ended: float | None = None

    def over(self) -> float:
        """Return when it was or will be over."""
        return self.expires if self.ended is None else min(self.ended, self.expires)


@dataclass
class Code:
    """An authorization code."""

    client: str
    user: str
    scopes: frozenset[str]
    expires: float
    failures: int = 0
    used: float | None = None
    grant: Grant | None = None


@dataclass
class Access:
    """An access token."""

    grant: Grant
    scopes: frozenset[str]
    expires: float
    revoked: float | None = None


@dataclass
class Refresh:
    """A refresh token, and what it was answered with."""

    grant: Grant
    rotated: float | None = None
    reusable_until: float = 0.0
    successor: "Refresh | None" = None
    answered: Access | None = None


@dataclass(frozen=True)
class Exchange:
    """A code is presented."""

    code: str
    client: str
    proves: bool
    """Verifier and redirect URI are right."""


@dataclass(frozen=True)
class Rotation:
    """A refresh token is presented."""

    token: str
    client: str
    scopes: frozenset[str] | None


@dataclass(frozen=True)
class Revocation:
    """A token of any kind is revoked by a client."""

    token: str
    client: str


Operation = Exchange | Rotation | Revocation


@dataclass
class Expected:
    """What is answered; with tokens, which ones, by their records."""

    kind: str
    refresh: Refresh | None = None
    access: Access | None = None


REFUSED = Expected("invalid_grant")


@dataclass
class Model:
    """Everything that decides an answer."""

    clients: dict[str, Client] = field(default_factory=dict)
    disabled_users: set[str] = field(default_factory=set)
    codes: dict[str, Code] = field(default_factory=dict)
    refreshes: dict[str, Refresh] = field(default_factory=dict)
    accesses: dict[str, Access] = field(default_factory=dict)

    def apply(self, operation: Operation, now: float) -> Expected:
        """Do what is asked and return what the answer must be."""
        if not self.clients[operation.client].works:
            return Expected("invalid_client")
        match operation:
            case Exchange():
                return self.exchange(operation, now)
            case Rotation():
                return self.rotate(operation, now)
            case Revocation():
                return self.revoke(operation, now)

    def bind(self, expected: Expected, answer: tuple[str, str]) -> bool:
        """Learn the values of new tokens; known ones must be answered again."""
        access, refresh = answer
        if expected.access is None or expected.refresh is None:
            return False
        if refresh in self.refreshes or access in self.accesses:
            known = (self.accesses.get(access), self.refreshes.get(refresh))
            return known[0] is expected.access and known[1] is expected.refresh
        if any(record is expected.refresh for record in self.refreshes.values()):
            return False
        self.refreshes[refresh] = expected.refresh
        self.accesses[access] = expected.access
        return True

    def exchange(self, operation: Exchange, now: float) -> Expected:
        """RFC 6749 §4.1.3: once, by its own client, with the verifier."""
        code = self.codes.get(operation.code)
        if code is None or code.client != operation.client:
            return REFUSED
        if not operation.proves:
            code.failures += 1
            return REFUSED
        if code.grant is not None and code.used is not None:
            if now - code.used > DOUBLE_FIRE:
                self.end(code.grant, "compromised", now)
            return REFUSED
        dead = code.failures >= MAX_CODE_FAILURES or code.user in self.disabled_users
        if now >= code.expires or dead:
            return REFUSED
        grant = Grant(code.client, code.user, code.scopes, now + GRANT_LIFETIME)
        code.used, code.grant = now, grant
        self.clients[code.client].used = now
        return self.issue(grant, code.scopes, now)

    def rotate(self, operation: Rotation, now: float) -> Expected:
        """OAuth 2.1 §4.3.1: a token is used once, or repeated inside the window."""
        token = self.refreshes.get(operation.token)
        if token is None or token.grant.client != operation.client:
            return REFUSED
        if token.grant.state != "active" or now >= token.grant.expires:
            return REFUSED
        wanted = operation.scopes or token.grant.scopes
        if token.rotated is None:
            if not wanted <= token.grant.scopes:
                return Expected("invalid_scope")
            window = self.clients[operation.client].window
            token.rotated, token.reusable_until = now, now + window
            answer = self.issue(token.grant, wanted, now)
            token.successor, token.answered = answer.refresh, answer.access
            return answer
        unused = token.successor is not None and token.successor.rotated is None
        if now < token.reusable_until and unused:
            if not wanted <= token.grant.scopes:
                return Expected("invalid_scope")
            answered = token.answered
            if answered is not None and answered.scopes == wanted and answered.revoked is None:
                return Expected("tokens", token.successor, answered)
        self.end(token.grant, "compromised", now)
        return REFUSED

    def revoke(self, operation: Revocation, now: float) -> Expected:
        """RFC 7009: a refresh token ends its grant, an access token ends alone."""
        refresh = self.refreshes.get(operation.token)
        access = self.accesses.get(operation.token)
        owner = refresh or access
        if owner is None:
            return Expected("revoked")
        if owner.grant.client != operation.client:
            return REFUSED
        if refresh is not None:
            self.end(refresh.grant, "revoked", now)
        elif access is not None and access.revoked is None:
            access.revoked = now
        return Expected("revoked")

    def issue(self, grant: Grant, scopes: frozenset[str], now: float) -> Expected:
        """Return a new pair."""
        expires = min(now + ACCESS_LIFETIME, grant.expires)
        return Expected("tokens", Refresh(grant), Access(grant, scopes, expires))

    def end(self, grant: Grant, state: str, now: float) -> None:
        """End a grant and all its tokens; one that has ended keeps its state."""
        if grant.state != "active":
            return
        grant.state, grant.ended = state, now
        for access in self.accesses.values():
            if access.grant is grant and access.revoked is None:
                access.revoked = now

    def end_all(self, now: float, *, client: str | None = None, user: str | None = None) -> None:
        """End the grants of a client or a user."""
        for grant in self.grants():
            if client in (None, grant.client) and user in (None, grant.user):
                self.end(grant, "revoked", now)

    def grants(self) -> list[Grant]:
        """Return every grant, once."""
        found = [token.grant for token in self.refreshes.values()]
        return list({id(grant): grant for grant in found}.values())

    def alive(self, token: str, now: float) -> Access | Refresh | None:
        """Return the token if it still works."""
        access, refresh = self.accesses.get(token), self.refreshes.get(token)
        owner = access or refresh
        if owner is None or owner.grant.state != "active" or now >= owner.grant.expires:
            return None
        if access is not None:
            return None if access.revoked is not None or now >= access.expires else access
        return None if refresh is None or refresh.rotated is not None else refresh

    def clean_up(self, now: float) -> None:
        """Forget what is past its deadline; everything else must go on answering the same."""
        for value, code in list(self.codes.items()):
            unused = code.grant is None and now > code.expires
            spent = code.grant is not None and now > code.grant.over() + KEPT_GRANT
            if unused or spent:
                del self.codes[value]
        for token, refresh in list(self.refreshes.items()):
            if now > refresh.grant.over() + KEPT_GRANT:
                del self.refreshes[token]
        for token, access in list(self.accesses.items()):
            dead = min(access.expires, access.expires if access.revoked is None else access.revoked)
            if now > dead + KEPT_ACCESS or now > access.grant.over() + KEPT_GRANT:
                del self.accesses[token]
        held = {owner.grant.client for owner in [*self.refreshes.values(), *self.accesses.values()]}
        for client in self.clients.values():
            if client.registered is None or not client.enabled or client.id in held:
                continue
            unused = client.used is None and now > client.registered + UNUSED_CLIENT
            idle = client.used is not None and now > client.used + IDLE_CLIENT
            client.gone = client.gone or unused or idle

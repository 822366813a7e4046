"""Scopes: which exist, what they mean to a person, and what a request asks for."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from mcpserve.errors import ConfigError, InvalidScope
from mcpserve.setting_types import SCOPE
from mcpserve.tools import CALL_SCOPE

OFFLINE_ACCESS = "offline_access"

OPENID = "openid"
PROFILE = "profile"
EMAIL = "email"

IDENTITY = {
    OPENID: "Recognize you by the id of your account",
    PROFILE: "Know your name",
    EMAIL: "Know your e-mail address",
}
"""Who the person is (OpenID Connect Core §5.4): for UserInfo, and for tools that ask."""

BUILT_IN = IDENTITY | {
    CALL_SCOPE: "Use the tools and data of this server on your behalf",
    OFFLINE_ACCESS: "Stay connected while you are away",
}

LEFT_OUT = frozenset({"address", "phone"})
"""Asked for out of habit; nothing is known here that they would open, so they are left out."""


@dataclass(frozen=True)
class Scopes:
    """The scopes of this server: name to text."""

    texts: Mapping[str, str]
    implied: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """What a scope includes beside itself, all the way down."""

    @classmethod
    def of(
        cls,
        configured: Mapping[str, str],
        needed: Iterable[str],
        implies: Mapping[str, Iterable[str]] | None = None,
    ) -> "Scopes":
        """Put together what is built in, what plugins need, and the operator's own words.

        Raises :class:`~mcpserve.errors.ConfigError` for a hierarchy with an unknown scope or a
        circle.
        """
        named = {scope: f"Use tools and data that need {scope}" for scope in needed}
        texts = named | BUILT_IN | dict(configured)
        return cls(texts, closure(implies or {}, texts.keys()))

    def effective(self, scopes: frozenset[str]) -> frozenset[str]:
        """Return these scopes with all that they include: what a principal is judged by.

        Never what is stored, shown or told: that is what the person granted.
        """
        return scopes.union(*(self.implied.get(scope, ()) for scope in scopes))

    @property
    def default(self) -> frozenset[str]:
        """What a client gets that has no usual scopes, and what a challenge asks for."""
        return frozenset({CALL_SCOPE})

    def usual(self, *candidates: Iterable[str]) -> frozenset[str]:
        """Return what is known here of the first of these that names some access, or the default.

        See :func:`names_no_access`.
        """
        known = (frozenset(scopes) & self.texts.keys() for scopes in candidates)
        return next((scopes for scopes in known if not names_no_access(scopes)), self.default)

    def as_last_time(self, granted: frozenset[str], asked: frozenset[str]) -> frozenset[str]:
        """Return what a request that named no access gets from who granted something before.

        That, as far as it is known here; but who the person is only as asked, if that was asked.
        """
        usual = self.usual(granted, asked)
        if asked & IDENTITY.keys():
            usual -= IDENTITY.keys()
        return usual | beside_access(asked)

    def parse(self, scope: str | None) -> frozenset[str]:
        """Return what a ``scope`` parameter asks for.

        Raises :class:`~mcpserve.errors.InvalidScope` for a malformed or unknown scope.
        """
        asked = split(scope or "") - LEFT_OUT
        if not asked <= self.texts.keys():
            raise InvalidScope("a requested scope is not known here")
        return asked


def closure(
    implies: Mapping[str, Iterable[str]], known: Collection[str]
) -> dict[str, frozenset[str]]:
    """Return what each scope includes beside itself, directly or through others.

    Raises :class:`~mcpserve.errors.ConfigError` with the key path of an unknown scope, of a circle,
    and of what a person would be known by without being asked.
    """
    direct = {broad: frozenset(narrow) for broad, narrow in implies.items()}
    for broad, narrow in direct.items():
        if unknown := sorted(({broad} | narrow) - set(known)):
            raise ConfigError(
                f"oauth.scope_implies.{broad}: {unknown[0]!r} is not known here; "
                "no plugin needs it and it is not in oauth.scopes"
            )
        if identity := sorted(narrow & IDENTITY.keys()):
            raise ConfigError(
                f"oauth.scope_implies.{broad}: {identity[0]!r} cannot be included; "
                "who a person is, is told only if they are asked for it by name"
            )
    included = dict(direct)
    for _ in direct:  # A chain has no more links than there are keys.
        included = {
            broad: narrow.union(*(direct.get(scope, ()) for scope in narrow))
            for broad, narrow in included.items()
        }
    for broad, narrow in included.items():
        if broad in narrow:
            raise ConfigError(f"oauth.scope_implies.{broad}: it includes itself")
    return included


def split(scope: str) -> frozenset[str]:
    """Split a ``scope`` parameter (RFC 6749 §3.3). Raises ``InvalidScope`` if it is malformed."""
    tokens = scope.split(" ") if scope else []
    if not all(SCOPE.fullmatch(token) for token in tokens):
        raise InvalidScope("scope must be words of printable ASCII with single spaces between")
    return frozenset(tokens)


def names_no_access(scopes: frozenset[str]) -> bool:
    """Whether scopes, if any, tell only who the person is: then the usual ones are meant as well.

    Many clients ask for ``openid profile email offline_access`` whatever the server is.
    """
    return scopes - IDENTITY.keys() <= {OFFLINE_ACCESS} and scopes != {OFFLINE_ACCESS}


def beside_access(scopes: frozenset[str]) -> frozenset[str]:
    """Return those of the scopes that open nothing that plugins offer."""
    return scopes & {*IDENTITY, OFFLINE_ACCESS}


def narrowed(granted: frozenset[str], scope: str | None) -> frozenset[str]:
    """Return what a refresh asks for: the granted scopes or some of them (OAuth 2.1 §4.3.1).

    Raises :class:`~mcpserve.errors.InvalidScope` for more than was granted. What tells who the
    person is, is left out silently instead: a client may ask for it in every request and have been
    granted something before it existed here.
    """
    asked = split(scope or "") - LEFT_OUT
    if not asked - IDENTITY.keys() <= granted:
        raise InvalidScope("a requested scope was not granted")
    if not asked:
        return granted
    access = granted - beside_access(granted) if names_no_access(asked) else frozenset()
    return asked & granted | access


def join(scopes: Iterable[str]) -> str:
    """Return the ``scope`` parameter of these scopes, always in the same order."""
    return " ".join(sorted(scopes))

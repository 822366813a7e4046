"""Scopes: which exist, what they mean to a person, and what a request asks for."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from mcpserve.errors import ConfigError, InvalidScope
from mcpserve.setting_types import SCOPE
from mcpserve.tools import CALL_SCOPE

OFFLINE_ACCESS = "offline_access"

BUILT_IN = {
    CALL_SCOPE: "Use the tools and data of this server on your behalf",
    OFFLINE_ACCESS: "Stay connected while you are away",
}

OPENID_SCOPES = frozenset({"openid", "profile", "email", "address", "phone"})
"""Asked for out of habit by clients of every kind; nothing here, so they are left out silently."""


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
        """Return what is known here of the first of these of which something is, or the default."""
        known = (frozenset(scopes) & self.texts.keys() for scopes in candidates)
        return next(filter(None, known), self.default)

    def parse(self, scope: str | None) -> frozenset[str]:
        """Return what a ``scope`` parameter asks for; nothing means what is usual.

        Raises :class:`~mcpserve.errors.InvalidScope` for a malformed or unknown scope.
        """
        asked = split(scope or "") - OPENID_SCOPES
        if not asked <= self.texts.keys():
            raise InvalidScope("a requested scope is not known here")
        return asked


def closure(
    implies: Mapping[str, Iterable[str]], known: Collection[str]
) -> dict[str, frozenset[str]]:
    """Return what each scope includes beside itself, directly or through others.

    Raises :class:`~mcpserve.errors.ConfigError` with the key path of an unknown scope or a circle.
    """
    direct = {broad: frozenset(narrow) for broad, narrow in implies.items()}
    for broad, narrow in direct.items():
        if unknown := sorted(({broad} | narrow) - set(known)):
            raise ConfigError(
                f"oauth.scope_implies.{broad}: {unknown[0]!r} is not known here; "
                "no plugin needs it and it is not in oauth.scopes"
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


def narrowed(granted: frozenset[str], scope: str | None) -> frozenset[str]:
    """Return what a refresh asks for: the granted scopes or some of them (OAuth 2.1 §4.3.1).

    Raises :class:`~mcpserve.errors.InvalidScope` for more than was granted.
    """
    asked = split(scope or "") - OPENID_SCOPES
    if not asked <= granted:
        raise InvalidScope("a requested scope was not granted")
    return asked or granted


def join(scopes: Iterable[str]) -> str:
    """Return the ``scope`` parameter of these scopes, always in the same order."""
    return " ".join(sorted(scopes))

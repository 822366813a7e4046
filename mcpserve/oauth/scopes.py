"""Scopes: which exist, what they mean to a person, and what a request asks for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mcpserve.errors import InvalidScope
from mcpserve.settings import SCOPE
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

    @classmethod
    def of(cls, configured: Mapping[str, str], needed: Iterable[str]) -> "Scopes":
        """Put together what is built in, what plugins need, and the operator's own words."""
        named = {scope: f"Use tools and data that need {scope}" for scope in needed}
        return cls(named | BUILT_IN | dict(configured))

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

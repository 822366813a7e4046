"""Who calls: the result of authentication, and all that a plugin learns about the caller."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Principal:
    """The client, the person behind it, and what the token allows."""

    client_id: str
    subject: str
    scopes: frozenset[str]
    """Those of the token and, once it is judged, all that these include."""
    withheld: frozenset[str] = frozenset()
    """Names of tools that the person did not allow this client, whatever the scopes."""

    @property
    def anonymous(self) -> bool:
        """Whether nobody is logged in; then no two callers can be told apart."""
        return not self.subject

    def judged_by(self, scopes: frozenset[str]) -> "Principal":
        """Return the same caller with other scopes."""
        return Principal(self.client_id, self.subject, scopes, self.withheld)


@dataclass(frozen=True)
class User:
    """The person behind a caller, as far as they let the client know them."""

    id: str
    """Opaque, stable, and never given to anybody else: the caller's ``subject``."""
    name: str | None = None
    """What they log in with; told with the scope ``profile``."""
    email: str | None = None
    """Told with the scope ``email``, if they have one."""
    email_verified: bool = False
    """Whether the operator vouches for the address."""


ANONYMOUS = Principal("", "", frozenset())
"""Whoever uses what the operator opened, and sent no token."""

"""Who calls: the result of authentication, and all that a plugin learns about the caller."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Principal:
    """The client, the person behind it, and what the token allows."""

    client_id: str
    subject: str
    scopes: frozenset[str]
    """Those of the token and, once it is judged, all that these include."""

"""Strict parsing of query strings and ``application/x-www-form-urlencoded`` bodies.

Values are used byte for byte: nothing is trimmed, merged or repaired. A parameter that is there
twice, an undecodable byte or a control character is refused instead.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from mcpserve.errors import InvalidRequest

MAX_FIELDS = 100
FORM = "application/x-www-form-urlencoded"
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
SECRETS = (
    "client_secret",
    "client_assertion",
    "code",
    "code_verifier",
    "refresh_token",
    "token",
    "password",
)
"""Parameters that must not travel in a URL (OAuth 2.1 §2.4.1)."""


@dataclass(frozen=True)
class Parameters:
    """Decoded parameters, in every occurrence."""

    values: Mapping[str, tuple[str, ...]]

    def one(self, name: str) -> str | None:
        """Return the value, ``None`` if absent or empty (OAuth 2.1 §3.1).

        Raises :class:`~mcpserve.errors.InvalidRequest` if it is there twice, even if equal.
        """
        values = self.values.get(name, ())
        if len(values) > 1:
            raise InvalidRequest(f"{name} is there more than once")
        return values[0] or None if values else None

    def required(self, name: str) -> str:
        """Return the value. Raises :class:`~mcpserve.errors.InvalidRequest` if there is none."""
        value = self.one(name)
        if value is None:
            raise InvalidRequest(f"{name} is missing")
        return value

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value that is not empty; for ``resource``, which may repeat (RFC 8707)."""
        return tuple(value for value in self.values.get(name, ()) if value)

    def require_single(self, *names: str) -> None:
        """Raise :class:`~mcpserve.errors.InvalidRequest` if one of these is there twice."""
        for name in names:
            self.one(name)


def parse(encoded: str, *, max_fields: int = MAX_FIELDS) -> Parameters:
    """Decode a query string or a form body.

    Raises :class:`~mcpserve.errors.InvalidRequest` for bad escapes, bytes that are not UTF-8,
    control characters, and too many fields.
    """
    if BAD_ESCAPE.search(encoded):
        raise InvalidRequest("a percent escape is malformed")
    try:
        pairs = parse_qsl(
            encoded, keep_blank_values=True, max_num_fields=max_fields, errors="strict"
        )
    except UnicodeDecodeError:
        raise InvalidRequest("a parameter is not UTF-8") from None
    except ValueError:
        raise InvalidRequest("there are too many parameters") from None
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        if any(unicodedata.category(character) == "Cc" for character in name + value):
            raise InvalidRequest("a parameter contains a control character")
        values.setdefault(name, []).append(value)
    return Parameters({name: tuple(given) for name, given in values.items()})


def parse_form(
    content_type: str, body: bytes, *, query: str = "", max_fields: int = MAX_FIELDS
) -> Parameters:
    """Decode the body of a POST.

    The media type may be written in any case and carry parameters, but must be the form's. Raises
    :class:`~mcpserve.errors.InvalidRequest`, also for a secret in the query string.
    """
    if content_type.partition(";")[0].strip().lower() != FORM:
        raise InvalidRequest(f"the body must be {FORM}")
    if any(name in parse(query).values for name in SECRETS):
        raise InvalidRequest("secrets belong in the body, not in the URL")
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidRequest("the body must be percent-encoded") from None
    return parse(text, max_fields=max_fields)


@dataclass(frozen=True)
class TokenForm:
    """A request to ``/token`` (OAuth 2.1 §3.2.2)."""

    grant_type: str
    code: str | None
    code_verifier: str | None
    redirect_uri: str | None
    refresh_token: str | None
    scope: str | None
    resources: tuple[str, ...]

    @classmethod
    def of(cls, parameters: Parameters) -> "TokenForm":
        """Read the form. Raises :class:`~mcpserve.errors.InvalidRequest`."""
        return cls(
            grant_type=parameters.required("grant_type"),
            code=parameters.one("code"),
            code_verifier=parameters.one("code_verifier"),
            redirect_uri=parameters.one("redirect_uri"),
            refresh_token=parameters.one("refresh_token"),
            scope=parameters.one("scope"),
            resources=parameters.all("resource"),
        )

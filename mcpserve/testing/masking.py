"""Takes secrets out of what is recorded: by their names, and wherever their values come back."""

import json
import re
from base64 import b64decode
from binascii import Error
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlencode, urlsplit, urlunsplit

MASKED = "***"

SECRET = re.compile(
    r"(?:^|[_-])(?:(?:api|access|private|subscription)[_-]?key|token|secret|password"
    r"|passwd|authorization|credentials?|jwt|session[_-]?id|signature)$",
    re.IGNORECASE,
)
"""Names of fields that hold secrets; camelCase is read as camel_case."""

SECRET_PARAMETERS = frozenset({"app_id", "appid", "auth", "code", "key", "pwd", "sid", "sig"})
"""Names that hold secrets in a query or a form, and often something else in JSON."""

SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})

SHORTEST = 6
"""Characters of a secret that is looked for elsewhere; what is shorter would be found by chance."""


@dataclass(frozen=True)
class Mask:
    """What is secret: by name, and the values that are known."""

    names: frozenset[str] = frozenset()
    """More names, in lower case."""
    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """Return one that knows these names, too."""
        return cls(frozenset(name.lower() for name in names))

    def knowing(self, request: Any) -> "Mask":
        """Return one that also knows the values of the secrets of this request."""
        found = set(self.values)
        for name, value in request.headers.items():
            if name in SECRET_HEADERS or self.hides(name):
                found |= {value, *re.split(r"[\s;=,]+", value), *basic(value)}
        query = urlsplit(str(request.url)).query
        found |= {value for name, value in parse_qsl(query) if self.hides_parameter(name)}
        found |= {unquote(part) for part in (request.url.username, request.url.password)}
        long = {value for value in found if len(value) >= SHORTEST}
        spelled = long | {quote(value, safe="") for value in long} | {quote_plus(v) for v in long}
        return replace(self, values=tuple(sorted(spelled, key=len, reverse=True)))

    def hides(self, name: str) -> bool:
        """Whether a field or header of this name holds a secret."""
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
        return name.lower() in self.names or bool(SECRET.search(words))

    def hides_parameter(self, name: str) -> bool:
        """Whether a parameter of this name holds a secret, in a query or a form."""
        return name.lower() in SECRET_PARAMETERS or self.hides(name)

    def text(self, text: str) -> str:
        """Mask the known values, and the secrets among the fields if it is JSON."""
        text = self.values_in(text)
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            return text
        masked = self.json(parsed)
        return text if masked == parsed else json.dumps(masked, ensure_ascii=False)

    def json(self, value: Any) -> Any:
        """Mask the fields that have the name of a secret, and a text for a value."""
        match value:
            case dict():
                return {
                    name: MASKED if isinstance(item, str) and self.hides(name) else self.json(item)
                    for name, item in value.items()
                }
            case list():
                return [self.json(item) for item in value]
        return value

    def url(self, url: str) -> str:
        """Mask the secrets of a URL; a user and password in it go away."""
        parts = urlsplit(url)
        query = self.form(parts.query) if parts.query else ""
        host = parts.netloc.rpartition("@")[2]
        path, fragment = self.values_in(parts.path), self.values_in(parts.fragment)
        return urlunsplit((parts.scheme, host, path, query, fragment))

    def values_in(self, text: str) -> str:
        """Mask the known values only."""
        for value in self.values:
            text = text.replace(value, MASKED)
        return text

    def form(self, encoded: str) -> str:
        """Mask the secrets of a query or a form."""
        pairs = parse_qsl(encoded, keep_blank_values=True)
        masked = [
            (name, MASKED if self.hides_parameter(name) else self.values_in(value))
            for name, value in pairs
        ]
        return urlencode(masked, safe="*/:,@")

    def body(self, content: bytes, content_type: str) -> str:
        """Mask the secrets of the body of a request; one that is no text is told by its length."""
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return f"{len(content)} bytes"
        if content_type.startswith("application/x-www-form-urlencoded"):
            return self.form(text)
        return self.text(text)


def basic(header: str) -> list[str]:
    """Return user and password of ``Authorization: Basic …`` (RFC 7617)."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return []
    try:
        return b64decode(encoded).decode().split(":", 1)
    except (Error, UnicodeDecodeError):
        return []

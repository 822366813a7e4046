"""Redirect URIs: which may be registered, and which of them a request meant.

They are compared as strings. Parsing serves the loopback rule and registration only, because
every normalisation makes two strings equal that the client did not mean to be.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

LOOPBACK = re.compile(
    r"(?P<origin>http://(?:127\.0\.0\.1|\[::1\]|localhost))(?::(?P<port>[0-9]{1,5}))?(?P<rest>[/?].*)?"
)
UNSAFE_SCHEMES = frozenset({"javascript", "data", "vbscript", "file", "about", "blob", "ws", "wss"})
EDITOR_SCHEMES = frozenset({"cursor", "vscode", "vscode-insiders", "windsurf", "zed"})
"""Private-use schemes without a dot that well-known clients really register."""
MAX_LENGTH = 2000
CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
OURS = frozenset({"code", "state", "iss", "error", "error_description", "error_uri"})
"""What answers carry: a client must not find it in its own URI."""


def matches(requested: str, registered: str) -> bool:
    """Whether a request may be answered at ``requested`` because ``registered`` is allowed.

    Equal strings; for http on a loopback host the port may differ (OAuth 2.1 §8.4.2).
    ``localhost`` is not ``127.0.0.1``.
    """
    if requested == registered:
        return True
    asked, known = LOOPBACK.fullmatch(requested), LOOPBACK.fullmatch(registered)
    if asked is None or known is None or not 0 < int(asked["port"] or 80) < 65536:
        return False
    return asked.group("origin", "rest") == known.group("origin", "rest")


def without_port(uri: str) -> str:
    """Return a loopback URI without its port, and any other as it is."""
    loopback = LOOPBACK.fullmatch(uri)
    return loopback["origin"] + (loopback["rest"] or "") if loopback else uri


def is_registered(requested: str, registered: Iterable[str]) -> bool:
    """Whether one of the registered URIs matches."""
    return any(matches(requested, uri) for uri in registered)


def problem(uri: str) -> str | None:
    """Say why a URI must not be registered; ``None`` if it may be.

    https anywhere, http on a loopback host, or a private-use scheme with a dot (OAuth 2.1 §8.4.3);
    editors that ignore this rule are named.
    """
    if len(uri) > MAX_LENGTH or not CHARACTERS.fullmatch(uri):
        return "must be at most 2000 characters of RFC 3986, the others percent-encoded"
    try:
        parts = urlsplit(uri)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        return "is not a URI"
    names = {unquote(pair.partition("=")[0]) for pair in parts.query.split("&")}
    if "#" in uri or parts.username is not None or OURS & names:
        return "must have no fragment, no user name and no parameter that answers have"
    if not parts.scheme or parts.scheme in UNSAFE_SCHEMES:
        return "must be an absolute URI of a safe scheme"
    if parts.scheme in ("http", "https"):
        if not HOST.fullmatch(parts.netloc) or not port_is_fine:
            return (
                "must have a host of letters, digits, dots and hyphens, and a port above 0 if any"
            )
        if parts.scheme == "http" and not LOOPBACK.fullmatch(uri):
            return "must be https unless its host is 127.0.0.1, [::1] or localhost"
        return None
    if "." not in parts.scheme and parts.scheme not in EDITOR_SCHEMES:
        return "of a private scheme must have a dot in it, like com.example.app:/callback"
    return None


def host(uri: str) -> str:
    """Return what a person should read as the place where the answer goes."""
    parts = urlsplit(uri)
    return parts.netloc if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def is_loopback(uri: str) -> bool:
    """Whether the answer goes to a program on the person's own machine."""
    return LOOPBACK.fullmatch(uri) is not None

"""The resource indicator (RFC 8707): tolerant of how it is written, exact in what is kept."""

import re
from urllib.parse import urlsplit

from mcpserve.errors import InvalidTarget

URI = re.compile(r"([^/?#]+://[^/?#]+)(/[^?#]*)?")
"""Scheme and authority, and a path. Not urlsplit(): it drops spaces, tabs and line ends."""


def canonical(asked: tuple[str, ...], resource: str) -> str:
    """Return our canonical resource if the request means it or names none.

    Upper case in scheme and host, one slash at the end, and the bare origin are forgiven. Raises
    :class:`~mcpserve.errors.InvalidTarget` for anything else, and for more than one.
    """
    if len(asked) > 1:
        raise InvalidTarget("only one resource can be asked for")
    if asked and not means(asked[0], resource):
        raise InvalidTarget("the resource is not served here")
    return resource


def means(uri: str, resource: str) -> bool:
    """Whether a client that writes ``uri`` means ``resource``."""
    parts = URI.fullmatch(uri)
    if parts is None or not uri.isascii():
        return False
    origin, path = parts.groups(default="")
    written = (origin.lower() + path).removesuffix("/")
    return written in (resource, resource.removesuffix(urlsplit(resource).path))

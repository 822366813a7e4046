"""Sealed values: what clients keep for us between two requests, and cannot read or change.

Every server with the same database and keys opens them. Nothing is stored, so the same seal opens
as often as it is brought back while it lasts.
"""

import base64
import binascii
import re
from datetime import timedelta

from mcpserve import crypto
from mcpserve.db import Database
from mcpserve.errors import BadSeal
from mcpserve.oauth.keys import KeyRing
from mcpserve.oauth.store import keys as store

LIFETIME = timedelta(minutes=10)

SEALED = re.compile(
    r"(?P<head>(?P<key_id>[0-9a-f]{12})\.(?P<until>[0-9]{1,11})\.)(?P<body>[A-Za-z0-9_-]+)"
)
"""The key and the end can be read by anybody, and changed by nobody: they are sealed, too."""


class Seals:
    """Makes and opens them, with the keys of the server."""

    def __init__(self, db: Database, keys: KeyRing, *, lifetime: timedelta = LIFETIME) -> None:
        self._db = db
        self._keys = keys
        self._lifetime = lifetime

    async def seal(self, plain: bytes, *, bound_to: bytes) -> str:
        """Return a text that yields ``plain`` to whoever names the same ``bound_to``, for a while.

        Raises :class:`~mcpserve.errors.KeyNotHere`.
        """
        async with self._db.transaction() as tx:
            key_id, key = await self._keys.choose(tx)
            until = await store.ends_at(tx, self._lifetime)
        head = f"{key_id}.{until}."
        return head + encode(crypto.seal(plain, key=key, bound_to=head.encode() + bound_to))

    async def open(self, sealed: str, *, bound_to: bytes) -> bytes:
        """Return what was sealed.

        Raises :class:`~mcpserve.errors.BadSeal`, also if the key was retired, and
        :class:`~mcpserve.errors.KeyNotHere`.
        """
        parts = SEALED.fullmatch(sealed)
        if parts is None:
            raise BadSeal
        body = decode(parts["body"])
        async with self._db.transaction() as tx:
            key = await self._keys.find(tx, parts["key_id"])
            if key is None:
                raise BadSeal
            plain = crypto.unseal(body, key=key, bound_to=parts["head"].encode() + bound_to)
            if await store.is_over(tx, int(parts["until"])):
                raise BadSeal
        return plain


def encode(data: bytes) -> str:
    """Return Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return what :func:`encode` made this text of. Raises :class:`~mcpserve.errors.BadSeal`."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise BadSeal from None
    if encode(data) != text:  # Several texts would mean the same otherwise.
        raise BadSeal
    return data

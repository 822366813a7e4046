"""The keys of the reuse window: where they are kept, which one is used, how one ends.

A successor is derived with a key, so a copy of the database and an old token do not yield it as
long as the key is in the configuration. Which key is used is decided within the transaction that
uses it: nothing is remembered between requests that another process could have changed.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import SecretStr

from mcpserve import audit, crypto
from mcpserve.audit import Event
from mcpserve.db import Database, Queryable, Transaction
from mcpserve.errors import ConfigError, KeyNotHere, UsageError
from mcpserve.oauth.store import keys as store
from mcpserve.oauth.store.keys import Need, ServerKey


@dataclass(frozen=True)
class KeyRing:
    """The keys that the configuration holds by their ids, the one to use first in front.

    Empty: they are kept in the database.
    """

    secrets: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def of(cls, configured: Iterable[SecretStr]) -> "KeyRing":
        """Name each key of ``oauth.keys``."""
        keys = [key.get_secret_value().encode() for key in configured]
        return cls({crypto.key_id(key): key for key in keys})

    async def choose(self, tx: Transaction) -> tuple[str, bytes]:
        """Return the id and the secret of the key to use.

        It cannot be retired until the transaction ends. Raises
        :class:`~mcpserve.errors.KeyNotHere`.
        """
        key = await store.choose(tx, self.secrets)
        if key is None:
            raise KeyNotHere("there is no key for the reuse window, see: mcpserve key list")
        return key.key_id, self._secret(key)

    async def find(self, tx: Transaction, key_id: str) -> bytes | None:
        """Return the secret of a key, ``None`` if it was retired.

        Raises :class:`~mcpserve.errors.KeyNotHere` for one that other replicas have.
        """
        key = await store.find(tx, key_id)
        return None if key is None or key.retired_at else self._secret(key)

    def _secret(self, key: ServerKey) -> bytes:
        secret = key.secret or self.secrets.get(key.key_id)
        if secret is None:
            raise KeyNotHere(f"oauth.keys: the key {key.key_id} is missing here")
        return secret


async def prepare(db: Database, ring: KeyRing) -> None:
    """Record the configured keys, or make the first one if none is configured.

    Raises :class:`~mcpserve.errors.ConfigError` for a key that is missing: a new one instead of
    it would turn every repeat under way into a refusal.
    """
    async with db.transaction() as tx:
        await store.lock(tx)
        await require_complete(tx, ring)
        for key_id in ring.secrets:
            await _add(tx, key_id, secret=None)
        chosen = await store.choose(tx, ring.secrets)
        if ring.secrets and (chosen is None or chosen.key_id not in ring.secrets):
            raise ConfigError(
                "oauth.keys: every key here is retired, put a new one in front: mcpserve key add"
            )
        if chosen is None:
            await _make(tx)


async def require_complete(db: Queryable, ring: KeyRing) -> None:
    """Raise :class:`~mcpserve.errors.ConfigError` unless every key that counts is here."""
    known = await store.find_all(db)
    missing = [
        key.key_id
        for key in known
        if not key.retired_at and key.secret is None and key.key_id not in ring.secrets
    ]
    if not missing:
        return
    needs = await store.needs(db)
    lines = [_is_missing(key_id, needs.get(key_id)) for key_id in missing]
    if unseen := _unseen(known, ring):
        # One of them may be a missing one, mistyped.
        lines.append(f"oauth.keys has {', '.join(unseen)}, which no server knew before")
    raise ConfigError("\n".join(lines))


def _is_missing(key_id: str, need: Need | None) -> str:
    needed = f"{_live(need.grants)} may need" if need else "no live grant needs now"
    return (
        f"oauth.keys: the key {key_id} is missing, which {needed}: "
        f"put it back, or retire it with mcpserve key retire {key_id}"
    )


def _live(grants: int) -> str:
    return "1 live grant" if grants == 1 else f"{grants} live grants"


def _unseen(known: Iterable[ServerKey], ring: KeyRing) -> list[str]:
    """Return the keys that no server has started with yet."""
    ids = {key.key_id for key in known}
    return [key_id for key_id in ring.secrets if key_id not in ids]


@dataclass(frozen=True)
class KnownKey:
    """A key as an operator sees it."""

    key_id: str
    kept_in: str
    created_at: datetime | None
    state: str
    grants: int
    """The live grants that need it."""


async def find_all(db: Database, ring: KeyRing) -> list[KnownKey]:
    """Return every key, the newest first; before them what no server has started with yet."""
    async with db.transaction() as tx:
        chosen = await store.choose(tx, ring.secrets)
        known = await store.find_all(tx)
        needs = await store.needs(tx)
    in_use = chosen.key_id if chosen else None
    return [
        *(
            KnownKey(key_id, "configuration", None, "not seen yet", 0)
            for key_id in _unseen(known, ring)
        ),
        *(
            KnownKey(
                key.key_id,
                kept_in=_kept_in(key, ring),
                created_at=key.created_at,
                state=_state(key, ring, in_use=in_use),
                grants=needs[key.key_id].grants if key.key_id in needs else 0,
            )
            for key in known
        ),
    ]


def _kept_in(key: ServerKey, ring: KeyRing) -> str:
    if key.secret is not None:
        return "database"
    return "configuration" if key.key_id in ring.secrets else "-"


def _state(key: ServerKey, ring: KeyRing, *, in_use: str | None) -> str:
    if key.retired_at:
        return "retired"
    if key.key_id == in_use:
        return "in use"
    return "missing" if _kept_in(key, ring) == "-" else "kept"


async def add(db: Database) -> str:
    """Make a key, keep it in the database and return its id; it is used from now on."""
    async with db.transaction() as tx:
        await store.lock(tx)
        return await _make(tx)


async def retire(db: Database, ring: KeyRing, key_id: str, *, force: bool) -> None:
    """Forget a key for good. What was answered with it cannot be repeated any more.

    Raises :class:`~mcpserve.errors.UsageError` if there is no such key, if it is the one in use,
    and, unless ``force``, while live grants need it.
    """
    async with db.transaction() as tx:
        await store.lock(tx)
        chosen = await store.choose(tx, ring.secrets)
        if chosen and chosen.key_id == key_id:
            raise UsageError(f"the key {key_id} is in use, make another first: mcpserve key add")
        # Before the look at who needs it: this waits for those who are about to.
        if not await store.retire(tx, key_id):
            if await store.find(tx, key_id):
                raise UsageError(f"the key {key_id} was retired before")
            raise UsageError(f"there is no key {key_id!r} to retire, see: mcpserve key list")
        need = (await store.needs(tx)).get(key_id)
        if need and not force:
            until = need.until.astimezone().isoformat(" ", "seconds")
            raise UsageError(
                f"the key {key_id} is needed by {_live(need.grants)} until {until}; with --force "
                "their last answer cannot be repeated any more, and no grant ends"
            )
        await audit.record(tx, Event.KEY_RETIRED, key_id=key_id, forced=force)


async def _make(tx: Transaction) -> str:
    secret = secrets.token_bytes(32)
    key_id = crypto.key_id(secret)
    await _add(tx, key_id, secret=secret)
    return key_id


async def _add(tx: Transaction, key_id: str, *, secret: bytes | None) -> None:
    if await store.add(tx, key_id, secret=secret):
        kept_in = "configuration" if secret is None else "database"
        await audit.record(tx, Event.KEY_ADDED, key_id=key_id, kept_in=kept_in)

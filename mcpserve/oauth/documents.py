"""Documents that clients publish: fetched when needed, kept while good.

What is kept is for all processes; what failed is remembered by each for itself.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from mcpserve import strict_json
from mcpserve.db import Database
from mcpserve.errors import DocumentError, FetchError, RateLimited
from mcpserve.oauth.store import documents as store

logger = logging.getLogger(__name__)

T = TypeVar("T")

DEFAULT_LIFETIME = timedelta(hours=1)
"""Of a document whose server does not say how long it may be kept."""
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(hours=24)
"""Within these limits its server is believed."""
FETCHES_AT_ONCE = 16
"""Slow hosts hold up others, but not the whole server."""
MAX_FAILURES = 1000
"""How many URLs are remembered that could not be fetched."""


class Fetched(Protocol):
    """What a fetch brought: see :class:`mcpserve.fetch.Fetched`."""

    @property
    def body(self) -> bytes:
        """The document."""

    @property
    def lifetime(self) -> timedelta | None:
        """How long it may be kept, if that was said."""


class Fetcher(Protocol):
    """Who fetches: :class:`mcpserve.fetch.Fetcher`, which uses Tornado and so is not named here."""

    async def get_json(self, url: str, /) -> Fetched:
        """Return the document. Raises :class:`~mcpserve.errors.FetchError`."""


class Documents:
    """Documents of one kind, by URL: what is no key set may well be a client's document.

    ``pause`` is how many seconds a URL is left alone after a failure.
    """

    def __init__(self, fetcher: Fetcher, *, pause: float = 30.0) -> None:
        self._fetcher = fetcher
        self._pause = pause
        self._fetches: dict[str, asyncio.Task[Any]] = {}
        self._failures: dict[str, float] = {}
        self._free = asyncio.Semaphore(FETCHES_AT_ONCE)

    def close(self) -> None:
        """Cancel the fetches that run."""
        for fetch in self._fetches.values():
            fetch.cancel()

    async def get(
        self,
        db: Database,
        url: str,
        read: Callable[[Any], T],
        *,
        refetch: bool = False,
        admit: Callable[[], Awaitable[None]] | None = None,
    ) -> T:
        """Return what ``read`` makes of the JSON at ``url``.

        ``read`` raises :class:`~mcpserve.errors.DocumentError` for a document that is not to be
        kept. A fresh copy is fetched again only for ``refetch``, and then once a minute at most;
        when a fetch fails, the last good copy serves. ``admit`` is awaited before a fetch, which it
        can prevent by raising.

        Raises :class:`~mcpserve.errors.DocumentError` if there is no good copy.
        """
        copy = await store.find(db, url)
        kept = None if copy is None else _read_again(copy.body, read)
        if copy and kept and (copy.recent if refetch else copy.fresh):
            return kept[0]
        try:
            return read(await self._fetch_once(db, url, read, admit=admit))
        except (DocumentError, RateLimited) as error:
            if kept is None:
                raise
            logger.warning("%s: the last good copy serves: %s", url, error)
            return kept[0]

    async def _fetch_once(
        self,
        db: Database,
        url: str,
        read: Callable[[Any], object],
        *,
        admit: Callable[[], Awaitable[None]] | None,
    ) -> Any:
        """Return the JSON at ``url``; all who ask for it at the same time share one fetch."""
        self._refuse_if_failed_lately(url)
        if admit and url not in self._fetches:
            await admit()
        if url not in self._fetches:
            # A task of its own: whoever was first may hang up, the others still wait for it.
            fetch = asyncio.create_task(self._fetch(db, url, read))
            self._fetches[url] = fetch
            fetch.add_done_callback(lambda fetch: self._forget(url, fetch))
        return await asyncio.shield(self._fetches[url])

    async def _fetch(self, db: Database, url: str, read: Callable[[Any], object]) -> Any:
        copy = await store.find(db, url)
        if copy and copy.recent and _read_again(copy.body, read):
            # Somebody fetched it after the caller had looked.
            return _parse(copy.body)
        try:
            async with self._free:
                fetched = await self._fetcher.get_json(url)
            body = _text(fetched.body)
            document = _parse(body)
            read(document)
        except (FetchError, DocumentError) as error:
            self._remember_failure(url)
            raise DocumentError(str(error)) from error
        wanted = DEFAULT_LIFETIME if fetched.lifetime is None else fetched.lifetime
        await store.save(db, url, body, lifetime=min(max(wanted, SHORTEST), LONGEST))
        return document

    def _forget(self, url: str, fetch: asyncio.Task[Any]) -> None:
        del self._fetches[url]
        if not fetch.cancelled():
            # Looked at, so that nobody is warned if all who waited are gone.
            fetch.exception()

    def _remember_failure(self, url: str) -> None:
        self._failures.pop(url, None)
        while len(self._failures) >= MAX_FAILURES:
            del self._failures[next(iter(self._failures))]
        self._failures[url] = time.monotonic()

    def _refuse_if_failed_lately(self, url: str) -> None:
        failed_at = self._failures.get(url)
        if failed_at is not None and time.monotonic() - failed_at < self._pause:
            raise DocumentError(f"{url} failed a moment ago")


def _read_again(body: str, read: Callable[[Any], T]) -> tuple[T] | None:
    """Return what ``read`` makes of a copy; none if it was kept for somebody less strict."""
    try:
        return (read(_parse(body)),)
    except DocumentError:
        return None


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise DocumentError("not UTF-8") from error


def _parse(body: str) -> Any:
    try:
        return strict_json.loads(body)
    except ValueError as error:
        raise DocumentError(f"not JSON: {error}") from error

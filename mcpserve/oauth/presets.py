"""Well-known clients, as ``presets.toml`` tells of them; the operator says which are let in."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from mcpserve.oauth import redirect_uris
from mcpserve.setting_types import parse_reuse_window

FILE = Path(__file__).parent / "presets.toml"
WILDCARD = "{id}"
SEGMENT = "[A-Za-z0-9_-]{1,64}"


@dataclass(frozen=True)
class Preset:
    """A well-known client. In a pattern ``{id}`` stands for one segment, and nothing else varies.

    The port of a loopback redirect URI varies, too, as in
    :func:`~mcpserve.oauth.redirect_uris.matches`.
    """

    name: str
    title: str
    redirect_uris: tuple[str, ...]
    """URIs and patterns."""
    document_urls: tuple[str, ...]
    """Where it publishes a document about itself: URLs and patterns."""
    refresh_reuse_window: timedelta | None
    """``None``: as configured for all."""
    documents: Mapping[str, Mapping[str, Any]]
    """Pinned copies by URL, for when the document itself cannot be had."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """The redirect URIs that have a wildcard."""
        return tuple(uri for uri in self.redirect_uris if WILDCARD in uri)

    @property
    def exact_redirect_uris(self) -> tuple[str, ...]:
        """The redirect URIs that have none."""
        return tuple(uri for uri in self.redirect_uris if WILDCARD not in uri)

    def patterns_without(self, uris: Iterable[str]) -> tuple[str, ...]:
        """Return the patterns that none of these URIs fits."""
        given = tuple(uris)
        return tuple(p for p in self.patterns if not any(_redirects(uri, p) for uri in given))

    @property
    def public(self) -> bool:
        """Whether it keeps no secret: it runs on the machine of a person."""
        return any(not uri.startswith("https:") for uri in self.redirect_uris)

    def has_redirect_uri(self, uri: str) -> bool:
        """Whether an answer at this URI reaches the client."""
        return any(_redirects(uri, pattern) for pattern in self.redirect_uris)

    def has_document(self, url: str) -> bool:
        """Whether the client publishes a document there."""
        return any(_fits(url, pattern) for pattern in self.document_urls)


@dataclass(frozen=True)
class Presets:
    """The presets that the operator lets in, among all that are known."""

    known: tuple[Preset, ...]
    enabled: tuple[Preset, ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> "Presets":
        """Read the file and let in the presets of these names."""
        known = load()
        chosen = frozenset(names)
        return cls(known, tuple(preset for preset in known if preset.name in chosen))

    @property
    def jwks_uris(self) -> frozenset[str]:
        """Where the key sets are that pinned documents name."""
        documents = (document for p in self.enabled for document in p.documents.values())
        return frozenset(uri for d in documents if isinstance(uri := d.get("jwks_uri"), str))

    def of_redirect_uris(self, uris: Iterable[str]) -> Preset | None:
        """Return a preset that has all of these URIs; ``None`` also for no URI."""
        asked = tuple(uris)
        having = (p for p in self.enabled if asked and all(map(p.has_redirect_uri, asked)))
        return next(having, None)

    def problem(self, uri: str) -> str | None:
        """Say why a client that nobody configured must not register a redirect URI.

        Beside :func:`~mcpserve.oauth.redirect_uris.problem`: any program can take a private-use
        scheme, so it may be used only where a preset has that URI.
        """
        if problem := redirect_uris.problem(uri):
            return problem
        if uri.startswith(("https:", "http:")) or self.of_redirect_uris([uri]):
            return None
        return "of a private scheme must be one of a preset, see oauth.clients.presets"

    def of_document(self, url: str) -> Preset | None:
        """Return the preset that publishes this document; a pattern yields to an exact URL."""
        owners = [preset for preset in self.known if url in preset.document_urls] or [
            preset for preset in self.known if preset.has_document(url)
        ]
        return next((preset for preset in owners if preset in self.enabled), None)


def load() -> tuple[Preset, ...]:
    """Return every preset of the file, in its order."""
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return tuple(_preset(name, table) for name, table in tables.items())


def _preset(name: str, table: Mapping[str, Any]) -> Preset:
    window = table.get("refresh_reuse_window")
    return Preset(
        name=name,
        title=table["title"],
        redirect_uris=tuple(table["redirect_uris"]),
        document_urls=tuple(table.get("document_urls", ())),
        refresh_reuse_window=None if window is None else parse_reuse_window(window),
        documents={
            url: {"client_id": url, **document}
            for url, document in table.get("documents", {}).items()
        },
    )


def _redirects(uri: str, pattern: str) -> bool:
    if WILDCARD not in pattern:
        return redirect_uris.matches(uri, pattern)
    return _fits(redirect_uris.without_port(uri), redirect_uris.without_port(pattern))


def _fits(text: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(re.escape(WILDCARD), SEGMENT), text) is not None

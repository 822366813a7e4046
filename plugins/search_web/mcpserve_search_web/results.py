"""The one shape of results, and bringing what a provider found into it."""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import Field

from mcpserve import SearchResult, SearchResults

LONGEST_TEXT = 2000
"""Characters of a snippet: it shall inform a model, not fill its context."""

BLOCKS = frozenset({"br", "p", "div", "li", "ul"})

# Only what marks up snippets, and attributes only with a value: services that send plain text
# write of "vector<int>" and "a <b and c> d", which no parser of HTML would leave alone.
TAG = re.compile(
    r"</?(a|b|br|code|div|em|i|li|mark|p|small|span|strong|sub|sup|u|ul)"
    r"""(?:\s+[\w-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s<>"']+))*\s*/?>""",
    re.IGNORECASE,
)
# With its semicolon only: "?a=1&copy=2" is no copyright sign.
ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.IGNORECASE)


class WebResults(SearchResults):
    """What a search of the web found."""

    provider: str = Field(description="The service that searched.")
    query: str = Field(description="What was searched for.")
    note: str = Field(
        "", exclude_if=lambda note: not note, description="What to know if nothing was found."
    )


@dataclass(frozen=True)
class Found:
    """A page as a provider told of it; nothing of it is checked."""

    url: str | None
    title: str | None
    snippet: str | None
    published: str | None = None


def tidy(found: Iterable[Found], *, limit: int, domains: Sequence[str] = ()) -> list[SearchResult]:
    """Keep the first ``limit`` pages that have a web address, each address once, in order.

    If there are ``domains``, only pages of these hosts and of those below them.
    """
    results: dict[str, SearchResult] = {}
    for page in found:
        if page.url and page.url not in results and is_web_url(page.url, domains):
            results[page.url] = SearchResult(
                id=page.url,
                title=plain_text(page.title) or page.url,
                url=page.url,
                snippet=plain_text(page.snippet),
                published=plain_text(page.published),
            )
    return list(results.values())[:limit]


def is_web_url(url: str, domains: Sequence[str] = ()) -> bool:
    """Whether the URL is absolute, of the scheme http or https, and of one of the domains, if any.

    A host belongs to its own domain and to all above it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    host = f".{parts.hostname}"
    return not domains or any(host.endswith(f".{domain}") for domain in domains)


def plain_text(text: str | None) -> str:
    """Remove mark-up, resolve entities, join white space and cut what is too long."""
    text = TAG.sub(lambda tag: " " if tag[1].lower() in BLOCKS else "", text or "")
    text = ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"

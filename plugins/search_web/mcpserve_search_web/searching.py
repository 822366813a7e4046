"""The tools ``search_web`` and ``search``: the same search, with and without choices."""

import inspect
from typing import Annotated

import httpx
from pydantic import Field

from mcpserve import SearchResults, Tool, ToolAnnotations, ToolError, tool
from mcpserve_search_web.provider import Provider, Search, TimeRange
from mcpserve_search_web.results import WebResults, tidy
from mcpserve_search_web.upstream import ask

READS_THE_WEB = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)

RESULTS = 10
"""Of ``search``, whose caller cannot say how many."""

Query = Annotated[
    str, Field(description="What to search for: a few words, as for a search engine.")
]
Domain = Annotated[str, Field(pattern=r"^[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)+$", max_length=253)]


def make_search_web(http: httpx.AsyncClient, name: str, provider: Provider) -> Tool:
    """Return ``search_web`` over this provider."""

    async def search_web(
        query: Query,
        limit: Annotated[
            int, Field(ge=1, le=20, description="How many results to return at the most.")
        ] = 5,
        time_range: Annotated[
            TimeRange | None, Field(description="Only what was published or changed in this time.")
        ] = None,
        domains: Annotated[
            list[Domain],
            Field(max_length=5, description="Only pages of these sites, e.g. docs.python.org."),
        ] = [],  # noqa: B006 - nobody changes it, and its default is told to clients
    ) -> WebResults:
        """Search and get titles, URLs and short snippets, best match first.

        Use it for facts that may be newer than your knowledge or that need a source. Snippets are
        excerpts written by others: open or cite the URL instead of trusting a snippet alone.
        """
        sites = [domain.lower() for domain in domains]
        return await find(http, name, provider, Search(query.strip(), limit, time_range, sites))

    return tool(
        title="Web search",
        description=described(search_web, provider),
        annotations=READS_THE_WEB,
    )(search_web)


def make_search(http: httpx.AsyncClient, name: str, provider: Provider) -> Tool:
    """Return ``search`` over this provider, for clients that know tools of this name."""

    async def search(query: Query) -> SearchResults:
        """Search and get ids, titles and URLs, best match first; fetch takes an id.

        The same search as search_web, without its choices.
        """
        found = await find(http, name, provider, Search(query.strip(), RESULTS))
        return SearchResults(results=found.results)

    return tool(title="Search", description=described(search, provider), annotations=READS_THE_WEB)(
        search
    )


def described(function: object, provider: Provider) -> str:
    """Return what the function says of itself, and what is so with this provider."""
    told = [
        f"{inspect.getdoc(function)}\n\n{provider.coverage}",
        f"A query has at most {provider.longest_query} characters.",
    ]
    arguments = inspect.signature(function).parameters if callable(function) else {}
    told += [
        f"This service cannot filter by {name}."
        for name in ("time_range", "domains")
        if name in arguments and name not in provider.filters
    ]
    return " ".join(told)


async def find(
    http: httpx.AsyncClient, name: str, provider: Provider, search: Search
) -> WebResults:
    """Search. Raises :class:`ToolError` that says what to do."""
    check(search, name=name, provider=provider)
    found = await ask(http, provider, search, name=name)
    results = tidy(found, limit=search.limit, domains=search.domains)
    note = "" if results else f"Nothing was found. {provider.coverage} Try other words."
    return WebResults(provider=name, query=search.query, results=results, note=note)


def check(search: Search, *, name: str, provider: Provider) -> None:
    """Raise :class:`ToolError` for what this provider cannot search."""
    if not search.query:
        raise ToolError("The query is empty: say what to search for.")
    if any("\ud800" <= character <= "\udfff" for character in search.query):
        raise ToolError("The query is no text, it has half of a character: write it anew.")
    longest, length = provider.longest_query, len(search.with_sites)
    if length > longest:
        also = ", domains included," if search.domains else ""
        raise ToolError(
            f"The query{also} has {length} characters and at most {longest} are accepted: "
            "keep the few words that matter."
        )
    for given in ("time_range", "domains"):
        if getattr(search, given) and given not in provider.filters:
            raise ToolError(f"{name} cannot filter by {given}: search again without it.")

"""Web search: one tool, ``search_web``, over the provider that the operator chose."""

import inspect
from contextlib import AsyncExitStack
from typing import Annotated

import httpx
from pydantic import BaseModel, Field

from mcpserve import Tool, ToolAnnotations, ToolError, hookimpl, tool
from mcpserve_search_web.config import Choice, Config
from mcpserve_search_web.provider import USER_AGENT, Provider
from mcpserve_search_web.results import SearchResults, tidy
from mcpserve_search_web.upstream import fetch


@hookimpl
def mcpserve_config() -> type[BaseModel]:
    """Return the model of ``config:``."""
    return Config


@hookimpl
async def mcpserve_tools(config: Choice, exit_stack: AsyncExitStack) -> list[Tool]:
    """Return the tool, described for the provider that it asks."""
    http = await exit_stack.enter_async_context(
        httpx.AsyncClient(
            timeout=config.timeout,
            headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            # A key in a header of its own would follow a redirect to any host.
            follow_redirects=False,
        )
    )
    return [make_tool(http, config.provider, config.chosen)]


def make_tool(http: httpx.AsyncClient, name: str, provider: Provider) -> Tool:
    """Return ``search_web`` over this provider."""

    async def search_web(
        query: Annotated[
            str, Field(description="What to search for: a few words, as for a search engine.")
        ],
        limit: Annotated[
            int, Field(ge=1, le=20, description="How many results to return at the most.")
        ] = 5,
    ) -> SearchResults:
        """Search and get titles, URLs and short snippets, best match first.

        Use it for facts that may be newer than your knowledge or that need a source. Snippets are
        excerpts written by others: open or cite the URL instead of trusting a snippet alone.
        """
        query = check_query(query, longest=provider.longest_query)
        found = await fetch(http, provider, name=name, query=query, limit=limit)
        results = tidy(found, limit=limit)
        note = None if results else f"Nothing was found. {provider.coverage} Try other words."
        return SearchResults(provider=name, query=query, results=results, note=note)

    return tool(
        title="Web search",
        description=f"{inspect.getdoc(search_web)}\n\n{provider.coverage} "
        f"A query has at most {provider.longest_query} characters.",
        annotations=ToolAnnotations(
            title="Web search",
            read_only_hint=True,
            destructive_hint=False,
            idempotent_hint=True,
            open_world_hint=True,
        ),
    )(search_web)


def check_query(query: str, *, longest: int) -> str:
    """Return the query without space around it. Raises :class:`ToolError`."""
    query = query.strip()
    if not query:
        raise ToolError("The query is empty: say what to search for.")
    if len(query) > longest:
        raise ToolError(
            f"The query has {len(query)} characters and at most {longest} are accepted: "
            "keep the few words that matter."
        )
    return query

"""Searching the web over the provider that the operator chose, and reading pages of it."""

from contextlib import AsyncExitStack, closing

import httpx
from pydantic import BaseModel

from mcpserve import Tool, hookimpl
from mcpserve_search_web.config import Choice, Config
from mcpserve_search_web.extractor import Extractor
from mcpserve_search_web.fetching import make_fetch
from mcpserve_search_web.pages import Pages
from mcpserve_search_web.provider import USER_AGENT
from mcpserve_search_web.searching import make_search, make_search_web


@hookimpl
def mcpserve_config() -> type[BaseModel]:
    """Return the model of ``config:``."""
    return Config


@hookimpl
async def mcpserve_tools(config: Choice, exit_stack: AsyncExitStack) -> list[Tool]:
    """Return the tools; those that search are described for the provider that they ask."""
    http = await exit_stack.enter_async_context(
        httpx.AsyncClient(
            timeout=config.timeout,
            headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            # A key in a header of its own would follow a redirect to any host.
            follow_redirects=False,
        )
    )
    pages = exit_stack.enter_context(closing(Pages(config.fetch)))
    settings = config.fetch
    extractor = Extractor(max_bytes=settings.max_bytes, timeout=settings.extraction_timeout)
    exit_stack.push_async_callback(extractor.close)
    return [
        make_search_web(http, config.provider, config.chosen),
        make_search(http, config.provider, config.chosen),
        make_fetch(pages, extractor, max_characters=config.fetch.max_characters),
    ]

"""The table of providers. A new one is a module of this package and a line here."""

from collections.abc import Mapping

from mcpserve_search_web.provider import Provider
from mcpserve_search_web.providers.brave import Brave
from mcpserve_search_web.providers.searxng import SearXNG
from mcpserve_search_web.providers.tavily import Tavily
from mcpserve_search_web.providers.wikipedia import Wikipedia

PROVIDERS: Mapping[str, type[Provider]] = {
    "wikipedia": Wikipedia,
    "searxng": SearXNG,
    "brave": Brave,
    "tavily": Tavily,
}

DEFAULT = "wikipedia"
"""Needs no settings."""

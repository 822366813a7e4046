"""Searching within a time or within sites, and the tool ``search``, which has no choices."""

import json
from typing import Any

import mcpserve_search_web
import pytest

from mcpserve.testing import load_plugin
from plugins.search_web.tests.test_search_web import (
    BRAVE,
    NOTHING,
    SEARXNG,
    TAVILY,
    WIKIPEDIA,
    complaint,
    config_for,
    plugin_for,
    search,
    serving,
)

ANSWERS = {"searxng": SEARXNG, "brave": BRAVE, "tavily": TAVILY, "wikipedia": WIKIPEDIA}


async def asked(provider: str, **arguments: Any) -> dict[str, Any]:
    """What the provider is sent."""
    async with serving(NOTHING[provider]) as upstream, plugin_for(provider, upstream.url) as plugin:
        await search(plugin, **arguments)
    [request] = upstream.requests
    if request.body:
        return json.loads(request.body)
    return {name: values[0].decode() for name, values in request.arguments.items()}


@pytest.mark.parametrize(
    ("provider", "time_range", "sent"),
    [
        ("brave", "day", {"freshness": "pd"}),
        ("brave", "week", {"freshness": "pw"}),
        ("brave", "month", {"freshness": "pm"}),
        ("brave", "year", {"freshness": "py"}),
        ("tavily", "week", {"time_range": "week"}),
        ("searxng", "year", {"time_range": "year"}),
    ],
)
async def test_a_time_is_asked_for_as_the_service_wants_it(
    provider: str, time_range: str, sent: dict[str, str]
) -> None:
    request = await asked(provider, time_range=time_range)
    assert sent.items() <= request.items()


@pytest.mark.parametrize(
    ("provider", "domains", "sent"),
    [
        ("tavily", ["A.example", "b.example"], {"include_domains": ["a.example", "b.example"]}),
        ("brave", ["a.example"], {"q": "units site:a.example"}),
        ("searxng", ["a.example", "b.c"], {"q": "units (site:a.example OR site:b.c)"}),
    ],
)
async def test_sites_are_asked_for_as_the_service_wants_it(
    provider: str, domains: list[str], sent: dict[str, Any]
) -> None:
    request = await asked(provider, domains=domains)
    assert sent.items() <= request.items()


async def test_only_pages_of_the_sites_are_returned_whatever_the_service_finds() -> None:
    urls = [
        "https://a.example/1",
        "https://docs.A.example/2",
        "https://nota.example/3",
        "https://a.example.evil.test/4",
        "https://evil.test/a.example",
        "https://b.example/5",
    ]
    pages = {"results": [{"url": url, "title": "t"} for url in urls]}
    async with serving(pages) as upstream, plugin_for("searxng", upstream.url) as plugin:
        answer = await search(plugin, domains=["a.example"])
    assert [page["url"] for page in answer["results"]] == urls[:2]
    assert answer["query"] == "units"


@pytest.mark.parametrize(("argument", "value"), [("time_range", "day"), ("domains", ["a.example"])])
async def test_a_filter_that_the_service_has_not_is_refused(argument: str, value: object) -> None:
    async with serving(WIKIPEDIA) as upstream, plugin_for("wikipedia", upstream.url) as plugin:
        description = plugin.tools.get("search_web").offer.description
        text = await complaint(plugin, **{argument: value})
    assert text == f"wikipedia cannot filter by {argument}: search again without it."
    assert f"This service cannot filter by {argument}." in description
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"time_range": "decade"}, "time_range: Input should be 'day', 'week', 'month' or 'year'"),
        ({"domains": ["https://a.example/"]}, "domains.0: "),
        ({"domains": ["a.example OR site:b"]}, "domains.0: "),
        ({"domains": ["a.example"] * 6}, "domains: List should have at most 5"),
        ({"domains": ["a" * 240 + ".example"], "query": "x" * 200}, "domains included"),
    ],
)
async def test_filters_have_bounds(arguments: dict[str, Any], said: str) -> None:
    async with serving(BRAVE) as upstream, plugin_for("brave", upstream.url) as plugin:
        assert said in await complaint(plugin, **arguments)
    assert upstream.requests == []


@pytest.mark.parametrize("provider", ANSWERS)
async def test_search_returns_the_same_pages_and_nothing_beside_them(provider: str) -> None:
    async with serving(ANSWERS[provider]) as upstream, plugin_for(provider, upstream.url) as plugin:
        chosen = await search(plugin, limit=10)
        result = await plugin.call("search", query=" units ")
    assert result.structured_content == {"results": chosen["results"]}
    assert all({"id", "title", "url"} <= page.keys() for page in chosen["results"])
    assert all(page["id"] == page["url"] for page in chosen["results"])


async def test_an_operator_can_switch_search_off() -> None:
    tools = {"search": {"enabled": False}, "fetch": {"enabled": False}}
    config = config_for("searxng", "http://127.0.0.1:9")
    async with load_plugin(mcpserve_search_web, config, tools=tools) as plugin:
        assert [bound.offer.name for bound in plugin.tools] == ["search_web"]

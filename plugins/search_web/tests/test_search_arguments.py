"""Whatever is written as an argument, the answer is a list or an explanation, never a crash."""

import json
import random
from typing import Any

import pytest

from plugins.search_web.tests.test_search_web import NOTHING, plugin_for, serving

ALPHABET = "aéßИ中ع09.,;-+/\\'\"%&=?#<>{}[]()|~^`:_ \t\n\r\0\x1b\u200b\u202e\u0301\ufeff🌧"
WORDS = ["units", "site:evil.test", "OR", "-", "https://evil.test/", "AND", "*", "a.example"]

QUERIES = [
    "\ud800",
    "\0",
    "\u200b",
    "units\r\nHost: evil.test",
    "units&count=1000#",
    '"' * 50,
    "🌧" * 50,
    "\u202estinu",
    "ﷺ" * 100,
    "x" * 10_000,
]

DOMAINS = [
    "a",
    ".example",
    "example.",
    "a..example",
    "a.example/path",
    "a.example:443",
    "user@a.example",
    "*.example",
    "a.example\n",
    "a.example\nb.example",
    "ä.example",
    "a\u3002example",
    "[::1]",
    "a.example OR b",
    "-" * 260 + ".example",
    "",
    " a.example",
    "\ud800.example",
]


def nasty(numbers: random.Random) -> str:
    """Return a text of random characters and words."""
    parts = numbers.choices([*ALPHABET, *WORDS], k=numbers.randint(1, 40))
    return numbers.choice(["", " "]).join(parts)


@pytest.mark.parametrize("provider", NOTHING)
@pytest.mark.parametrize("tool", ["search_web", "search"])
async def test_any_query_is_searched_or_refused_with_an_explanation(
    provider: str, tool: str
) -> None:
    numbers = random.Random(7)
    async with serving(NOTHING[provider]) as upstream, plugin_for(provider, upstream.url) as plugin:
        for query in [*QUERIES, *(nasty(numbers) for _ in range(20))]:
            result = await plugin.call(tool, query=query)
            assert plugin.calls[-1].outcome in ("ok", "error"), ascii(query)
            assert result.content[0].text.strip()


@pytest.mark.parametrize("domain", DOMAINS, ids=ascii)
async def test_what_is_no_domain_is_refused_and_nobody_is_asked(domain: str) -> None:
    async with serving(NOTHING["brave"]) as upstream, plugin_for("brave", upstream.url) as plugin:
        result = await plugin.call("search_web", query="units", domains=[domain])
        assert plugin.calls[-1].outcome == "error"
    assert "domains.0" in result.content[0].text
    assert upstream.requests == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"query": None},
        {"query": ["units"]},
        {"query": " \n "},
        {"query": "half of \ud83d"},
        {"limit": 0},
        {"limit": 21},
        {"limit": -(2**70)},
        {"limit": 1e308},
        {"limit": "many"},
        {"time_range": ""},
        {"time_range": "DAY"},
        {"time_range": 7},
        {"domains": "a.example"},
        {"domains": [1]},
        {"domains": {"a.example": 1}},
    ],
    ids=json.dumps,
)
async def test_an_argument_out_of_bounds_is_named_and_nobody_is_asked(
    arguments: dict[str, Any],
) -> None:
    async with serving(NOTHING["brave"]) as upstream, plugin_for("brave", upstream.url) as plugin:
        result = await plugin.call("search_web", **({"query": "units"} | arguments))
        assert plugin.calls[-1].outcome == "error"
    assert next(iter(arguments)) in result.content[0].text
    assert upstream.requests == []

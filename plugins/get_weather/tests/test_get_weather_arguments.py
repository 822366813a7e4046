"""Whatever is written as an argument, the answer is a forecast or an explanation, never a crash."""

import random

import pytest

ALPHABET = "aéßИ中ع٣0919.,;-+/\\'\"%&=?#<>{}[]()|~^`:_ \t\n\r\0\x1b\u200b\u202e\u0301\ufeff\ud83d🌧"
WORDS = ["Paris", "paris", "Île-de-France", "US", "TX", "the", "48.85", "-2.35", "1e999", "nan"]

PLACES = [
    ",",
    " , , ",
    ",Paris",
    "Paris,,,,,,,,",
    "Paris\0",
    "Paris\r\nHost: evil.test",
    "../../etc/passwd",
    "Paris&countryCode=US#",
    "48.85,2.35,1",
    "٤٨,٢",
    "90.0000001,0",
    "-91,0",
    "0,180.1",
    "inf,nan",
    "999999,0",
    "0" * 200,
    "\u0301" * 200,
    "\u202eRebmun",
    "\ud800",
    "Paris, \udfff",
    "🌧" * 100,
    "ﷺ" * 200,
]


def nasty(numbers):
    """Return a text of random characters and words, of at most 200 characters."""
    parts = numbers.choices([*ALPHABET, *WORDS], k=numbers.randint(1, 30))
    return numbers.choice(["", " ", ","]).join(parts)[:200]


async def test_any_place_is_found_or_refused_with_an_explanation(weather):
    numbers = random.Random(7)
    async with weather() as (plugin, upstream):
        for place in [*PLACES, *(nasty(numbers) for _ in range(100))]:
            result = await plugin.call("get_weather", place=place)
            assert plugin.calls[-1].outcome in ("ok", "error"), ascii(place)
            assert result.content[0].text.strip()
            assert len(result.content[0].text) < 6000
    assert all(set(asked) >= {"name"} or "latitude" in asked for asked in upstream.asked)


async def test_any_country_is_compared_or_refused_with_an_explanation(weather):
    numbers = random.Random(11)
    async with weather() as (plugin, _):
        for country in [*PLACES, *(nasty(numbers) for _ in range(60))]:
            await plugin.call("get_weather", place="Paris", country=country[:60])
            assert plugin.calls[-1].outcome in ("ok", "error"), ascii(country)


@pytest.mark.parametrize(
    "arguments",
    [
        {"days": 0},
        {"days": 17},
        {"days": -(2**70)},
        {"days": 1e308},
        {"days": "tomorrow"},
        {"days": 1.5},
        {"days": None},
        {"hours": -1},
        {"hours": 2**70},
        {"hours": [1]},
        {"units": "kelvin"},
        {"units": ["metric"]},
        {"country": "x" * 61},
        {"country": {"code": "FR"}},
        {"place": ""},
        {"place": "x" * 201},
        {"place": None},
        {"place": ["Paris"]},
    ],
    ids=str,
)
async def test_an_argument_out_of_bounds_is_named_and_nobody_is_asked(weather, arguments):
    async with weather() as (plugin, upstream):
        result = await plugin.call("get_weather", **({"place": "Paris"} | arguments))
        assert result.is_error
        assert plugin.calls[-1].outcome == "error"
        assert next(iter(arguments)) in result.content[0].text
        assert upstream.requests == []

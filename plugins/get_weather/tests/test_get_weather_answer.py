"""How much of the forecast is answered, in which units, with which warnings, and as which text."""

import pytest

CALM = {"precipitation_sum": 0.1, "wind_gusts_10m_max": 9.9}
"""Harmless in any unit."""

METRIC, IMPERIAL, UK = ("°C", "km/h", "mm"), ("°F", "mph", "inch"), ("°C", "mph", "mm")
"""Units of temperature, wind and rain."""


async def test_days_and_hours_are_as_many_as_asked_for(weather):
    async with weather() as (plugin, _):
        usual = await plugin.call("get_weather", place="Paris")
        most = await plugin.call("get_weather", place="Paris", days=16, hours=48)
        least = await plugin.call("get_weather", place="Paris", days=1, hours=0)
    lengths = [
        (len(result.structured_content["hourly"]), len(result.structured_content["daily"]))
        for result in (usual, most, least)
    ]
    assert lengths == [(12, 5), (48, 16), (0, 1)]
    hourly, daily = (most.structured_content[part] for part in ("hourly", "daily"))
    assert (hourly[0]["time"], hourly[-1]["time"]) == ("2026-09-23T14:00", "2026-09-25T13:00")
    assert (daily[0]["date"], daily[-1]["date"]) == ("2026-09-23", "2026-10-08")


@pytest.mark.parametrize("hours", [-1, 49])
async def test_hours_out_of_range_are_named(weather, hours):
    async with weather() as (plugin, upstream):
        result = await plugin.call("get_weather", place="Paris", hours=hours)
    assert "hours: Input should be" in result.content[0].text
    assert not upstream.requests


@pytest.mark.parametrize(
    ("configured", "locale", "arguments", "expected"),
    [
        ("auto", None, {"place": "Paris"}, METRIC),
        ("auto", None, {"place": "Paris, Texas"}, IMPERIAL),
        ("auto", None, {"place": "London"}, UK),
        ("auto", None, {"place": "Paris, Texas", "units": "metric"}, METRIC),
        ("auto", None, {"place": "Paris", "units": "imperial"}, IMPERIAL),
        ("auto", None, {"place": "Paris", "units": "uk"}, UK),
        ("auto", None, {"place": "30.27,-97.74"}, METRIC),
        ("auto", "en-US", {"place": "Paris"}, IMPERIAL),
        ("auto", "en-us", {"place": "30.27,-97.74"}, IMPERIAL),
        ("auto", "es-Latn-PR", {"place": "Paris"}, IMPERIAL),
        ("auto", "my-MM", {"place": "Paris"}, IMPERIAL),
        ("auto", "en-GB", {"place": "Paris, Texas"}, UK),
        ("auto", "de-DE", {"place": "Paris, Texas"}, METRIC),
        ("auto", "en", {"place": "Paris, Texas"}, IMPERIAL),
        ("auto", "es-419", {"place": "Paris, Texas"}, IMPERIAL),
        ("auto", "de-u-rg-us", {"place": "Paris"}, METRIC),
        ("auto", "en-US; drop", {"place": "Paris"}, METRIC),
        ("auto", "en-US", {"place": "Paris", "units": "metric"}, METRIC),
        ("imperial", None, {"place": "Paris"}, IMPERIAL),
        ("imperial", None, {"place": "Paris", "units": "auto"}, IMPERIAL),
        ("imperial", None, {"place": "Paris", "units": "metric"}, METRIC),
        ("metric", "en-US", {"place": "Paris, Texas"}, METRIC),
    ],
)
async def test_units_are_as_asked_for_or_configured_or_those_of_the_caller_or_of_the_place(
    weather, configured, locale, arguments, expected
):
    async with weather(units=configured) as (plugin, _):
        plugin.locale = locale
        result = await plugin.call("get_weather", **arguments)
    units = result.structured_content["units"]
    assert (units["temperature"], units["wind_speed"], units["precipitation"]) == expected
    shown = result.content[0].text
    assert all(f" {unit}" in shown for unit in expected)


async def warned(weather, variable, value, **arguments):
    """Return the warnings when a variable of the second day has this value."""
    async with weather() as (plugin, upstream):
        known = upstream.forecast

        def changed(asked):
            status, body = known(asked)
            for name, calm in CALM.items():
                body["daily"][name] = [calm] * len(body["daily"]["time"])
            body["daily"][variable][1] = value
            return status, body

        upstream.forecast = changed
        result = await plugin.call("get_weather", place="Paris", **arguments)
    return result.structured_content["warnings"]


@pytest.mark.parametrize(
    ("variable", "units", "harmless", "value", "warning"),
    [
        ("wind_gusts_10m_max", "metric", 74.9, 75, "Storm gusts, up to 75 km/h"),
        ("wind_gusts_10m_max", "imperial", 46.9, 60, "Storm gusts, up to 60 mph"),
        ("precipitation_sum", "metric", 49.9, 50.5, "Heavy precipitation, up to 50.5 mm"),
        ("precipitation_sum", "imperial", 1.99, 2.5, "Heavy precipitation, up to 2.5 inch"),
        ("snowfall_sum", "metric", 9.9, 10, "Heavy snowfall, up to 10 cm"),
        ("snowfall_sum", "imperial", 3.9, 4, "Heavy snowfall, up to 4 inch"),
        ("temperature_2m_max", "metric", 34.9, 35, "Great heat, up to 35 °C"),
        ("temperature_2m_max", "imperial", 94.9, 101, "Great heat, up to 101 °F"),
        ("temperature_2m_min", "metric", -19.9, -20, "Severe frost, down to -20 °C"),
        ("temperature_2m_min", "imperial", -3.9, -10, "Severe frost, down to -10 °F"),
        ("apparent_temperature_max", "metric", 39.9, 40, "Great heat as felt, up to 40 °C"),
        ("apparent_temperature_max", "imperial", 103, 104, "Great heat as felt, up to 104 °F"),
        ("apparent_temperature_min", "metric", -27, -28, "Severe cold as felt, down to -28 °C"),
        ("apparent_temperature_min", "imperial", -17, -40, "Severe cold as felt, down to -40 °F"),
        ("wind_gusts_10m_max", "uk", 46.9, 47, "Storm gusts, up to 47 mph"),
        ("temperature_2m_max", "uk", 34.9, 35, "Great heat, up to 35 °C"),
        ("uv_index_max", "metric", 7.95, 8, "Very high UV index, up to 8"),
        ("weather_code", "metric", 82, 95, "Thunderstorm"),
        ("weather_code", "metric", 77, 99, "Thunderstorm"),
        ("weather_code", "metric", 65, 66, "Freezing rain"),
        ("weather_code", "imperial", None, 57, "Freezing rain"),
    ],
)
async def test_dangerous_weather_is_warned_of(weather, variable, units, harmless, value, warning):
    assert await warned(weather, variable, harmless, units=units) == []
    assert await warned(weather, variable, None, units=units) == []
    assert await warned(weather, variable, value, units=units) == [f"{warning}: Thu 24 Sep"]
    assert await warned(weather, variable, value, units=units, days=1) == []


async def test_a_warning_names_the_worst_and_all_days(weather):
    async with weather() as (plugin, upstream):
        known = upstream.forecast

        def windy(asked):
            status, body = known(asked)
            body["daily"]["wind_gusts_10m_max"][:4] = [80, 101.5, 20, 90]
            body["daily"]["weather_code"][0] = 96
            return status, body

        upstream.forecast = windy
        result = await plugin.call("get_weather", place="Paris")
    assert result.structured_content["warnings"] == [
        "Thunderstorm: Wed 23 Sep",
        "Storm gusts, up to 101.5 km/h: Wed 23 Sep, Thu 24 Sep, Sat 26 Sep",
    ]


async def test_the_text_stands_alone(weather):
    async with weather() as (plugin, upstream):
        known = upstream.forecast

        def changed(asked):
            status, body = known(asked)
            body["daily"]["uv_index_max"][1] = 9.1
            body["hourly"]["precipitation"][0] = 0.0
            return status, body

        upstream.forecast = changed
        result = await plugin.call("get_weather", place="Paris", days=2, hours=1)
    assert result.content[0].text == (
        "Paris, Île-de-France, France (48.8534,2.3488; times in Europe/Paris)\n"
        "Now, 2026-09-23 14:15: light rain, 21.4 °C, feels like 20.9 °C, precipitation 0.1 mm, "
        "wind 11.2 km/h, from SW, gusts 33.5 km/h, humidity 55 %, visibility 24140 m\n"
        "Warning: Very high UV index, up to 9.1: Thu 24 Sep\n"
        "2026-09-23 14:00: light rain, 21.4 °C, rain or snow 35 %, wind 11.2 km/h, "
        "gusts 33.5 km/h\n"
        "Wed 23 Sep (2026-09-23): light rain, from 14.2 °C, to 24 °C, rain or snow 48 %, 2.3 mm, "
        "gusts 47.2 km/h, UV index 4.3, sun 07:31 to 19:42\n"
        "Thu 24 Sep (2026-09-24): light rain, from 14.2 °C, to 24 °C, rain or snow 48 %, 2.3 mm, "
        "gusts 47.2 km/h, UV index 9.1, sun 07:31 to 19:42\n"
        "Weather data by Open-Meteo.com"
    )


@pytest.mark.parametrize(
    ("seconds", "hours", "text"),
    [(0.0, 0, "the sun does not rise"), (86400.0, 24, "the sun does not set")],
)
async def test_near_the_poles_the_sun_may_not_rise_or_set(weather, seconds, hours, text):
    async with weather() as (plugin, upstream):
        known = upstream.forecast

        def polar(asked):
            status, body = known(asked)
            body["daily"]["daylight_duration"][0] = seconds
            return status, body

        upstream.forecast = polar
        result = await plugin.call("get_weather", place="78.22,15.65", days=2, hours=0)
    first, second = result.structured_content["daily"]
    assert (first["sunrise"], first["sunset"], first["daylight_hours"]) == (None, None, hours)
    assert second["sunrise"]
    today, tomorrow = result.content[0].text.splitlines()[2:4]
    assert today.endswith(text)
    assert tomorrow.endswith("sun 07:31 to 19:42")


async def test_the_text_leaves_out_what_is_not_known(weather):
    async with weather() as (plugin, upstream):
        known = upstream.forecast

        def unknown(asked):
            status, body = known(asked)
            for part in ("hourly", "daily"):
                for variable, column in body[part].items():
                    body[part][variable] = column if variable == "time" else [None] * len(column)
            times = {"time": body["current"]["time"]}
            body["current"] = dict.fromkeys(body["current"]) | times
            return status, body

        upstream.forecast = unknown
        result = await plugin.call("get_weather", place="0,0", days=1, hours=1)
    assert not result.is_error
    lines = result.content[0].text.splitlines()
    assert lines[1:4] == [
        "Now, 2026-09-23 14:15: unknown",
        "2026-09-23 14:00: unknown",
        "Wed 23 Sep (2026-09-23): unknown",
    ]


async def test_the_result_is_shown_on_the_card(weather):
    async with weather() as (plugin, _):
        (bound,) = plugin.tools
        meta = bound.offer.definition.meta
        (page,) = (await plugin.read(meta["ui"]["resourceUri"])).contents
    assert meta["openai/outputTemplate"] == page.uri == "ui://get_weather/forecast"
    assert page.mime_type == "text/html;profile=mcp-app"
    assert page.text.startswith("<!doctype html>")
    assert page.meta["ui"]["prefersBorder"] is True

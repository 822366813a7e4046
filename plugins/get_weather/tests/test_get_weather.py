"""What a call asks of the services, and what it answers."""

import mcpserve_get_weather
import pytest

from mcpserve.errors import PluginError
from mcpserve.testing import load_plugin


async def test_answer_has_place_units_current_weather_and_days(weather):
    async with weather() as (plugin, _):
        result = await plugin.call("get_weather", place="Paris", days=2, hours=1)
    assert not result.is_error
    day = {
        "temperature_min": 14.2,
        "temperature_max": 24.0,
        "feels_like_min": 12.9,
        "feels_like_max": 23.1,
        "precipitation": 2.3,
        "precipitation_probability": 48.0,
        "snowfall": 0.0,
        "wind_speed_max": 19.8,
        "wind_gusts_max": 47.2,
        "uv_index_max": 4.3,
        "condition": "light rain",
        "sunrise": "2026-09-23T07:31",
        "sunset": "2026-09-23T19:42",
        "daylight_hours": 12.2,
    }
    assert result.structured_content == {
        "place": {
            "name": "Paris",
            "region": "Île-de-France",
            "country": "France",
            "latitude": 48.85341,
            "longitude": 2.3488,
            "timezone": "Europe/Paris",
        },
        "notice": None,
        "units": {
            "temperature": "°C",
            "wind_speed": "km/h",
            "precipitation": "mm",
            "snowfall": "cm",
            "visibility": "m",
        },
        "current": {
            "time": "2026-09-23T14:15",
            "temperature": 21.4,
            "feels_like": 20.9,
            "humidity": 55.0,
            "wind_speed": 11.2,
            "wind_gusts": 33.5,
            "wind_direction": 240.0,
            "precipitation": 0.1,
            "visibility": 24140.0,
            "condition": "light rain",
            "is_day": True,
        },
        "warnings": [],
        "hourly": [
            {
                "time": "2026-09-23T14:00",
                "temperature": 21.4,
                "feels_like": 20.9,
                "precipitation": 0.1,
                "precipitation_probability": 35.0,
                "wind_speed": 11.2,
                "wind_gusts": 33.5,
                "uv_index": 3.85,
                "visibility": 24140.0,
                "condition": "light rain",
                "is_day": True,
            }
        ],
        "daily": [{"date": "2026-09-23", **day}, {"date": "2026-09-24", **day}],
    }


async def test_forecast_is_asked_for_the_coordinates_that_were_found(weather):
    async with weather() as (plugin, upstream):
        await plugin.call("get_weather", place="Paris")
    asked = upstream.asked[1]
    assert (asked["latitude"], asked["longitude"]) == ("48.85341", "2.3488")
    assert asked["timezone"] == "auto"


async def test_imperial_units_are_asked_for_and_named(weather):
    async with weather() as (plugin, _):
        result = await plugin.call("get_weather", place="Paris", units="imperial")
    assert result.structured_content["units"] == {
        "temperature": "°F",
        "wind_speed": "mph",
        "precipitation": "inch",
        "snowfall": "inch",
        "visibility": "ft",
    }


async def test_coordinates_need_no_search(weather):
    async with weather() as (plugin, upstream):
        result = await plugin.call("get_weather", place="-33.87, +151.2")
    assert [request.path for request in upstream.requests] == ["/v1/forecast"]
    place = result.structured_content["place"]
    assert (place["latitude"], place["longitude"]) == (-33.87, 151.2)
    assert (place["name"], place["region"], place["country"]) == ("-33.87, +151.2", None, None)


async def test_coordinates_zero_zero_are_a_place(weather):
    async with weather() as (plugin, _):
        result = await plugin.call("get_weather", place="0,0")
    assert not result.is_error


@pytest.mark.parametrize("place", ["91,0", "0,181", "151.2,-33.87"])
async def test_coordinates_off_the_earth_are_refused_with_the_ranges(weather, place):
    async with weather() as (plugin, upstream):
        result = await plugin.call("get_weather", place=place)
    assert result.is_error
    assert "latitude from -90 to 90" in result.content[0].text
    assert not upstream.requests


@pytest.mark.parametrize("days", [0, 17])
async def test_days_out_of_range_are_named_before_anything_is_asked(weather, days):
    async with weather() as (plugin, upstream):
        result = await plugin.call("get_weather", place="Paris", days=days)
    assert result.is_error
    assert "days: Input should be" in result.content[0].text
    assert not upstream.requests


async def test_values_the_service_does_not_know_are_null(weather):
    async with weather() as (plugin, upstream):
        known = upstream.forecast

        def unknown(asked):
            status, body = known(asked)
            body["current"]["weather_code"] = body["daily"]["temperature_2m_max"][0] = None
            return status, body

        upstream.forecast = unknown
        result = await plugin.call("get_weather", place="Paris")
    assert result.structured_content["current"]["condition"] is None
    assert result.structured_content["daily"][0]["temperature_max"] is None


async def test_weather_code_without_words_is_shown_as_a_number(weather):
    async with weather() as (plugin, upstream):
        known = upstream.forecast

        def exotic(asked):
            status, body = known(asked)
            body["current"]["weather_code"] = 17
            return status, body

        upstream.forecast = exotic
        result = await plugin.call("get_weather", place="Paris")
    assert result.structured_content["current"]["condition"] == "unknown (WMO code 17)"


async def test_calls_share_one_connection_and_say_who_they_are(weather):
    async with weather() as (plugin, upstream):
        await plugin.call("get_weather", place="Paris")
        await plugin.call("get_weather", place="London")
    assert len({request.connection.context.address for request in upstream.requests}) == 1
    assert upstream.requests[0].headers["User-Agent"].startswith("mcpserve-get-weather")


async def test_language_is_passed_on_and_no_key_is_sent_without_one(weather):
    async with weather(language="de") as (plugin, upstream):
        await plugin.call("get_weather", place="Paris")
    assert upstream.asked[0]["language"] == "de"
    assert all("apikey" not in asked for asked in upstream.asked)


async def test_key_goes_to_both_services_and_not_into_the_log(weather, caplog):
    caplog.set_level("INFO")
    async with weather(api_key="s3cret") as (plugin, upstream):
        await plugin.call("get_weather", place="Paris")
    assert [asked["apikey"] for asked in upstream.asked] == ["s3cret", "s3cret"]
    assert "s3cret" not in caplog.text


async def test_key_with_the_free_hosts_does_not_start():
    with pytest.raises(PluginError, match="customer-geocoding-api"):
        async with load_plugin(mcpserve_get_weather, {"api_key": "s3cret"}):
            pass


async def test_schema_tells_a_model_the_ranges_and_that_nothing_is_changed(weather):
    async with weather() as (plugin, _):
        (bound,) = plugin.tools
    definition = bound.offer.definition
    days = definition.input_schema["properties"]["days"]
    assert (days["minimum"], days["maximum"], days["default"]) == (1, 16, 5)
    assert definition.input_schema["required"] == ["place"]
    assert definition.annotations.read_only_hint
    assert definition.annotations.destructive_hint is False
    assert definition.annotations.open_world_hint
    assert definition.output_schema["required"] == [
        *("place", "notice", "units", "current", "warnings", "hourly", "daily")
    ]

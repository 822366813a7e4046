"""What the tool answers, and how the service's forecast is turned into it."""

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, Field

from mcpserve_get_weather.places import Candidate

CONDITIONS = {
    0: "clear sky",
    1: "mainly clear",
    2: "partly cloudy",
    3: "overcast",
    45: "fog",
    48: "fog with rime",
    51: "light drizzle",
    53: "moderate drizzle",
    55: "dense drizzle",
    56: "light freezing drizzle",
    57: "dense freezing drizzle",
    61: "light rain",
    63: "moderate rain",
    65: "heavy rain",
    66: "light freezing rain",
    67: "heavy freezing rain",
    71: "light snowfall",
    73: "moderate snowfall",
    75: "heavy snowfall",
    77: "snow grains",
    80: "light rain showers",
    81: "moderate rain showers",
    82: "violent rain showers",
    85: "light snow showers",
    86: "heavy snow showers",
    95: "thunderstorm",
    96: "thunderstorm with light hail",
    99: "thunderstorm with heavy hail",
}
"""WMO weather interpretation codes, those that the service uses."""

CURRENT = {
    "temperature": "temperature_2m",
    "feels_like": "apparent_temperature",
    "humidity": "relative_humidity_2m",
    "wind_speed": "wind_speed_10m",
    "wind_gusts": "wind_gusts_10m",
    "wind_direction": "wind_direction_10m",
    "precipitation": "precipitation",
    "visibility": "visibility",
    "is_day": "is_day",
    "condition": "weather_code",
}
"""Our name to the service's variable, for the weather now."""

HOURLY = {
    "temperature": "temperature_2m",
    "feels_like": "apparent_temperature",
    "precipitation": "precipitation",
    "precipitation_probability": "precipitation_probability",
    "wind_speed": "wind_speed_10m",
    "wind_gusts": "wind_gusts_10m",
    "uv_index": "uv_index",
    "visibility": "visibility",
    "is_day": "is_day",
    "condition": "weather_code",
}
"""Our name to the service's variable, for an hour."""

DAILY = {
    "temperature_min": "temperature_2m_min",
    "temperature_max": "temperature_2m_max",
    "feels_like_min": "apparent_temperature_min",
    "feels_like_max": "apparent_temperature_max",
    "precipitation": "precipitation_sum",
    "precipitation_probability": "precipitation_probability_max",
    "snowfall": "snowfall_sum",
    "wind_speed_max": "wind_speed_10m_max",
    "wind_gusts_max": "wind_gusts_10m_max",
    "uv_index_max": "uv_index_max",
    "sunrise": "sunrise",
    "sunset": "sunset",
    "daylight_hours": "daylight_duration",
    "condition": "weather_code",
}
"""Our name to the service's variable, for a day."""

UNITS = {
    "temperature": "temperature_2m",
    "wind_speed": "wind_speed_10m",
    "precipitation": "precipitation",
    "visibility": "visibility",
}


class Place(BaseModel):
    """The place whose weather this is."""

    name: str
    region: str | None = Field(description="First-level region, such as a state.")
    country: str | None
    latitude: float
    longitude: float
    timezone: str = Field(description="IANA time zone of all times.")


class Units(BaseModel):
    """Units of the numbers. Humidity and probability are percent, directions degrees."""

    temperature: str
    wind_speed: str
    precipitation: str
    snowfall: str
    visibility: str


class Current(BaseModel):
    """The weather now. null: not known."""

    time: str = Field(description="Local time, ISO 8601.")
    temperature: float | None
    feels_like: float | None
    humidity: float | None = Field(description="Relative humidity in percent.")
    wind_speed: float | None
    wind_gusts: float | None
    wind_direction: float | None = Field(description="Degrees the wind comes from; 0 is north.")
    precipitation: float | None = Field(description="In the last minutes up to now.")
    visibility: float | None
    condition: str | None = Field(description="The weather in words.")
    is_day: bool | None


class Hour(BaseModel):
    """An hour of the forecast. null: not known."""

    time: str = Field(description="Local time at which it begins, ISO 8601.")
    temperature: float | None
    feels_like: float | None
    precipitation: float | None = Field(description="In the hour before.")
    precipitation_probability: float | None = Field(description="Percent.")
    wind_speed: float | None
    wind_gusts: float | None
    uv_index: float | None
    visibility: float | None
    condition: str | None = Field(description="The weather in words.")
    is_day: bool | None


class Day(BaseModel):
    """A day of the forecast. null: not known."""

    date: datetime.date
    temperature_min: float | None
    temperature_max: float | None
    feels_like_min: float | None
    feels_like_max: float | None
    precipitation: float | None = Field(description="Sum of the day: rain, showers and snow.")
    precipitation_probability: float | None = Field(description="Percent.")
    snowfall: float | None = Field(description="Depth of the day's new snow.")
    wind_speed_max: float | None
    wind_gusts_max: float | None
    uv_index_max: float | None
    condition: str | None = Field(description="The most severe weather of the day in words.")
    sunrise: str | None = Field(
        description="Local time, ISO 8601. null: the sun does not rise, or does not set."
    )
    sunset: str | None
    daylight_hours: float | None = Field(
        description="From sunrise to sunset. 0: the sun does not rise. 24: it does not set."
    )


class Weather(BaseModel):
    """Weather now, and a forecast that begins with this hour and today."""

    place: Place
    notice: str | None = Field(description="What to tell the user of this answer, if anything.")
    units: Units
    current: Current
    warnings: list[str] = Field(
        description="Hazards on the days of the forecast, by fixed limits. "
        "These are not the official warnings of a weather service."
    )
    hourly: list[Hour]
    daily: list[Day]


def weather(where: Candidate, forecast: Mapping[str, Any]) -> Weather:
    """Turn a forecast of the service into an answer that warns of nothing yet.

    Raises :class:`KeyError`, :class:`TypeError` or :class:`ValueError` if it has another form.
    """
    current, hourly, daily = forecast["current"], forecast["hourly"], forecast["daily"]
    snowfall = forecast["daily_units"]["snowfall_sum"]
    return Weather(
        place=Place(
            name=where.name,
            region=where.admin1 or None,
            country=where.country or where.country_code or None,
            latitude=where.latitude,
            longitude=where.longitude,
            timezone=forecast["timezone"],
        ),
        notice=None,
        units=Units(**spelled(renamed(forecast["current_units"], UNITS)), snowfall=snowfall),
        current=Current(**in_words({"time": current["time"]} | renamed(current, CURRENT))),
        warnings=[],
        hourly=[Hour(**each) for each in rows({"time": hourly["time"]} | renamed(hourly, HOURLY))],
        daily=[
            Day(**sunlit(each)) for each in rows({"date": daily["time"]} | renamed(daily, DAILY))
        ],
    )


def spelled(units: Mapping[str, str]) -> dict[str, str]:
    """Return units of the service as people write them."""
    return {name: "mph" if unit == "mp/h" else unit for name, unit in units.items()}


def sunlit(values: dict[str, Any]) -> dict[str, Any]:
    """Turn seconds of daylight into hours, without times of what does not happen at the poles."""
    if (seconds := values["daylight_hours"]) is None:
        return values
    hours = round(seconds / 3600, 1)
    times = {"sunrise": None, "sunset": None} if hours in (0, 24) else {}
    return values | times | {"daylight_hours": hours}


def rows(columns: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Turn columns of equal length into rows."""
    for values in zip(*columns.values(), strict=True):
        yield in_words(dict(zip(columns, values, strict=True)))


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Pick the service's variables and give them our names."""
    return {ours: values[theirs] for ours, theirs in names.items()}


def in_words(values: dict[str, Any]) -> dict[str, Any]:
    """Replace the weather code by words."""
    code = values["condition"]
    words = None if code is None else CONDITIONS.get(code, f"unknown (WMO code {code})")
    return values | {"condition": words}

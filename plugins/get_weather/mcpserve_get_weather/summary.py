"""The answer as a text that stands alone, for clients that show no card."""

from collections.abc import Iterable, Mapping

from mcpserve_get_weather.hazards import short
from mcpserve_get_weather.report import Current, Day, Hour, Units, Weather

COMPASS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")

UNKNOWN = "unknown"

POLAR: Mapping[float | None, str] = {0: "the sun does not rise", 24: "the sun does not set"}
"""What to say of so many hours of daylight."""


def summary(weather: Weather) -> str:
    """Return the weather in lines: place, now, warnings, hours, days; without what is unknown."""
    place, units = weather.place, weather.units
    name = ", ".join(filter(None, (place.name, place.region, place.country)))
    lines = [
        f"{name} ({place.latitude:g},{place.longitude:g}; times in {place.timezone})",
        *([weather.notice] if weather.notice else []),
        f"Now, {clock(weather.current.time)}: {now(weather.current, units)}",
        *(f"Warning: {warning}" for warning in weather.warnings),
        *(f"{clock(each.time)}: {hour(each, units)}" for each in weather.hourly),
        *(f"{short(each)} ({each.date}): {day(each, units)}" for each in weather.daily),
        "Weather data by Open-Meteo.com",
    ]
    return "\n".join(lines)


def now(current: Current, units: Units) -> str:
    """Describe the weather now."""
    direction = current.wind_direction
    return joined(
        current.condition,
        with_unit(current.temperature, units.temperature),
        with_unit(current.feels_like, units.temperature, "feels like "),
        with_unit(current.precipitation, units.precipitation, "precipitation "),
        with_unit(current.wind_speed, units.wind_speed, "wind "),
        None if direction is None else f"from {COMPASS[round(direction / 45) % 8]}",
        with_unit(current.wind_gusts, units.wind_speed, "gusts "),
        with_unit(current.humidity, "%", "humidity "),
        with_unit(current.visibility, units.visibility, "visibility "),
    )


def hour(values: Hour, units: Units) -> str:
    """Describe an hour."""
    return joined(
        values.condition,
        with_unit(values.temperature, units.temperature),
        with_unit(values.precipitation_probability, "%", "rain or snow "),
        with_unit(values.precipitation or None, units.precipitation),
        with_unit(values.wind_speed, units.wind_speed, "wind "),
        with_unit(values.wind_gusts, units.wind_speed, "gusts "),
    )


def day(values: Day, units: Units) -> str:
    """Describe a day."""
    return joined(
        values.condition,
        with_unit(values.temperature_min, units.temperature, "from "),
        with_unit(values.temperature_max, units.temperature, "to "),
        with_unit(values.precipitation_probability, "%", "rain or snow "),
        with_unit(values.precipitation or None, units.precipitation),
        with_unit(values.snowfall or None, units.snowfall, "snow "),
        with_unit(values.wind_gusts_max, units.wind_speed, "gusts "),
        with_unit(values.uv_index_max, "", "UV index "),
        sun(values),
    )


def sun(values: Day) -> str | None:
    """Say from when to when the sun is up."""
    if values.sunrise is None or values.sunset is None:
        return POLAR.get(values.daylight_hours)
    return f"sun {values.sunrise[-5:]} to {values.sunset[-5:]}"


def with_unit(value: float | None, unit: str, words: str = "") -> str | None:
    """Return a number with its unit, or nothing if it is not known."""
    return None if value is None else f"{words}{value:g} {unit}".rstrip()


def joined(*parts: str | None) -> str:
    """Return the parts that are known."""
    known: Iterable[str] = (part for part in parts if part)
    return ", ".join(known) or UNKNOWN


def clock(time: str) -> str:
    """Return date and time of ISO 8601 as people write it."""
    return time.replace("T", " ")

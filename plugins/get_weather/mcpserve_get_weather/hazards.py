"""Which days deserve a warning: fixed limits, not the warnings of a weather service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mcpserve_get_weather.report import Day, Units


@dataclass(frozen=True)
class Limit:
    """From where on a value of a day is worth a warning."""

    words: str
    value: str
    """The name of the day's value."""
    unit: str
    """The name of its unit; empty if it has none."""
    limits: Mapping[str, float]
    """By the unit in which the value is."""
    is_minimum: bool = False
    """Whether the limit is one from which downwards to warn."""

    def reached(self, day: Day, unit: str) -> float | None:
        """Return the value if it is worth a warning."""
        value: float | None = getattr(day, self.value)
        limit = self.limits.get(unit)
        if value is None or limit is None:
            return None
        return value if (value <= limit if self.is_minimum else value >= limit) else None


LIMITS = (
    # Beaufort 9, strong gale.
    Limit("Storm gusts", "wind_gusts_max", "wind_speed", {"km/h": 75, "mph": 47}),
    Limit("Heavy precipitation", "precipitation", "precipitation", {"mm": 50, "inch": 2}),
    Limit("Heavy snowfall", "snowfall", "snowfall", {"cm": 10, "inch": 4}),
    Limit("Great heat", "temperature_max", "temperature", {"°C": 35, "°F": 95}),
    # Moist air or wind makes of less what endangers just so.
    Limit("Great heat as felt", "feels_like_max", "temperature", {"°C": 40, "°F": 104}),
    Limit(
        *("Severe frost", "temperature_min", "temperature", {"°C": -20, "°F": -4}), is_minimum=True
    ),
    Limit(
        *("Severe cold as felt", "feels_like_min", "temperature", {"°C": -28, "°F": -18}),
        is_minimum=True,
    ),
    # "Very high" of the World Health Organization.
    Limit("Very high UV index", "uv_index_max", "", {"": 8}),
)

CONDITIONS = {"Thunderstorm": "thunderstorm", "Freezing rain": "freezing"}
"""A warning, and what the weather of a day in words has in it then."""


def warnings(days: Sequence[Day], units: Units) -> list[str]:
    """Return a sentence for each hazard: what, how bad at most, and on which days."""
    found = [
        f"{words}: {dates(hit)}"
        for words, part in CONDITIONS.items()
        if (hit := [day for day in days if part in (day.condition or "")])
    ]
    for limit in LIMITS:
        unit = getattr(units, limit.unit) if limit.unit else ""
        reached = {day.date: limit.reached(day, unit) for day in days}
        values = {date: value for date, value in reached.items() if value is not None}
        if not values:
            continue
        hit = [day for day in days if day.date in values]
        extent = (
            f"down to {min(values.values()):g}"
            if limit.is_minimum
            else f"up to {max(values.values()):g}"
        )
        found.append(f"{limit.words}, {f'{extent} {unit}'.rstrip()}: {dates(hit)}")
    return found


def dates(days: Sequence[Day]) -> str:
    """Name the days, shortly."""
    return ", ".join(short(day) for day in days)


def short(day: Day) -> str:
    """Return a date such as "Wed 23 Sep"."""
    return f"{day.date:%a} {day.date.day} {day.date:%b}"

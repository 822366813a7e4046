"""Which days deserve a warning: fixed limits, not the warnings of a weather service."""

from collections.abc import Sequence
from dataclasses import dataclass

from mcpserve_get_weather.report import Day, Units
from mcpserve_get_weather.units import System, spelled


@dataclass(frozen=True)
class Limit:
    """From where on a value of a day is worth a warning, in either system of units."""

    words: str
    value: str
    """The name of the day's value."""
    unit: str
    """The name of its unit; empty if it has none."""
    metric: float
    imperial: float
    is_minimum: bool = False
    """Whether the limit is one from which downwards to warn."""

    def reached(self, day: Day, system: System) -> float | None:
        """Return the value if it is worth a warning."""
        value: float | None = getattr(day, self.value)
        limit = self.metric if system == "metric" else self.imperial
        if value is None or (value > limit if self.is_minimum else value < limit):
            return None
        return value


LIMITS = (
    # Beaufort 9, strong gale.
    Limit("Storm gusts", "wind_gusts_max", "wind_speed", 75, 47),
    Limit("Heavy precipitation", "precipitation", "precipitation", 50, 2),
    Limit("Heavy snowfall", "snowfall", "snowfall", 10, 4),
    Limit("Great heat", "temperature_max", "temperature", 35, 95),
    Limit("Severe frost", "temperature_min", "temperature", -20, -4, is_minimum=True),
    # "Very high" of the World Health Organization.
    Limit("Very high UV index", "uv_index_max", "", 8, 8),
)

CONDITIONS = {"Thunderstorm": "thunderstorm", "Freezing rain": "freezing"}
"""A warning, and what the weather of a day in words has in it then."""


def warnings(days: Sequence[Day], units: Units, system: System) -> list[str]:
    """Return a sentence for each hazard: what, how bad at most, and on which days."""
    found = [
        f"{words}: {dates(hit)}"
        for words, part in CONDITIONS.items()
        if (hit := [day for day in days if part in (day.condition or "")])
    ]
    for limit in LIMITS:
        reached = {day.date: limit.reached(day, system) for day in days}
        values = {date: value for date, value in reached.items() if value is not None}
        if not values:
            continue
        hit = [day for day in days if day.date in values]
        extent = (
            f"down to {min(values.values()):g}"
            if limit.is_minimum
            else f"up to {max(values.values()):g}"
        )
        unit = f" {spelled(getattr(units, limit.unit))}" if limit.unit else ""
        found.append(f"{limit.words}, {extent}{unit}: {dates(hit)}")
    return found


def dates(days: Sequence[Day]) -> str:
    """Name the days, shortly."""
    return ", ".join(short(day) for day in days)


def short(day: Day) -> str:
    """Return a date such as "Wed 23 Sep"."""
    return f"{day.date:%a} {day.date.day} {day.date:%b}"

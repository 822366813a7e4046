"""Metric or imperial: what the service is asked for, and what is usual where."""

from typing import Literal

System = Literal["metric", "imperial"]
Choice = Literal["auto", "metric", "imperial"]

PARAMETERS: dict[System, dict[str, str]] = {
    "metric": {
        "temperature_unit": "celsius",
        "wind_speed_unit": "kmh",
        "precipitation_unit": "mm",
    },
    "imperial": {
        "temperature_unit": "fahrenheit",
        "wind_speed_unit": "mph",
        "precipitation_unit": "inch",
    },
}

IMPERIAL = frozenset({"US", "AS", "GU", "MP", "PR", "UM", "VI", "LR", "MM"})
"""ISO 3166 codes: the United States with their territories, Liberia and Myanmar."""


def spelled(unit: str) -> str:
    """Return a unit of the service as people write it."""
    return "mph" if unit == "mp/h" else unit


def usual(country_code: str) -> System:
    """Return the units of a country; metric if it is not known."""
    return "imperial" if country_code in IMPERIAL else "metric"

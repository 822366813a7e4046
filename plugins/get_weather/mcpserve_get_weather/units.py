"""Systems of units: what the service is asked for, and what is usual where."""

from typing import Literal

System = Literal["metric", "imperial", "uk"]
Choice = Literal["auto", "metric", "imperial", "uk"]

METRIC = {"temperature_unit": "celsius", "wind_speed_unit": "kmh", "precipitation_unit": "mm"}

PARAMETERS: dict[System, dict[str, str]] = {
    "metric": METRIC,
    "imperial": {
        "temperature_unit": "fahrenheit",
        "wind_speed_unit": "mph",
        "precipitation_unit": "inch",
    },
    # As forecasts there have it.
    "uk": METRIC | {"wind_speed_unit": "mph"},
}

USUAL: dict[str, System] = {
    # The United States with their territories, Liberia and Myanmar.
    **dict.fromkeys(("US", "AS", "GU", "MP", "PR", "UM", "VI", "LR", "MM"), "imperial"),
    # The United Kingdom with the islands between.
    **dict.fromkeys(("GB", "GG", "IM", "JE"), "uk"),
}
"""Units by ISO 3166 code; metric everywhere else."""


def usual(country_code: str) -> System:
    """Return the units of a country; metric if it is not known."""
    return USUAL.get(country_code, "metric")


def of_locale(locale: str | None) -> System | None:
    """Return the units that are usual where somebody is at home; ``None`` without a country.

    In a tag of usual case nothing but the country is in upper case.
    """
    parts = (locale or "").split("-")
    return next((usual(part) for part in parts if part.isupper()), None)

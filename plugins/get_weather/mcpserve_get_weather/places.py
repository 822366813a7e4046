"""Which place is meant: reading what the model wrote, and choosing among what was found.

Pure functions; whatever cannot be decided is a ``ToolError`` that says how to ask again.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, model_validator

from mcpserve import ToolError
from mcpserve_get_weather.names import COUNTRY_CODES, REGIONS

COORDINATES = re.compile(r"\s*([+-]?\d{1,3}(?:\.\d+)?)\s*,\s*([+-]?\d{1,3}(?:\.\d+)?)\s*")

DOMINANT = 3
"""A place this many times as populous as all others of its name is meant without asking."""

NEARBY = 0.3
"""Degrees within which two results have the same weather: a city, its island, its airport."""

SHOWN = 5
"""Candidates that an answer names."""

ADVICE = (
    "Give city and country in English, for example 'Munich, Germany', without street or district, "
    "or 'latitude,longitude'."
)


class Candidate(BaseModel):
    """A result of the geocoding service. It leaves out empty fields, and zeros with them."""

    name: str
    latitude: float = 0.0
    longitude: float = 0.0
    country_code: str = ""
    country: str = ""
    admin1: str = ""
    admin2: str = ""
    admin3: str = ""
    admin4: str = ""
    feature_code: str = ""
    population: int = 0

    @model_validator(mode="after")
    def _has_coordinates(self) -> "Candidate":
        if not self.latitude and not self.longitude:
            raise ValueError("neither latitude nor longitude")
        return self

    @property
    def whole_country(self) -> bool:
        """Whether this is a country, a territory or a continent (GeoNames feature codes)."""
        return self.feature_code.startswith(("PCL", "CONT"))

    @property
    def label(self) -> str:
        """Name, region and country: what ``place`` accepts."""
        return ", ".join(filter(None, (self.name, self.admin1, self.country or self.country_code)))


@dataclass(frozen=True)
class Query:
    """A place in the words of the model."""

    name: str
    areas: tuple[str, ...]
    """Regions or countries that the place lies in, all of them."""
    country: str
    """The argument ``country``; may be empty."""

    @classmethod
    def parse(cls, place: str, country: str | None) -> "Query":
        """Split at commas: the service matches names only."""
        name, *areas = (part.strip() for part in place.split(","))
        return cls(name, tuple(filter(None, areas)), (country or "").strip())

    @property
    def country_code(self) -> str:
        """ISO 3166 code of ``country``, or empty if it is a name that only the service knows."""
        return country_code(self.country)

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.name, *self.areas, self.country)))


def at_coordinates(place: str) -> Candidate | None:
    """Return the point if ``place`` is 'latitude,longitude'."""
    match = COORDINATES.fullmatch(place)
    if match is None:
        return None
    latitude, longitude = float(match[1]), float(match[2])
    if abs(latitude) > 90 or abs(longitude) > 180:
        raise ToolError(
            f"{place!r} is no point on earth: give 'latitude,longitude', latitude from -90 to 90, "
            "longitude from -180 to 180."
        )
    # Not validated: 0,0 is a point, too.
    return Candidate.model_construct(name=place.strip(), latitude=latitude, longitude=longitude)


def choose(query: Query, found: Sequence[Candidate]) -> Candidate:
    """Return the place that is meant. ``found`` is in the service's order, most relevant first.

    Considered are the places of the name asked for, and of the name of the most relevant result
    ("Bombay" finds Mumbai first). Of these the by far most populous one is meant.
    """
    if not found:
        raise ToolError(f"No place found for '{query}'. {ADVICE}")
    inside = [candidate for candidate in found if lies_in(candidate, query)]
    if not inside:
        raise ToolError(
            f"No place found for '{query}', but there is {listed(namesakes(query, found))}. "
            f"If one of these is meant, repeat the call with it as place. {ADVICE}"
        )
    considered = without_countries(namesakes(query, inside))
    best, *others = sorted(considered, key=lambda candidate: -candidate.population)
    rivals = [
        other
        for other in others
        if other.population * DOMINANT >= best.population and not nearby(best, other)
    ]
    if not rivals:
        return best
    region = best.admin1 or best.country or best.country_code
    raise ToolError(
        f"'{query}' may be {listed([best, *rivals])}. Ask the user which one if it is not clear, "
        f"and repeat the call with place='City, Region' (here: '{best.name}, {region}'), with "
        "`country`, or with the coordinates as place."
    )


def namesakes(query: Query, found: Sequence[Candidate]) -> list[Candidate]:
    """Return the places with the name asked for or the name of the most relevant result."""
    names = {normal(query.name), normal(found[0].name)}
    return [candidate for candidate in found if normal(candidate.name) in names]


def without_countries(found: list[Candidate]) -> list[Candidate]:
    """If a country has the name, keep its places of that name (Singapore), or refuse (Jordan)."""
    country = next((candidate for candidate in found if candidate.whole_country), None)
    if country is None:
        return found
    places = [
        candidate
        for candidate in found
        if not candidate.whole_country and candidate.country_code == country.country_code
    ]
    if not places:
        raise ToolError(
            f"{country.name} is a whole country or continent. Repeat the call with a city in it "
            "as 'City, Country'. If a town of that name is meant, add its region: 'City, Region'."
        )
    return places


def lies_in(candidate: Candidate, query: Query) -> bool:
    """Whether the candidate is in the country and in all the areas that were asked for."""
    if query.country and not in_country(candidate, query.country):
        return False
    return all(in_area(candidate, area) for area in query.areas)


def in_country(candidate: Candidate, country: str) -> bool:
    """Whether this is the candidate's country, by code or by name."""
    code = country_code(country)
    if code and code == candidate.country_code:
        return True
    return normal(country) == normal(candidate.country)


def in_area(candidate: Candidate, area: str) -> bool:
    """Whether the area, maybe abbreviated, is a region or the country of the candidate."""
    if in_country(candidate, area):
        return True
    abbreviated = REGIONS.get(candidate.country_code, {})
    wanted = normal(abbreviated.get(normal(area), area))
    regions = (candidate.admin1, candidate.admin2, candidate.admin3, candidate.admin4)
    return wanted in map(normal, regions)


def country_code(country: str) -> str:
    """Return the ISO 3166 code, or empty for a name that only the service knows."""
    code = country.upper() if len(country) == 2 else ""
    return COUNTRY_CODES.get(normal(country), code)


def nearby(one: Candidate, other: Candidate) -> bool:
    """Whether two results are the same place as far as weather is concerned."""
    return (
        abs(one.latitude - other.latitude) < NEARBY
        and abs(one.longitude - other.longitude) < NEARBY
    )


def normal(name: str) -> str:
    """Return the name without accents, case, punctuation and a leading "The"."""
    plain = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", name.casefold())
        if not unicodedata.combining(letter) and letter not in ".'’"
    )
    return " ".join(plain.replace("-", " ").split()).removeprefix("the ")


def listed(found: Sequence[Candidate]) -> str:
    """Name the first candidates, each with what tells it from the others."""
    return "; ".join(
        f"{candidate.label} (population {candidate.population or 'unknown'}, "
        f"at {candidate.latitude:.4f},{candidate.longitude:.4f})"
        for candidate in found[:SHOWN]
    )

"""The tool ``get_weather``: current weather and a forecast of up to seven days from Open-Meteo."""

import logging
from contextlib import AsyncExitStack
from typing import Annotated, Literal

import httpx
from pydantic import Field

from mcpserve import Tool, ToolAnnotations, __version__, hookimpl, tool
from mcpserve_get_weather.config import Config
from mcpserve_get_weather.open_meteo import OpenMeteo
from mcpserve_get_weather.places import Candidate, Query, at_coordinates, choose
from mcpserve_get_weather.report import Weather

USER_AGENT = f"mcpserve-get-weather (mcpserve/{__version__})"


@hookimpl
def mcpserve_config() -> type[Config]:
    """Return the model of this plugin's ``config:``."""
    return Config


@hookimpl
async def mcpserve_tools(config: Config, exit_stack: AsyncExitStack) -> list[Tool]:
    """Open the one HTTP client that all calls share, and return the tool."""
    # No timeout of httpx: it counts each read anew. OpenMeteo limits the whole request.
    client = httpx.AsyncClient(headers={"User-Agent": USER_AGENT}, timeout=None)  # noqa: S113
    service = OpenMeteo(await exit_stack.enter_async_context(client), config)
    keep_out_of_the_log(config.api_key.get_secret_value(), exit_stack)

    @tool(
        title="Weather",
        annotations=ToolAnnotations(
            title="Weather",
            read_only_hint=True,
            destructive_hint=False,
            idempotent_hint=True,
            open_world_hint=True,
        ),
    )
    async def get_weather(
        place: Annotated[
            str,
            Field(
                min_length=1,
                max_length=200,
                description="A city, best as 'City, Country' or 'City, Region, Country' in "
                "English; or a postal code; or 'latitude,longitude' such as '48.85,2.35'.",
            ),
        ],
        days: Annotated[
            int, Field(ge=1, le=7, description="Days of forecast, today included: 1 to 7.")
        ] = 3,
        units: Annotated[
            Literal["metric", "imperial"],
            Field(description="metric: °C, km/h, mm. imperial: °F, mph, inches."),
        ] = "metric",
        country: Annotated[
            Annotated[str, Field(max_length=60)] | None,
            Field(
                description="Country of the place, where its name alone is ambiguous: a two-letter "
                "ISO 3166 code such as 'US' (safest) or the English name."
            ),
        ] = None,
    ) -> Weather:
        """Get the weather of a place: what it is now, and a forecast for today and up to 6 days on.

        Use it for any question about temperature, rain, snow, wind, sunrise or sunset today or in
        the coming week. It knows neither past weather nor anything beyond seven days.
        Times are local to the place. Check `place` in the answer: it says which place was meant.
        Data by Open-Meteo.com.
        """
        where = at_coordinates(place) or await find(service, Query.parse(place, country))
        return await service.forecast(where, days=days, units=units)

    return [get_weather]


async def find(service: OpenMeteo, query: Query) -> Candidate:
    """Return the one place that is meant, or raise a ``ToolError`` that says how to name it."""
    return choose(query, await service.search(query))


def keep_out_of_the_log(secret: str, exit_stack: AsyncExitStack) -> None:
    """Drop the lines in which httpx would log a URL with this secret."""
    if not secret:
        return

    def harmless(record: logging.LogRecord) -> bool:
        return secret not in record.getMessage()

    logger = logging.getLogger("httpx")
    logger.addFilter(harmless)
    exit_stack.callback(logger.removeFilter, harmless)

"""The tool ``get_weather``: weather and forecast from Open-Meteo, and a card that shows them."""

import logging
from contextlib import AsyncExitStack
from importlib.resources import files
from typing import Annotated

import httpx
from pydantic import Field

from mcpserve import (
    CallToolResult,
    Resource,
    TextContent,
    Tool,
    ToolAnnotations,
    ToolContext,
    __version__,
    app_page,
    hookimpl,
    shown_on,
    tool,
)
from mcpserve_get_weather.cache import Cache
from mcpserve_get_weather.config import Config
from mcpserve_get_weather.hazards import warnings
from mcpserve_get_weather.open_meteo import DAYS, HOURS, OpenMeteo
from mcpserve_get_weather.places import Candidate, Query, at_coordinates, choose
from mcpserve_get_weather.report import Weather
from mcpserve_get_weather.summary import summary
from mcpserve_get_weather.units import Choice, System, of_locale, usual

USER_AGENT = f"mcpserve-get-weather (mcpserve/{__version__})"

CACHED = 128
"""Answers that are kept at most, of either service. One has about 100 kB."""

CARD = app_page(
    "ui://get_weather/forecast",
    files(__name__).joinpath("forecast.html").read_text(encoding="utf-8"),
    title="Weather",
    description="Shows the weather that get_weather answers.",
    prefers_border=True,
)


@hookimpl
def mcpserve_config() -> type[Config]:
    """Return the model of this plugin's ``config:``."""
    return Config


@hookimpl
async def mcpserve_tools(config: Config, exit_stack: AsyncExitStack) -> list[Tool]:
    """Open the one HTTP client that all calls share, and return the tool."""
    # No timeout of httpx: it counts each read anew. OpenMeteo limits the whole request.
    client = httpx.AsyncClient(headers={"User-Agent": USER_AGENT}, timeout=None)  # noqa: S113
    await exit_stack.enter_async_context(client)
    cache = Cache(seconds=config.cache_for, size=CACHED)
    exit_stack.push_async_callback(cache.close)
    service = OpenMeteo(client, config, cache)
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
        meta=shown_on(CARD),
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
        *,
        context: ToolContext,
        days: Annotated[
            int,
            Field(ge=1, le=DAYS, description=f"Days of forecast, today included: 1 to {DAYS}."),
        ] = 5,
        units: Annotated[
            Choice,
            Field(
                description="metric: °C, km/h, mm. imperial: °F, mph, inches. uk: °C, mph, mm. "
                "Choose only what the user asks for; auto is what is usual where the user is at "
                "home, as far as their client tells, else at the place."
            ),
        ] = "auto",
        country: Annotated[
            Annotated[str, Field(max_length=60)] | None,
            Field(
                description="Country of the place, where its name alone is ambiguous: a two-letter "
                "ISO 3166 code such as 'US' (safest) or the English name."
            ),
        ] = None,
        hours: Annotated[
            int,
            Field(
                ge=0, le=HOURS, description=f"Hours of forecast, this one included: 0 to {HOURS}."
            ),
        ] = 12,
    ) -> Annotated[CallToolResult, Weather]:
        """Get the weather of a place: what it is now, hour by hour, and for up to 16 days.

        Use it for any question about temperature, rain, snow, wind, UV index, sunrise or sunset
        now or in the coming two weeks, and about dangerous weather. It does not know past weather.
        Times are local to the place. Check `place` in the answer: it says which place was meant.
        Data by Open-Meteo.com.
        """
        where = at_coordinates(place) or await find(service, Query.parse(place, country))
        here = of_locale(context.locale) or usual(where.country_code)
        whole = await service.forecast(where, chosen(units, config.units) or here)
        return answer(excerpt(whole, days=days, hours=hours))

    return [get_weather]


@hookimpl
def mcpserve_resources() -> list[Resource]:
    """Return the page on which the answer is shown."""
    return [CARD]


async def find(service: OpenMeteo, query: Query) -> Candidate:
    """Return the one place that is meant, or raise a ``ToolError`` that says how to name it."""
    return choose(query, await service.search(query))


def chosen(*choices: Choice) -> System | None:
    """Return the first units that somebody chose."""
    return next((choice for choice in choices if choice != "auto"), None)


def excerpt(weather: Weather, *, days: int, hours: int) -> Weather:
    """Return as much of the forecast as was asked for, with warnings for these days."""
    shown = weather.daily[:days]
    changes = {
        "hourly": weather.hourly[:hours],
        "daily": shown,
        "warnings": warnings(shown, weather.units),
    }
    return weather.model_copy(update=changes)


def answer(weather: Weather) -> CallToolResult:
    """Return the weather as data for programs, and as a text for whoever reads."""
    return CallToolResult(
        content=[TextContent(type="text", text=summary(weather))],
        structured_content=weather.model_dump(mode="json"),
    )


def keep_out_of_the_log(secret: str, exit_stack: AsyncExitStack) -> None:
    """Drop the lines in which httpx would log a URL with this secret."""
    if not secret:
        return

    def harmless(record: logging.LogRecord) -> bool:
        return secret not in record.getMessage()

    logger = logging.getLogger("httpx")
    logger.addFilter(harmless)
    exit_stack.callback(logger.removeFilter, harmless)

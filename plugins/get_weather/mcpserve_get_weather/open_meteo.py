"""The two services of Open-Meteo over HTTP. Whatever goes wrong there is a ``ToolError``."""

import asyncio
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import BaseModel, HttpUrl

from mcpserve import ToolError
from mcpserve_get_weather.cache import Cache
from mcpserve_get_weather.config import Config
from mcpserve_get_weather.places import Candidate, Query
from mcpserve_get_weather.report import CURRENT, DAILY, HOURLY, Weather, weather
from mcpserve_get_weather.units import PARAMETERS, System

RESULTS = 100
"""The most that the geocoding service returns: regions are sorted out here."""

DAYS, HOURS = 16, 48
"""What is always asked for, whatever of it is shown, so that one answer serves many calls."""

UNREADABLE = (
    "The weather service gave an answer that cannot be read. This is not due to the arguments; "
    "tell the user that the weather is not available at the moment."
)


class SearchResults(BaseModel):
    """The answer of the geocoding service; without results it has no such field."""

    results: list[Candidate] = []


@dataclass(frozen=True)
class OpenMeteo:
    """The services behind one shared HTTP client and one cache."""

    http: httpx.AsyncClient = field(repr=False)
    config: Config
    cache: Cache = field(repr=False)

    async def search(self, query: Query) -> list[Candidate]:
        """Return the places that may be meant, most relevant first; empty if there are none."""
        key = ("search", query.name.casefold(), query.country_code)
        return await self.cache.get(key, functools.partial(self._search, query))

    async def forecast(self, where: Candidate, system: System) -> Weather:
        """Return the weather at a place, as many days and hours as there are.

        If the service fails that is what it said before, with a notice, as long as that will do.
        """
        key = ("forecast", where.label, where.latitude, where.longitude, system)
        ask = functools.partial(self._forecast, where, system)
        return await self.cache.get(key, ask, outdated=outdated)

    async def _search(self, query: Query) -> list[Candidate]:
        parameters = {
            "name": query.name,
            "count": str(RESULTS),
            "language": self.config.language,
            "format": "json",
        }
        if query.country_code:
            parameters["countryCode"] = query.country_code
        answer = await self._get(self.config.geocoding_url, "/v1/search", parameters)
        try:
            return SearchResults.model_validate(answer).results
        except ValueError as error:
            raise ToolError(UNREADABLE) from error

    async def _forecast(self, where: Candidate, system: System) -> Weather:
        parameters = {
            "latitude": str(where.latitude),
            "longitude": str(where.longitude),
            "current": ",".join(CURRENT.values()),
            "hourly": ",".join(HOURLY.values()),
            "daily": ",".join(DAILY.values()),
            "timezone": "auto",
            "forecast_days": str(DAYS),
            "forecast_hours": str(HOURS),
            **PARAMETERS[system],
        }
        answer = await self._get(self.config.forecast_url, "/v1/forecast", parameters)
        try:
            return weather(where, answer)
        except (KeyError, TypeError, ValueError) as error:
            raise ToolError(UNREADABLE) from error

    async def _get(self, base: HttpUrl, path: str, parameters: Mapping[str, str]) -> Any:
        """Return the JSON of an answer 2xx."""
        key = self.config.api_key.get_secret_value()
        request = self.http.build_request(
            "GET",
            str(base).rstrip("/") + path,
            params={**parameters, "apikey": key} if key else parameters,
        )
        try:
            async with asyncio.timeout(self.config.timeout):
                response = await self._send(request)
        except TimeoutError as error:
            raise ToolError(
                f"The weather service did not answer within {self.config.timeout:g} s. "
                "It may be overloaded: try once more later, not at once."
            ) from error
        except httpx.HTTPError as error:
            raise ToolError(
                "The weather service cannot be reached. Do not repeat the call now; tell the user "
                "that the weather is not available at the moment."
            ) from error
        if not response.is_success:
            raise refusal(response)
        try:
            return response.json()
        except ValueError as error:
            raise ToolError(UNREADABLE) from error

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """Send the request, and once more if the connection failed."""
        try:
            return await self.http.send(request)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            # Mostly an idle connection that the other side had closed.
            return await self.http.send(request)


def outdated(last: Weather) -> Weather:
    """Return an answer of before with a notice that says so."""
    time = last.current.time.replace("T", " ")
    notice = f"The weather service does not answer now. This is what it said at {time}, local time."
    return last.model_copy(update={"notice": notice})


def refusal(response: httpx.Response) -> ToolError:
    """Return what to tell a model of an answer that is not 2xx."""
    status = f"HTTP {response.status_code}{reason(response)}"
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return ToolError(
            f"The weather service accepts no more requests for now ({status}). "
            "Wait before calling again; repeating at once makes it worse."
        )
    if response.is_server_error:
        return ToolError(
            f"The weather service is out of order ({status}). This is not due to the arguments; "
            "try again in a few minutes."
        )
    return ToolError(
        f"The weather service refused the request ({status}). The same call will fail again."
    )


def reason(response: httpx.Response) -> str:
    """Return the service's own words, ``{"error": true, "reason": "…"}``, if there are any."""
    try:
        return f": {response.json()['reason']}"[:300]
    except (ValueError, KeyError, TypeError):
        return ""

"""Open-Meteo on 127.0.0.1: both services, in the form in which the real ones answer."""

import asyncio
import inspect
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import mcpserve_get_weather
import pytest
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from mcpserve.testing import load_plugin


def found(name, latitude, longitude, code, country, admin1, population, **more):
    """Return one result. The service leaves out fields that are empty or zero."""
    fields = {
        "id": 1,
        "name": name,
        "latitude": latitude,
        "longitude": longitude,
        "elevation": 74.0,
        "feature_code": "PPL",
        "country_code": code,
        "admin1_id": 2,
        "timezone": "Etc/UTC",
        "population": population,
        "postcodes": ["10967", "13347"],
        "country_id": 3,
        "country": country,
        "admin1": admin1,
    }
    return {key: value for key, value in (fields | more).items() if value}


US, GB, CA = ("US", "United States"), ("GB", "United Kingdom"), ("CA", "Canada")
MUMBAI = found("Mumbai", 19.07283, 72.88261, "IN", "India", "Maharashtra", 12691836)
WASHINGTON = found(
    "Washington D.C.", 38.89511, -77.03637, *US, "District of Columbia", 689545, feature_code="PPLC"
)

GAZETTEER = {
    "paris": [
        found("Paris", 48.85341, 2.3488, "FR", "France", "Île-de-France", 2138551),
        found("Paris", 33.66094, -95.55551, *US, "Texas", 24839),
        found("Parish", 43.40, -76.13, *US, "New York", 450),
    ],
    "london": [
        found("London", 51.50853, -0.12574, *GB, "England", 8961989, feature_code="PPLC"),
        found("London", 42.98339, -81.23304, *CA, "Ontario", 422324),
        found("Londonderry", 54.9981, -7.30934, *GB, "Northern Ireland", 83652),
    ],
    "springfield": [
        found("Springfield", 37.21533, -93.29824, *US, "Missouri", 170188, admin2="Greene"),
        found("Springfield", 39.80172, -89.64371, *US, "Illinois", 114394, admin2="Sangamon"),
        found("Springfield", 42.10148, -72.58981, *US, "Massachusetts", 155929),
        found("Springfield", 44.04624, -123.02203, *US, "Oregon", 60870),
        found("Springfield", 39.92423, -83.80882, *US, "Ohio", 59680),
        found("Springfield", 38.78928, -77.1872, *US, "Virginia", 58000),
        found("Springfield", 40.70491, -74.31723, *US, "New Jersey", 57000),
        found("Springfield Gardens", 40.66316, -73.76236, *US, "New York", 900000),
        found("Springfield", -43.33, 171.93, "NZ", "New Zealand", "Canterbury", 370),
    ],
    "valencia": [
        found("Valencia", 10.16202, -68.00765, "VE", "Venezuela", "Carabobo", 1385083),
        found("Valencia", 39.46975, -0.37739, "ES", "Spain", "Valencia", 814208),
    ],
    "bombay": [MUMBAI, found("Bombay", 44.93, -74.57, *US, "New York", 1357)],
    "washington": [
        WASHINGTON,
        found("Washington", 54.9, -1.51667, *GB, "England", 53388),
        found("Washington", 40.17396, -80.24617, *US, "Pennsylvania", 13663),
    ],
    "richmond": [
        found("Richmond", 49.17003, -123.13683, *CA, "British Columbia", 182000),
        found("Richmond", 37.93576, -122.34775, *US, "California", 109708),
    ],
    "singapore": [
        found("Singapore", 1.28967, 103.85007, "SG", "Singapore", "", 5638700),
        found("Singapore", 1.36667, 103.8, "SG", "Singapore", "", 5638676, feature_code="PCLI"),
        found("Singapore", 1.3571, 103.8226, "SG", "Singapore", "", 5000000, feature_code="ISL"),
    ],
    "jordan": [
        found("Jordan", 31.0, 36.0, "JO", "Jordan", "", 9956011, feature_code="PCLI"),
        found("Jordan", 44.66691, -93.62690, *US, "Minnesota", 6181),
    ],
    "hong kong": [found("Hong Kong", 22.27832, 114.17469, "HK", "", "", 7396076)],
    "greenwich": [found("Greenwich", 51.47785, 0.0, *GB, "England", 30578)],
    "são paulo": [found("São Paulo", -23.5475, -46.63611, "BR", "Brazil", "São Paulo", 12400232)],
    "10115": [found("Berlin", 52.52437, 13.41053, "DE", "Germany", "State of Berlin", 3426354)],
}
"""Lower-case ``name`` to results in the order of the real service. Of others it knows nothing."""

VARIABLES = {
    "temperature_2m": 21.4,
    "apparent_temperature": 20.9,
    "relative_humidity_2m": 55,
    "wind_speed_10m": 11.2,
    "wind_direction_10m": 240,
    "precipitation": 0.10,
    "is_day": 1,
    "weather_code": 61,
    "wind_gusts_10m": 33.5,
    "precipitation_probability": 35,
    "uv_index": 3.85,
    "wind_gusts_10m_max": 47.2,
    "uv_index_max": 4.3,
    "visibility": 24140.0,
    "apparent_temperature_min": 12.9,
    "apparent_temperature_max": 23.1,
    "daylight_duration": 43860.5,
    "snowfall_sum": 0.0,
    "temperature_2m_min": 14.2,
    "temperature_2m_max": 24.0,
    "precipitation_sum": 2.30,
    "precipitation_probability_max": 48,
    "wind_speed_10m_max": 19.8,
    "sunrise": "2026-09-23T07:31",
    "sunset": "2026-09-23T19:42",
}
UNITS = {
    "temperature_2m": {"celsius": "°C", "fahrenheit": "°F"},
    "wind_speed_10m": {"kmh": "km/h", "mph": "mp/h"},
    "precipitation": {"mm": "mm", "inch": "inch"},
    "visibility": {"mm": "m", "inch": "ft"},
}
FIRST_HOUR = datetime.fromisoformat("2026-09-23T14:00")


def forecast(asked):
    """Return the forecast for these query parameters, or the service's error."""
    current, hourly, daily = (asked[part].split(",") for part in ("current", "hourly", "daily"))
    if unknown := {*current, *hourly, *daily} - VARIABLES.keys():
        return 400, {
            "error": True,
            "reason": f"Cannot initialize VariableOrSpread from invalid String value {unknown}.",
        }
    chosen = {asked[f"{kind}_unit"] for kind in ("temperature", "wind_speed", "precipitation")}
    units = {
        variable: spelled
        for variable, words in UNITS.items()
        for unit, spelled in words.items()
        if unit in chosen
    }
    days, hours = int(asked["forecast_days"]), int(asked["forecast_hours"])
    return 200, {
        "latitude": 48.86,
        "longitude": 2.3399997,
        "generationtime_ms": 0.18,
        "utc_offset_seconds": 7200,
        "timezone": "Europe/Paris",
        "timezone_abbreviation": "GMT+2",
        "elevation": 38.0,
        "current_units": {"time": "iso8601", "interval": "seconds"} | units,
        "current": {"time": "2026-09-23T14:15", "interval": 900}
        | {variable: VARIABLES[variable] for variable in current},
        "hourly": {
            "time": [f"{FIRST_HOUR + timedelta(hours=n):%Y-%m-%dT%H:%M}" for n in range(hours)]
        }
        | {variable: [VARIABLES[variable]] * hours for variable in hourly},
        "daily_units": {"time": "iso8601"}
        | {"snowfall_sum": {"mm": "cm", "inch": "inch"}[asked["precipitation_unit"]]},
        "daily": {"time": [f"{FIRST_HOUR + timedelta(days=n):%Y-%m-%d}" for n in range(days)]}
        | {variable: [VARIABLES[variable]] * days for variable in daily},
    }


def search(asked):
    """Return the results for these query parameters."""
    code = asked.get("countryCode")
    results = [
        place
        for place in GAZETTEER.get(asked["name"].lower(), [])
        if code in (None, place["country_code"])
    ]
    return 200, ({"results": results} if results else {}) | {"generationtime_ms": 0.6}


@dataclass
class Upstream:
    """The running service. Replace ``search`` or ``forecast`` to have it misbehave."""

    base: str
    search: object = search
    forecast: object = forecast
    requests: list[HTTPServerRequest] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to let the answers go on that :meth:`hang`."""

    @property
    def config(self):
        return {"geocoding_url": self.base, "forecast_url": self.base}

    @property
    def asked(self):
        """The query parameters of each request, oldest first."""
        return [
            {key: values[-1].decode() for key, values in request.query_arguments.items()}
            for request in self.requests
        ]

    async def hang(self, _asked):
        """Answer not before the end of the test."""
        await self.released.wait()
        return 200, {}

    async def drip(self, _asked):
        """Answer one space at a time, for ever: no single read takes long."""
        while not self.released.is_set():
            yield " "
            await asyncio.sleep(0.02)


class Answer(RequestHandler):
    def initialize(self, upstream, name):
        self.upstream, self.name = upstream, name

    async def get(self):
        self.upstream.requests.append(self.request)
        answer = getattr(self.upstream, self.name)(self.upstream.asked[-1])
        if inspect.isasyncgen(answer):
            with suppress(StreamClosedError):
                async for piece in answer:
                    self.write(piece)
                    await self.flush()
            return
        if inspect.iscoroutine(answer):
            answer = await answer
        if answer is None:
            self.detach().close()
            return
        status, body = answer
        self.set_status(status)
        self.write(body)


@asynccontextmanager
async def serving():
    listener, port = bind_unused_port()
    upstream = Upstream(f"http://127.0.0.1:{port}")
    routes = [
        ("/v1/search", Answer, {"upstream": upstream, "name": "search"}),
        ("/v1/forecast", Answer, {"upstream": upstream, "name": "forecast"}),
    ]
    server = HTTPServer(Application(routes, log_function=lambda handler: None))
    server.add_socket(listener)
    try:
        yield upstream
    finally:
        upstream.released.set()
        server.stop()
        await server.close_all_connections()


@asynccontextmanager
async def loaded(**config):
    async with (
        serving() as upstream,
        load_plugin(mcpserve_get_weather, upstream.config | config) as plugin,
    ):
        yield plugin, upstream


@pytest.fixture
def weather():
    """Return an async context manager: the plugin and the service that it asks."""
    return loaded


@pytest.fixture
def closed_port():
    """Return a port on which nobody listens; it is taken, so that nobody will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]

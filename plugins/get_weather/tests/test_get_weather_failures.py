"""What a model reads when the services fail. Never a traceback, never a storm of requests."""

import logging

import pytest


@pytest.fixture(autouse=True)
def nothing_is_logged_as_an_error(caplog):
    """A crash would be logged with its traceback by the host."""
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def error_of(plugin, place="Paris"):
    """Call the tool; return the text of its error."""
    result = await plugin.call("get_weather", place=place)
    assert result.is_error
    return result.content[0].text


def refused(status, reason):
    """Return an answer in the service's form of an error."""
    return lambda asked: (status, {"error": True, "reason": reason})


@pytest.mark.parametrize("service", ["search", "forecast"])
async def test_slow_service_is_given_up_without_a_second_try(weather, service):
    async with weather(timeout=0.1) as (plugin, upstream):
        setattr(upstream, service, upstream.hang)
        text = await error_of(plugin)
        tries = [request.path for request in upstream.requests].count(f"/v1/{service}")
    assert text.startswith("The weather service did not answer within 0.1 s.")
    assert tries == 1


async def test_service_that_sends_drop_by_drop_is_given_up(weather):
    async with weather(timeout=0.2) as (plugin, upstream):
        upstream.forecast = upstream.drip
        text = await error_of(plugin)
    assert "did not answer within 0.2 s" in text


async def test_closed_port_says_that_the_service_is_down(weather, closed_port):
    async with weather(geocoding_url=f"http://127.0.0.1:{closed_port}") as (plugin, _):
        text = await error_of(plugin)
    assert text.startswith("The weather service cannot be reached.")


async def test_unknown_host_says_that_the_service_is_down(weather):
    async with weather(geocoding_url="http://weather.invalid") as (plugin, _):
        text = await error_of(plugin)
    assert text.startswith("The weather service cannot be reached.")


async def test_lost_connection_is_tried_once_more(weather):
    async with weather() as (plugin, upstream):
        answers = iter([None, upstream.search({"name": "Paris"})])
        upstream.search = lambda asked: next(answers)
        result = await plugin.call("get_weather", place="Paris")
    assert not result.is_error


async def test_connection_that_is_always_lost_is_tried_twice(weather):
    async with weather() as (plugin, upstream):
        upstream.search = lambda asked: None
        text = await error_of(plugin)
    assert text.startswith("The weather service cannot be reached.")
    assert len(upstream.requests) == 2


async def test_too_many_requests_says_to_wait_in_the_words_of_the_service(weather):
    words = "Minutely API request limit exceeded. Please try again in one minute."
    async with weather() as (plugin, upstream):
        upstream.forecast = refused(429, words)
        text = await error_of(plugin)
    assert text.startswith(
        f"The weather service accepts no more requests for now (HTTP 429: {words})"
    )
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("service", ["search", "forecast"])
async def test_fault_of_the_service_is_not_blamed_on_the_arguments(weather, service):
    async with weather() as (plugin, upstream):
        setattr(upstream, service, refused(500, "Something went wrong."))
        text = await error_of(plugin)
    assert "is out of order (HTTP 500: Something went wrong.)" in text
    assert [request.path for request in upstream.requests].count(f"/v1/{service}") == 1


async def test_fault_without_json_is_named_by_its_status(weather):
    async with weather() as (plugin, upstream):
        upstream.search = lambda asked: (502, "<html>Bad Gateway</html>")
        text = await error_of(plugin)
    assert "is out of order (HTTP 502)" in text


async def test_refusal_gives_the_reason(weather):
    async with weather() as (plugin, upstream):
        upstream.forecast = refused(400, "The supplied API key is invalid.")
        text = await error_of(plugin)
    assert "refused the request (HTTP 400: The supplied API key is invalid.)" in text


async def test_redirect_is_not_followed(weather):
    async with weather() as (plugin, upstream):
        upstream.search = lambda asked: (303, "")
        text = await error_of(plugin)
    assert "refused the request (HTTP 303)" in text


def without(section, name):
    """Take a field out of a section of the forecast."""

    def damage(body):
        del body[section][name]

    return damage


def shorter(body):
    """Make the columns of the days unequal."""
    body["daily"]["sunset"].pop()


def wordy(body):
    """Put a word where a number is."""
    body["current"]["temperature_2m"] = "mild"


def flat(body):
    """Put a single value where a column is."""
    body["daily"]["weather_code"] = 3


@pytest.mark.parametrize(
    "damage",
    [
        without("current", "temperature_2m"),
        without("current", "weather_code"),
        without("daily", "sunrise"),
        without("hourly", "uv_index"),
        without("daily_units", "snowfall_sum"),
        without("current_units", "precipitation"),
        lambda body: body.pop("daily"),
        lambda body: body.pop("hourly"),
        lambda body: body["hourly"]["time"].pop(),
        lambda body: body.pop("timezone"),
        shorter,
        wordy,
        flat,
    ],
)
async def test_forecast_of_another_form_cannot_be_read(weather, damage):
    async with weather() as (plugin, upstream):
        known = upstream.forecast

        def damaged(asked):
            status, body = known(asked)
            damage(body)
            return status, body

        upstream.forecast = damaged
        text = await error_of(plugin)
    assert "cannot be read" in text


@pytest.mark.parametrize("body", ["<html>Welcome</html>", "", '{"current": {', "[]", "null"])
@pytest.mark.parametrize("service", ["search", "forecast"])
async def test_answer_that_is_no_json_object_cannot_be_read(weather, service, body):
    async with weather() as (plugin, upstream):
        setattr(upstream, service, lambda asked: (200, body))
        text = await error_of(plugin)
    assert "cannot be read" in text


@pytest.mark.parametrize("result", [{"name": "Paris"}, {"latitude": 1.0, "longitude": 1.0}, 7])
async def test_result_without_name_or_coordinates_cannot_be_read(weather, result):
    async with weather() as (plugin, upstream):
        upstream.search = lambda asked: (200, {"results": [result]})
        text = await error_of(plugin)
    assert "cannot be read" in text

"""What is asked of the services again, and what is not."""

import asyncio
import contextlib

import pytest
from mcpserve_get_weather.cache import LAST_RESORT, Cache

from mcpserve import ToolError


def paths(upstream):
    """Return which services were asked, in order."""
    return [request.path.removeprefix("/v1/") for request in upstream.requests]


def running():
    """Return what tasks run, by name."""
    return {task.get_coro().__qualname__ for task in asyncio.all_tasks()}


async def test_the_same_place_is_not_asked_for_twice(weather):
    async with weather() as (plugin, upstream):
        first = await plugin.call("get_weather", place="Paris")
        second = await plugin.call("get_weather", place="Paris")
        more = await plugin.call("get_weather", place="Paris", days=16, hours=48)
    assert paths(upstream) == ["search", "forecast"]
    assert first == second
    assert len(more.structured_content["daily"]) == 16
    assert len(more.structured_content["hourly"]) == 48


async def test_other_units_and_other_places_are_asked_for(weather):
    async with weather() as (plugin, upstream):
        await plugin.call("get_weather", place="Paris")
        imperial = await plugin.call("get_weather", place="Paris", units="imperial")
        texas = await plugin.call("get_weather", place="Paris, Texas", units="metric")
        await plugin.call("get_weather", place="48.85341,2.3488")
    assert paths(upstream) == ["search", "forecast", "forecast", "forecast", "forecast"]
    assert imperial.structured_content["units"]["temperature"] == "°F"
    assert texas.structured_content["place"]["region"] == "Texas"


async def test_after_a_while_it_is_asked_for_again(weather):
    async with weather(cache_for=0.3) as (plugin, upstream):
        await plugin.call("get_weather", place="Paris")
        await plugin.call("get_weather", place="Paris")
        await asyncio.sleep(0.35)
        await plugin.call("get_weather", place="Paris")
    assert paths(upstream) == ["search", "forecast"] * 2


async def test_calls_at_the_same_moment_share_one_request(weather):
    async with weather(cache_for=0) as (plugin, upstream):
        calls = [plugin.call("get_weather", place="Paris") for _ in range(5)]
        results = await asyncio.gather(*calls)
        assert paths(upstream) == ["search", "forecast"]
        await plugin.call("get_weather", place="Paris")
    assert paths(upstream) == ["search", "forecast"] * 2
    assert not any(result.is_error for result in results)


@pytest.mark.parametrize("broken", [(503, {"reason": "full"}), (200, {"daily": {}}), (200, "<p>")])
@pytest.mark.parametrize("service", ["search", "forecast"])
async def test_failures_are_not_kept_and_reach_everybody_who_waits(weather, service, broken):
    async with weather() as (plugin, upstream):
        working = getattr(upstream, service)
        wrong = (200, {"results": 7}) if broken[1] == {"daily": {}} else broken
        setattr(upstream, service, lambda asked: wrong if service == "search" else broken)
        calls = [plugin.call("get_weather", place="Paris") for _ in range(3)]
        assert all(result.is_error for result in await asyncio.gather(*calls))
        assert paths(upstream).count(service) == 1
        setattr(upstream, service, working)
        assert not (await plugin.call("get_weather", place="Paris")).is_error
    assert paths(upstream).count(service) == 2


async def test_while_the_service_is_down_the_last_answer_stands_in_and_says_so(weather):
    async with weather(cache_for=0.2) as (plugin, upstream):
        fresh = await plugin.call("get_weather", place="Paris", days=1, hours=0)
        await asyncio.sleep(0.25)
        working = upstream.search, upstream.forecast
        upstream.search = upstream.forecast = lambda asked: (503, {})
        old = await plugin.call("get_weather", place="Paris", days=1, hours=0)
        other = await plugin.call("get_weather", place="London")
        await asyncio.sleep(0.25)
        upstream.search, upstream.forecast = working
        again = await plugin.call("get_weather", place="Paris", days=1, hours=0)
    told = old.structured_content
    assert "does not answer now" in told["notice"]
    assert "2026-09-23 14:15" in told["notice"]
    assert old.content[0].text.splitlines()[1] == told["notice"]
    assert told | {"notice": None} == fresh.structured_content
    assert other.is_error
    assert again == fresh


async def test_an_old_answer_stands_in_for_a_while_only_and_is_not_tried_at_each_call():
    now, asked, down = 0.0, [], False
    cache = Cache(seconds=600, size=2, clock=lambda: now)

    async def ask():
        asked.append(now)
        if down:
            raise ToolError("down")
        return "fresh"

    async def get():
        return await cache.get("a", ask, outdated=lambda value: f"{value}, old")

    assert await get() == "fresh"
    down = True
    for now in (599, 600, 659, 660):  # noqa: B007 - the clock reads it
        await get()
    assert asked == [0.0, 600, 660]
    now = 600 + LAST_RESORT
    with pytest.raises(ToolError, match="down"):
        await get()


async def test_what_is_not_to_be_kept_stands_in_for_nothing(weather):
    async with weather(cache_for=0) as (plugin, upstream):
        assert not (await plugin.call("get_weather", place="1,1")).is_error
        upstream.forecast = lambda asked: (503, {})
        assert (await plugin.call("get_weather", place="1,1")).is_error


async def test_who_hangs_up_takes_nobody_with_it(weather):
    async with weather() as (plugin, upstream):
        working = upstream.forecast

        async def late(asked):
            await upstream.released.wait()
            return working(asked)

        upstream.forecast = late
        first, second = (
            asyncio.create_task(plugin.call("get_weather", place="Paris")) for _ in range(2)
        )
        while "forecast" not in paths(upstream):
            await asyncio.sleep(0.01)
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        upstream.released.set()
        assert not (await second).is_error
    assert first.cancelled()
    assert paths(upstream) == ["search", "forecast"]


async def test_what_is_still_asked_ends_with_the_plugin(weather):
    async with weather() as (plugin, upstream):
        upstream.forecast = upstream.hang
        call = asyncio.create_task(plugin.call("get_weather", place="Paris"))
        while "forecast" not in paths(upstream):
            await asyncio.sleep(0.01)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        assert "Cache._ask" in running()
    # The service has tasks of its own, which may still be ending.
    assert "Cache._ask" not in running()


async def test_closing_ends_what_is_still_asked():
    cache = Cache(seconds=60, size=2)
    waiting = asyncio.create_task(cache.get("a", asyncio.Event().wait))
    await asyncio.sleep(0)
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_no_more_is_kept_than_fits_and_the_oldest_goes_first():
    cache = Cache(seconds=60, size=2)
    asked = []

    async def get(key):
        async def ask():
            asked.append(key)
            return key.upper()

        return await cache.get(key, ask)

    for key in "abbacaabc":
        assert await get(key) == key.upper()
    assert asked == ["a", "b", "c", "a", "b", "c"]


async def test_an_answer_that_is_renewed_is_the_youngest():
    now = 0.0
    cache = Cache(seconds=10, size=2, clock=lambda: now)
    asked = []

    async def get(key):
        async def ask():
            asked.append(key)
            return key

        return await cache.get(key, ask)

    await get("a")
    now = 9.0
    await get("b")
    await get("a")
    now = 10.0
    await get("a")
    await get("c")
    await get("a")
    await get("b")
    assert asked == ["a", "b", "a", "c", "b"]

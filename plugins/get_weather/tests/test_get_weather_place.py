"""Which place is meant."""

import pytest


async def place_of(plugin, **arguments):
    """Call the tool; return region and country of the place it chose."""
    result = await plugin.call("get_weather", **arguments)
    assert not result.is_error, result.content[0].text
    place = result.structured_content["place"]
    return place["region"] or place["name"], place["country"]


async def error_of(plugin, **arguments):
    """Call the tool; return the text of its error."""
    result = await plugin.call("get_weather", **arguments)
    assert result.is_error
    return result.content[0].text


@pytest.mark.parametrize(
    ("place", "region", "country"),
    [
        ("Paris", "Île-de-France", "France"),
        ("paris, FRANCE", "Île-de-France", "France"),
        ("Paris, Ile-de-France", "Île-de-France", "France"),
        ("Paris, fr", "Île-de-France", "France"),
        ("Paris, Texas", "Texas", "United States"),
        ("Paris, TX", "Texas", "United States"),
        ("Paris, TX, USA", "Texas", "United States"),
        ("London", "England", "United Kingdom"),
        ("London, UK", "England", "United Kingdom"),
        ("London, Ontario, Canada", "Ontario", "Canada"),
        ("Springfield, Sangamon", "Illinois", "United States"),
        ("Springfield, the United States of America, Ohio", "Ohio", "United States"),
        ("Washington", "District of Columbia", "United States"),
        ("Washington, D.C.", "District of Columbia", "United States"),
        ("Bombay", "Maharashtra", "India"),
        ("São Paulo,", "São Paulo", "Brazil"),
        ("10115", "State of Berlin", "Germany"),
        ("Hong Kong, Hong Kong", "Hong Kong", "HK"),
    ],
)
async def test_place_is_found(weather, place, region, country):
    async with weather() as (plugin, _):
        assert await place_of(plugin, place=place) == (region, country)


@pytest.mark.parametrize("country", ["ca", "CA", "Canada"])
async def test_country_decides_by_code_or_name(weather, country):
    async with weather() as (plugin, _):
        chosen = await place_of(plugin, place="Richmond", country=country)
    assert chosen == ("British Columbia", "Canada")


@pytest.mark.parametrize(("country", "code"), [("us", "US"), ("UK", "GB"), ("France", None)])
async def test_country_code_is_left_to_the_service_where_it_is_known(weather, country, code):
    async with weather() as (plugin, upstream):
        await plugin.call("get_weather", place="London", country=country)
    assert upstream.asked[0].get("countryCode") == code


async def test_only_the_name_is_searched_for(weather):
    async with weather() as (plugin, upstream):
        await plugin.call("get_weather", place="Springfield, Illinois, USA")
    assert upstream.asked[0]["name"] == "Springfield"


async def test_abbreviation_of_state_and_of_country_asks(weather):
    async with weather() as (plugin, _):
        text = await error_of(plugin, place="Richmond, CA")
    assert "British Columbia, Canada" in text
    assert "California, United States" in text


async def test_same_name_in_places_of_like_size_asks_and_lists_five(weather):
    async with weather() as (plugin, upstream):
        text = await error_of(plugin, place="Springfield")
    order = ["Missouri", "Massachusetts", "Illinois", "Oregon", "Ohio"]
    assert [text.index(region) for region in order] == sorted(map(text.index, order))
    assert "Virginia" not in text
    assert "'Springfield, Missouri'" in text
    assert "`country`" in text
    assert len(upstream.requests) == 1


async def test_places_that_only_begin_with_the_name_do_not_count(weather):
    async with weather() as (plugin, _):
        assert "Gardens" not in await error_of(plugin, place="Springfield")


async def test_same_name_in_two_countries_asks(weather):
    async with weather() as (plugin, _):
        text = await error_of(plugin, place="Valencia")
    assert "Carabobo, Venezuela (population 1385083, at 10.1620,-68.0076)" in text
    assert "Valencia, Valencia, Spain" in text


async def test_each_candidate_that_was_listed_works_as_place(weather):
    async with weather() as (plugin, _):
        chosen = await place_of(plugin, place="Valencia, Valencia, Spain")
    assert chosen == ("Valencia", "Spain")


async def test_city_that_is_its_country_is_not_ambiguous(weather):
    async with weather() as (plugin, _):
        assert await place_of(plugin, place="Singapore") == ("Singapore", "Singapore")


async def test_country_asks_for_a_city(weather):
    async with weather() as (plugin, _):
        text = await error_of(plugin, place="Jordan")
    assert "Jordan is a whole country" in text


async def test_town_with_the_name_of_a_country_is_found_by_its_region(weather):
    async with weather() as (plugin, _):
        chosen = await place_of(plugin, place="Jordan, MN")
    assert chosen == ("Minnesota", "United States")


async def test_place_on_the_meridian_is_found_though_the_service_leaves_out_zero(weather):
    async with weather() as (plugin, upstream):
        await place_of(plugin, place="Greenwich")
    assert upstream.asked[1]["longitude"] == "0.0"


@pytest.mark.parametrize("place", ["Nowhereville", "Eiffel Tower Paris", ", France", " "])
async def test_unknown_place_says_how_to_ask(weather, place):
    async with weather() as (plugin, _):
        text = await error_of(plugin, place=place)
    assert "No place found for" in text
    assert "Give city and country in English" in text


async def test_wrong_region_lists_where_the_name_exists(weather):
    async with weather() as (plugin, _):
        text = await error_of(plugin, place="Paris, Bavaria")
    assert "No place found for 'Paris, Bavaria'" in text
    assert "Paris, Île-de-France, France" in text
    assert "Paris, Texas, United States" in text

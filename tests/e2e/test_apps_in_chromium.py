"""The card of get_weather in a real browser, in a host that does what SEP-1865 asks of hosts."""

import json
import re
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import chromium
import pytest
from app_host import hosting
from chromium import Chromium
from mcp_client import McpClient
from serving import serving

from plugins.get_weather.tests.conftest import serving as serving_open_meteo

HOWTO = Path(__file__).parent.parent.parent / "docs" / "howto" / "show-a-page.md"
CARD = "ui://get_weather/forecast"
NOTHING = {"connectDomains": [], "resourceDomains": [], "frameDomains": [], "baseUriDomains": []}


@pytest.fixture(scope="module")
def browser():
    """A browser that runs scripts."""
    if not chromium.is_installed():
        if not chromium.can_be_installed():
            pytest.skip("there is no chromium with chromedriver, and only root could install them")
        chromium.install()
    with chromium.browser(scripts=True) as url:
        yield url


@asynccontextmanager
async def host_of(dsn, browser):
    """A host, connected with a real token to a server that asks Open-Meteo on this machine."""
    async with serving_open_meteo() as upstream:
        plugins = {"get_weather": {"config": upstream.config}}
        async with (
            serving(dsn, {"plugins": plugins}) as server,
            Chromium(browser) as window,
            hosting(window, await McpClient.authorized(server), CARD) as host,
        ):
            yield host, upstream
            assert await host.complaints() == []


def stormy(known):
    """A forecast with a storm on the second day and a dry first hour."""

    def forecast(asked):
        status, body = known(asked)
        body["daily"]["weather_code"][1] = 95
        body["daily"]["wind_gusts_10m_max"][1] = 92.4
        body["daily"]["temperature_2m_max"][1] = -0.4
        body["hourly"]["precipitation_probability"][0] = 0
        return status, body

    return forecast


async def count(host, selector):
    """Return how many of these are on the page."""
    return await host.in_page(f"return document.querySelectorAll({json.dumps(selector)}).length")


async def test_the_card_shows_what_the_tool_answered(dsn, browser):
    async with host_of(dsn, browser) as (host, upstream):
        assert host.page["mimeType"] == "text/html;profile=mcp-app"
        assert host.page["_meta"]["ui"]["csp"] == NOTHING
        upstream.forecast = stormy(upstream.forecast)
        await host.show()
        assert await host.text() == "Waiting for the weather …"
        await host.tell("tool-input", arguments={"place": "Paris"})
        await host.shows("Getting the weather of Paris …")
        assert await host.in_page("return document.querySelector('main').ariaBusy") == "true"

        await host.tell("tool-result", **await host.result_of("get_weather", {"place": "Paris"}))
        text = await host.shows("Paris", "Île-de-France, France", "Open-Meteo.com")
        assert "Getting" not in text
        assert await host.in_page("return document.querySelector('main').ariaBusy") == "false"
        now = await host.text("[aria-label=Now]")
        for words in ("21 °C", "light rain", "at 14:15", "11 km/h SW", "34 km/h", "55 %", "0.1 mm"):
            assert words in now
        assert await host.text("[aria-label=Warnings]") == (
            "Warnings\nThunderstorm: Thu 24 Sep\nStorm gusts, up to 92.4 km/h: Thu 24 Sep"
        )
        assert (await count(host, "ol li"), await count(host, "tbody tr")) == (12, 5)
        assert (await host.text("ol li:nth-child(1)")).split("\n") == ["14:00", "light rain", "21°"]
        assert "35 %" in await host.text("ol li:nth-child(2)")
        first, second = [await host.text(f"tbody tr:nth-child({number})") for number in (1, 2)]
        assert all(words in first for words in ("Today", "light rain", "48 %", "14°", "24°"))
        assert all(words in second for words in ("Thu 24", "thunderstorm", "0°"))


async def test_a_second_result_replaces_the_first_and_an_error_replaces_both(dsn, browser):
    async with host_of(dsn, browser) as (host, _):
        await host.show()
        await host.call("get_weather", place="Paris", days=3, hours=0)
        await host.shows("Paris", "Next 3 days")
        assert "Next hours" not in await host.text()
        await host.call("get_weather", place="Greenwich", days=2)
        text = await host.shows("Greenwich", "Next 2 days", "Next hours")
        assert "Paris" not in text
        failed = await host.call("get_weather", place="Springfield")
        assert failed["isError"]
        text = await host.shows("may be Springfield, Missouri")
        assert "Greenwich" not in text
        assert await host.text("[role=alert]") == failed["content"][0]["text"]
        await host.tell("tool-result", **await host.result_of("get_weather", {"place": "Paris"}))
        await host.shows("Paris", "21 °C")
        assert "Springfield" not in await host.text()
        await host.tell("tool-cancelled", reason="stopped by <b>you</b>")
        await host.shows("Cancelled: stopped by <b>you</b>")


async def test_text_that_looks_like_markup_stays_text(dsn, browser):
    markup = "<img src=x onerror=alert(1)><b>bold</b>"
    async with host_of(dsn, browser) as (host, _):
        await host.show()
        await host.tell("tool-input", arguments={"place": markup})
        await host.shows(f"Getting the weather of {markup}")
        result = await host.result_of("get_weather", {"place": "Paris"})

        def marked(value):
            if isinstance(value, dict):
                return {name: marked(each) for name, each in value.items()}
            if isinstance(value, list):
                return [marked(each) for each in value]
            return markup if isinstance(value, str) else value

        weather = marked(result["structuredContent"]) | {"warnings": [markup]}
        await host.tell("tool-result", content=[], structuredContent=weather)
        text = await host.shows("Next hours")
        assert text.count(markup) > 4 + 5  # Place, weather, units, warning; the days.
        await host.tell("tool-result", content=[{"type": "text", "text": markup}], isError=True)
        await host.shows(markup)
        assert await count(host, "img, b, #weather script") == 0


INCOMPLETE = [
    ({"current": {}}, ["Weather", "–"]),
    ({"current": {"temperature": 3}, "place": {"name": "Here"}}, ["Here", "3 °"]),
    (
        {"current": {"condition": None}, "hourly": [{}], "daily": [{}, None], "units": None},
        ["Next hours", "Today"],
    ),
    ({"current": {"temperature": "warm"}, "hourly": 7, "daily": {}, "warnings": "no"}, ["–"]),
    (None, ["Only text"]),
    ({}, ["Only text"]),
]


async def test_what_is_missing_is_left_out(dsn, browser):
    async with host_of(dsn, browser) as (host, _):
        await host.show()
        for structured, shown in INCOMPLETE:
            await host.tell("tool-result", content=[], structuredContent={"current": {"x": 1}})
            await host.tell("tool-cancelled", reason="next")
            await host.shows("Cancelled: next")
            content = [{"type": "text", "text": "Only text"}]
            await host.tell("tool-result", content=content, structuredContent=structured)
            text = await host.shows(*shown)
            for word in ("undefined", "null", "NaN", "Invalid", "object", "Cancelled"):
                assert word not in text, structured


async def test_the_buttons_ask_the_server_again(dsn, browser):
    async with host_of(dsn, browser) as (host, upstream):
        await host.show()
        await host.call("get_weather", place="Paris", country="FR")
        await host.shows("21 °C", "Show °F")
        working = upstream.forecast
        upstream.forecast = lambda asked: (503, {"reason": "<i>full</i>"})
        await host.click("#other-units")
        await host.shows("HTTP 503: <i>full</i>", "21 °C")
        upstream.forecast = working
        await host.click("#other-units")
        text = await host.shows("21 °F", "mph", "Show °C")
        assert "503" not in text
        await host.click("#more-days")
        await host.shows("Next 10 days", "21 °F", "Show 16 days")
        await host.click("#more-days")
        text = await host.shows("Next 16 days")
        assert "Show 16 days" not in text
        asked = {"place": "Paris", "country": "FR", "units": "imperial"}
        assert [call["arguments"] for call in host.asked] == [
            asked,
            asked,
            asked | {"days": 10},
            asked | {"days": 16},
        ]


async def test_the_units_go_there_and_back_and_an_old_answer_says_so(dsn, browser):
    async with host_of(dsn, browser) as (host, _):
        await host.show()
        result = await host.result_of("get_weather", {"place": "London"})
        notice = "This is what it said <b>before</b>."
        structured = result["structuredContent"] | {"notice": notice}
        await host.tell("tool-input", arguments={"place": "London"})
        await host.tell("tool-result", **result | {"structuredContent": structured})
        await host.shows("21 °C", "11 mph", notice, "Show °F")
        for shown in ("Show °C", "Show °F"):
            await host.click("#other-units")
            await host.shows("11 mph", shown)
        assert notice not in await host.text()
        assert [call["arguments"]["units"] for call in host.asked] == ["imperial", "uk"]


async def test_without_leave_to_call_there_are_no_buttons(dsn, browser):
    async with host_of(dsn, browser) as (host, _):
        await host.show(capabilities={"openLinks": {}})
        await host.call("get_weather", place="Paris")
        text = await host.shows("Paris", "Open-Meteo.com")
        assert "Show" not in text
        await host.click("#source")
        asked = await host.told("ui/open-link")
        assert asked["params"] == {"url": "https://open-meteo.com/"}


POSTED_TO_ITSELF = """
return new Promise((resolve, reject) => {
  const told = () => document.body.innerText.includes("Cancelled")
    ? reject(new Error("it was believed")) : resolve();
  window.addEventListener("message", () => setTimeout(told));
  window.postMessage(%s, "*");
});
"""


async def test_only_the_host_is_listened_to(dsn, browser):
    forged = {"jsonrpc": "2.0", "method": "ui/notifications/tool-cancelled", "params": {}}
    async with host_of(dsn, browser) as (host, _):
        await host.show()
        await host.call("get_weather", place="Paris")
        await host.shows("Paris")
        await host.in_page(POSTED_TO_ITSELF % json.dumps(forged))
        await host.run("frame.contentWindow.postMessage('hello', '*')")
        await host.run("frame.contentWindow.postMessage(null, '*')")
        for number, method in enumerate(("ping", "ui/resource-teardown", "tools/list")):
            await host.run(f"send({json.dumps({'id': f'host-{number}', 'method': method})})")
        await host.run("send({ method: '__proto__' })")
        await host.call("get_weather", place="Greenwich", hours=1)
        await host.shows("Greenwich")
        answers = {each["id"]: each for each in await host.messages() if "method" not in each}
        assert answers["host-0"]["result"] == answers["host-1"]["result"] == {}
        assert answers["host-2"]["error"]["code"] == -32601


WORST_CONTRAST = """
const parse = (color) => color.match(/[\\d.]+/g).map(Number);
const light = (color) => parse(color).slice(0, 3).map((c) => c / 255)
  .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (e) => {
  const color = getComputedStyle(e).backgroundColor;
  return parse(color)[3] === 0 ? ground(e.parentElement) : color;
};
const ratio = (e) => {
  const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
};
const written = [...document.querySelectorAll("main *")].filter((e) => e.checkVisibility()
  && (e.matches(".icon") || [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())));
return [Math.min(...written.map(ratio)), written.length, ground(document.body)];
"""


async def test_the_card_follows_the_theme_and_can_be_read_in_both(dsn, browser):
    async with host_of(dsn, browser) as (host, upstream):
        upstream.forecast = stormy(upstream.forecast)
        await host.show(theme="dark")
        await host.call("get_weather", place="Paris")
        await host.shows("Warnings")
        contrast, texts, dark = await host.in_page(WORST_CONTRAST)
        assert contrast >= 4.5
        assert texts > 60
        await host.tell("host-context-changed", theme="light")
        contrast, texts, light = await host.in_page(WORST_CONTRAST)
        assert contrast >= 4.5
        assert (dark, light) == ("rgb(28, 30, 33)", "rgb(255, 255, 255)")
        variables = {"--color-background-primary": "rgb(1, 2, 3)", "color": "red"}
        await host.tell("host-context-changed", styles={"variables": variables})
        _, _, own = await host.in_page(WORST_CONTRAST)
        assert own == "rgb(1, 2, 3)"


@pytest.mark.parametrize("width", [640, 280])
async def test_the_host_learns_the_size(dsn, browser, width):
    async with host_of(dsn, browser) as (host, upstream):
        upstream.forecast = stormy(upstream.forecast)
        await host.show(width=width)
        small = (await host.told("ui/notifications/size-changed"))["params"]
        await host.call("get_weather", place="Paris")
        await host.shows("Next 5 days")
        large = (await host.told("ui/notifications/size-changed"))["params"]
        assert small["height"] < 100 < large["height"]
        assert large["width"] == width
        fits = "const e = document.documentElement; return [e.scrollWidth, e.scrollHeight]"
        assert await host.in_page(fits) == [width, large["height"]]
        methods = [each["method"] for each in await host.messages() if "method" in each]
        assert methods[:2] == ["ui/initialize", "ui/notifications/initialized"]


async def test_the_page_of_the_how_to_works(dsn, browser):
    text = HOWTO.read_text(encoding="utf-8")
    dice = ModuleType("mcpserve_dice")
    exec(re.search(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[1], vars(dice))
    async with (
        serving(dsn, made={"dice": dice}) as server,
        Chromium(browser) as window,
        hosting(window, await McpClient.authorized(server), "ui://dice/table") as host,
    ):
        await host.show(theme="dark")
        await host.shows("Rolling …", "Again")
        await host.call("roll", count=1)
        await host.shows(" = ")
        assert await host.in_page("return document.documentElement.dataset.theme") == "dark"
        await host.click("#again")
        await host.told("tools/call")
        assert host.asked == [{"name": "roll", "arguments": {"count": 1}}]
        assert (await host.told("ui/notifications/size-changed"))["params"]["height"] > 20
        assert await host.complaints() == []

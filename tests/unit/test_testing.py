"""``mcpserve.testing``: what the authors of plugins are promised."""

from types import ModuleType

import pytest
from mcp_types import ListRootsRequest, ListRootsResult, Root
from pydantic import BaseModel

from mcpserve import ToolContext, hookimpl, tool
from mcpserve.bound import Outcome
from mcpserve.errors import PluginError
from mcpserve.registry import UnknownTool
from mcpserve.testing import load_plugin


class Config(BaseModel, extra="forbid"):
    """What the sample is configured with."""

    base_url: str = "https://weather.test"


class Weather:
    """A plugin that is no module."""

    def __init__(self):
        self.closed = False
        self.seen = []

    @hookimpl
    def mcpserve_config(self):
        """See the hook."""
        return Config

    @hookimpl
    async def mcpserve_tools(self, config, exit_stack):
        """See the hook."""
        exit_stack.callback(setattr, self, "closed", True)

        def forecast(city: str, days: int = 3) -> str:
            """Forecast."""
            return f"{city}: {days} days of sun, says {config.base_url}"

        @tool(scopes=["weather:write"], timeout=5)
        async def change(name: str, self: str, ctx: ToolContext) -> str:
            """Change the weather."""
            await ctx.progress(0, 1, "asking")
            await ctx.progress(1)
            return f"{name} {self} {' '.join(sorted(ctx.principal.scopes))}"

        return [forecast, change]

    @hookimpl
    def mcpserve_tool_called(self, call):
        """See the hook."""
        self.seen.append(call)


class Greeting:
    """A plugin whose tool knows languages."""

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""

        def language(ctx: ToolContext) -> str:
            """Tell the language."""
            return ctx.locale or "unknown"

        return [language]


@pytest.mark.parametrize(
    ("told", "known"), [(None, "unknown"), ("pt-br", "pt-BR"), ("pt_BR", "unknown")]
)
async def test_a_plugin_is_told_the_locale_as_the_server_would(told, known):
    async with load_plugin(Greeting()) as greeting:
        greeting.locale = told
        result = await greeting.call("language")
    assert result.content[0].text == known


async def test_a_plugin_is_called_as_a_client_would():
    async with load_plugin(Weather(), {"base_url": "https://x.test"}) as weather:
        result = await weather.call("forecast", city="Oslo")
    assert result.structured_content == {"result": "Oslo: 3 days of sun, says https://x.test"}
    assert not result.is_error


async def test_the_config_may_be_left_out():
    async with load_plugin(Weather()) as weather:
        assert "https://weather.test" in (await weather.call("forecast", city="")).content[0].text


async def test_calls_are_validated_as_in_the_server():
    async with load_plugin(Weather()) as weather:
        result = await weather.call("forecast", cty="Oslo")
    assert result.is_error
    assert "cty: no such argument" in result.content[0].text


async def test_a_call_has_every_scope_and_may_use_any_name_for_an_argument():
    async with load_plugin(Weather()) as weather:
        result = await weather.call("change", name="a", self="b")
    assert result.content[0].text == "a b mcp.tools.call weather:write"


async def test_progress_and_calls_are_kept_oldest_first():
    plugin = Weather()
    async with load_plugin(plugin) as weather:
        await weather.call("change", name="", self="")
        await weather.call("forecast")
    assert weather.progress == [(0, 1, "asking"), (1, None, None)]
    assert [(call.tool, call.outcome) for call in weather.calls] == [
        ("change", Outcome.OK),
        ("forecast", Outcome.ERROR),
    ]
    assert plugin.seen == weather.calls


async def test_an_unknown_tool_is_raised():
    async with load_plugin(Weather()) as weather:
        with pytest.raises(UnknownTool, match="nope"):
            await weather.call("nope")
        assert [bound.offer.name for bound in weather.tools] == ["forecast", "change"]


async def test_settings_of_the_host_may_be_given():
    tools = {"change": {"enabled": False}, "forecast": {"timeout": "7s"}}
    async with load_plugin(Weather(), scopes=["more"], tools=tools) as weather:
        (bound,) = weather.tools
        assert (bound.offer.name, bound.timeout) == ("forecast", 7)
        assert "more" in bound.scopes
        assert not (await weather.call("forecast", city="Oslo")).is_error


async def test_what_the_plugin_opened_is_closed_at_the_end():
    plugin = Weather()
    async with load_plugin(plugin):
        assert not plugin.closed
    assert plugin.closed


async def test_what_the_server_would_refuse_is_raised_under_the_name_of_the_plugin():
    module = ModuleType("mcpserve_sample")
    module.mcpserve_tool = hookimpl(lambda: [])
    with pytest.raises(PluginError, match=r"^plugins\.sample: unknown hook"):
        await load_plugin(module).__aenter__()
    told = r"^plugins\.Weather: config\.base_urls: unknown key; did you mean 'base_url'\?$"
    with pytest.raises(PluginError, match=told):
        await load_plugin(Weather(), {"base_urls": ""}).__aenter__()


class Party(BaseModel):
    """A form."""

    guests: int


class Host:
    """A plugin that asks."""

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""

        async def invite(ctx: ToolContext) -> str:
            """Invite."""
            await ctx.log("info", "asking", room="blue")
            party = await ctx.elicit("How many guests?", Party)
            if party.data is None:
                return party.action
            roots = await ctx.ask({"where": ListRootsRequest()})
            return f"{party.data.guests} in {roots['where'].roots[0].uri}"

        return [invite]


async def test_questions_are_answered_by_their_keys():
    async with load_plugin(Host()) as host:
        host.answers["1"] = {"guests": 3}
        host.answers["where"] = ListRootsResult(roots=[Root(uri="file:///hall")])
        for _ in range(2):
            result = await host.call("invite")
            assert result.content[0].text == "3 in file:///hall"
    assert [key for key, _ in host.asked] == ["1", "where"] * 2
    assert host.asked[0][1].params.message == "How many guests?"
    assert [call.outcome for call in host.calls] == [Outcome.ASKED, Outcome.ASKED, Outcome.OK] * 2
    assert host.logs[0] == ("info", {"message": "asking", "room": "blue"})


async def test_a_person_may_decline():
    async with load_plugin(Host()) as host:
        host.answers["1"] = None
        assert (await host.call("invite")).content[0].text == "decline"


@pytest.mark.parametrize("answers", [{}, {"1": {"guests": "many"}}, {"1": {}}])
async def test_a_question_without_an_answer_that_fits_is_raised(answers):
    async with load_plugin(Host()) as host:
        host.answers.update(answers)
        with pytest.raises(LookupError, match=r"answers\['1'\] is no answer to .*How many guests"):
            await host.call("invite")

"""The plugins that config.yaml names become tools; what is wrong with one is told in one line."""

import logging
from contextlib import AsyncExitStack
from types import ModuleType

import pytest
from exchanges import CALLER
from pydantic import BaseModel, SecretStr, field_validator

from mcpserve import ToolContext, ToolError, hookimpl, plugins, tool
from mcpserve.errors import ConfigError, PluginError
from mcpserve.settings import PluginSettings


class Config(BaseModel, extra="forbid"):
    """What the sample plugin is configured with."""

    city: str
    key: SecretStr = SecretStr("")
    days: int = 3

    @field_validator("days")
    @classmethod
    def _not_thirteen(cls, value):
        if value == 13:
            raise KeyError("hunter2")
        return value


def forecast() -> str:
    """Forecast."""
    return "sun"


def plugin(*tools, **hooks):
    """Return a plugin that hands over these tools, with more hooks."""
    handed = {"mcpserve_tools": lambda: list(tools)} | hooks
    made = ModuleType("weather")
    vars(made).update({name: hookimpl(function) for name, function in handed.items()})
    return made


def named(name):
    """Return a tool of this name."""
    return tool(name=name)(forecast)


async def load(exit_stack=None, settings=None, /, **given):
    """Load these plugins by name, with settings by name."""
    configured = {
        name: PluginSettings.model_validate((settings or {}).get(name, {})) for name in given
    }
    return await plugins.load(configured, exit_stack or AsyncExitStack(), given.__getitem__)


async def refusal(made, **settings):
    """Return why a plugin named ``weather`` is refused, a single line."""
    with pytest.raises(PluginError) as caught:
        await load(None, {"weather": settings}, weather=made)
    text = str(caught.value)
    assert text.startswith("plugins.weather: ")
    assert "\n" not in text
    return text.removeprefix("plugins.weather: ")


async def call(loaded, name):
    """Call a tool and return its text."""
    result = await loaded.registry.tools.call(name, {}, ToolContext(CALLER))
    return result.content[0].text


async def test_tools_come_in_the_order_of_configuration():
    loaded = await load(zebra=plugin(named("b"), named("a")), ant=plugin(forecast))
    assert [bound.offer.name for bound in loaded.registry.tools] == ["b", "a", "forecast"]
    assert [bound.plugin for bound in loaded.registry.tools] == ["zebra", "zebra", "ant"]
    assert loaded.names == ("zebra", "ant")


async def test_each_plugin_gets_its_own_config():
    def mcpserve_tools(config):
        return [tool(name=config.city)(forecast)]

    made = [plugin(mcpserve_config=lambda: Config, mcpserve_tools=mcpserve_tools) for _ in range(2)]
    settings = {"a": {"config": {"city": "Oslo"}}, "b": {"config": {"city": "Bergen"}}}
    loaded = await load(None, settings, a=made[0], b=made[1])
    assert [bound.offer.name for bound in loaded.registry.tools] == ["Oslo", "Bergen"]
    assert list(loaded.config_schemas) == ["a", "b"]
    assert all("city" in schema["properties"] for schema in loaded.config_schemas.values())


async def test_a_hook_may_be_async():
    async def mcpserve_tools(exit_stack):
        await exit_stack.enter_async_context(AsyncExitStack())
        return [forecast]

    loaded = await load(weather=plugin(mcpserve_tools=mcpserve_tools))
    assert await call(loaded, "forecast") == "sun"


@pytest.mark.parametrize("handed", [None, [], ()])
async def test_a_plugin_may_have_no_tools(handed):
    loaded = await load(weather=plugin(mcpserve_tools=lambda: handed), quiet=ModuleType("weather"))
    assert list(loaded.registry.tools) == []
    assert loaded.names == ("weather", "quiet")


async def test_a_hook_that_does_not_exist_is_named():
    assert "unknown hook 'mcpserve_tool'" in await refusal(plugin(mcpserve_tool=lambda: []))


async def test_an_argument_that_no_hook_has_is_named():
    text = await refusal(plugin(mcpserve_tools=lambda cfg: []))
    assert "Argument(s) {'cfg'} are declared in the hookimpl but can not be found" in text


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "config.city: is missing"),
        ({"city": "Oslo", "hunter2": 1}, "config.hunter2: unknown key"),
        (
            {"city": ["hunter1"], "days": "hunter1"},
            "config.city: must be text; put it in quotes; config.days: must be a whole number",
        ),
        ({"city": "Oslo", "key": {"hunter1": 2}}, "config.key: must be text; put it in quotes"),
        ({"city": "Oslo", "days": 13}, "KeyError: 'hunter2'"),
    ],
)
async def test_a_wrong_config_is_told_by_its_key_and_without_its_value(config, text):
    told = await refusal(plugin(mcpserve_config=lambda: Config), config=config)
    assert told == text
    assert "hunter1" not in told


async def test_without_a_model_the_config_must_be_empty():
    assert await refusal(plugin(forecast), config={"a": 1}) == "config.a: unknown key"


@pytest.mark.parametrize("model", [5, Config(city=""), dict, "Config"])
async def test_a_config_model_must_be_one(model):
    text = await refusal(plugin(mcpserve_config=lambda: model))
    assert text == "mcpserve_config must return a pydantic model class"


@pytest.mark.parametrize("name", ["two words", "dot.ted", "ümlaut", "a" * 65, "new\nline"])
async def test_a_bad_tool_name_is_refused(name):
    text = await refusal(plugin(named(name)))
    assert text == f"tool name {name!r} must be 1 to 64 of A-Z a-z 0-9 _ -"


async def test_a_plugin_cannot_have_two_tools_of_one_name():
    assert await refusal(plugin(named("a"), named("a"))) == "tool 'a' is there twice"


async def test_a_tool_of_another_plugin_is_not_replaced():
    with pytest.raises(PluginError) as caught:
        await load(weather=plugin(forecast), b=plugin(named("other"), forecast))
    assert str(caught.value) == "plugins.b: tool 'forecast' already comes from plugin 'weather'"


async def test_switching_one_of_two_like_named_tools_off_settles_it():
    off = {"weather": {"tools": {"forecast": {"enabled": False}}}}
    loaded = await load(None, off, weather=plugin(forecast), b=plugin(forecast))
    assert [bound.plugin for bound in loaded.registry.tools] == ["b"]


async def test_settings_of_a_tool_that_is_not_there_are_refused():
    text = await refusal(plugin(forecast, named("b")), tools={"forcast": {"timeout": "1s"}})
    assert text == "tools.forcast: no such tool; it has b, forecast"
    assert (await refusal(ModuleType("weather"), tools={"x": {}})).endswith("it has none")


def failing(error):
    """Return a hook that fails."""

    def mcpserve_tools(config):
        raise error

    return mcpserve_tools


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no\n  such thing"), "ValueError: no such thing"),
        (ToolError("no"), "ToolError: no"),
    ],
)
async def test_an_exception_of_the_plugin_is_told_in_one_line(error, text):
    async def later(config):
        raise error

    for hook in (failing(error), later):
        assert await refusal(plugin(mcpserve_tools=hook)) == f"mcpserve_tools: {text}"
    assert await refusal(plugin(mcpserve_config=lambda: failing(error)(0))) == (
        f"mcpserve_config: {text}"
    )


async def test_a_validation_of_the_plugins_own_is_told_without_values():
    def mcpserve_tools():
        return [Config(city=["hunter2"])]

    text = await refusal(plugin(mcpserve_tools=mcpserve_tools))
    assert text == "mcpserve_tools: city: must be text; put it in quotes"


@pytest.mark.parametrize("handed", [5, [5], {"forecast": forecast}, [lambda **values: ""]])
async def test_what_is_no_tool_is_refused(handed):
    text = await refusal(plugin(mcpserve_tools=lambda: handed))
    assert text.startswith("mcpserve_tools: TypeError: ")


async def test_all_problems_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        await load(
            a=plugin(mcpserve_tool=lambda: []), b=plugin(forecast), c=plugin(named("bad name"))
        )
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["plugins.a", "plugins.c"]


@pytest.mark.parametrize(
    "broken",
    [
        plugin(mcpserve_tool=lambda: [], mcpserve_tool_called=failing(KeyError())),
        plugin(forecast, named("fine")),
        plugin(mcpserve_config=lambda: Config),
    ],
)
async def test_a_broken_plugin_may_be_skipped(broken, caplog):
    loaded = await load(
        None, {"b": {"on_error": "skip"}}, a=plugin(forecast), b=broken, c=plugin(named("c"))
    )
    assert [bound.offer.name for bound in loaded.registry.tools] == ["forecast", "c"]
    assert loaded.names == ("a", "c")
    assert list(loaded.skipped) == ["b"]
    assert loaded.skipped["b"].startswith("plugins.b: ")
    assert (logging.ERROR, f"started without {loaded.skipped['b']}") in [
        (record.levelno, record.getMessage()) for record in caplog.records
    ]
    # Its hooks are gone too.
    caplog.clear()
    assert await call(loaded, "forecast") == "sun"
    assert caplog.records == []


async def test_every_plugin_may_observe_every_call():
    seen = []
    watcher = plugin(mcpserve_tool_called=lambda call: seen.append(call.tool))
    uninterested = plugin(mcpserve_tool_called=lambda: seen.append("?"))
    loaded = await load(weather=plugin(forecast), watcher=watcher, uninterested=uninterested)
    await call(loaded, "forecast")
    assert sorted(seen) == ["?", "forecast"]


async def test_a_failing_observer_spares_the_others(caplog):
    seen = []

    def fail(call):
        raise KeyError("broken observer")

    loaded = await load(
        first=plugin(forecast, mcpserve_tool_called=lambda call: seen.append(1)),
        broken=plugin(mcpserve_tool_called=fail),
        last=plugin(mcpserve_tool_called=lambda call: seen.append(2)),
    )
    assert await call(loaded, "forecast") == "sun"
    assert sorted(seen) == [1, 2]
    assert "broken observer" in caplog.text

"""What a plugin opened is closed: at shutdown, or at once if the plugin does not come up."""

from contextlib import AsyncExitStack
from types import ModuleType

import pytest

from mcpserve import hookimpl, plugins, tool
from mcpserve.errors import ConfigError
from mcpserve.settings import PluginSettings


def opening(name, closed, *, tools=(), fails=None, closing_fails=None):
    """Return a plugin that opens something, and may fail after that."""

    @hookimpl
    async def mcpserve_tools(exit_stack):
        async def close():
            closed.append(name)
            if closing_fails:
                raise closing_fails

        exit_stack.push_async_callback(close)
        if fails:
            raise fails
        return list(tools)

    made = ModuleType(name)
    made.mcpserve_tools = mcpserve_tools
    return made


async def load(exit_stack, *made, on_error="stop"):
    """Load these plugins by their names."""
    configured = {plugin.__name__: PluginSettings(on_error=on_error) for plugin in made}
    return await plugins.load(
        configured, exit_stack, {plugin.__name__: plugin for plugin in made}.__getitem__
    )


@tool(name="same")
def same() -> str:
    """Exist twice."""
    return ""


async def test_plugins_are_closed_at_shutdown_the_last_one_first():
    closed = []
    async with AsyncExitStack() as exit_stack:
        await load(exit_stack, opening("a", closed), opening("b", closed))
        assert closed == []
    assert closed == ["b", "a"]


async def test_a_plugin_that_fails_half_way_is_closed_at_once():
    closed = []
    async with AsyncExitStack() as exit_stack:
        broken = opening("b", closed, fails=KeyError("b"))
        await load(exit_stack, opening("a", closed), broken, on_error="skip")
        assert closed == ["b"]
    assert closed == ["b", "a"]


async def test_a_plugin_whose_tools_cannot_be_had_is_closed_at_once():
    closed = []
    async with AsyncExitStack() as exit_stack:
        made = [opening(name, closed, tools=[same]) for name in "ab"]
        await load(exit_stack, *made, on_error="skip")
        assert closed == ["b"]


async def test_the_plugins_before_a_broken_one_are_closed_by_whoever_loads():
    closed = []
    made = [opening(name, closed) for name in "ac"]
    made.insert(1, opening("b", closed, fails=KeyError()))
    async with AsyncExitStack() as exit_stack:
        with pytest.raises(ConfigError):
            await load(exit_stack, *made)
        assert closed == ["b"]
    assert closed == ["b", "c", "a"]


async def test_a_plugin_that_fails_and_cannot_even_be_closed_is_told_in_one_line():
    closed = []
    broken = opening("a", closed, fails=KeyError("first"), closing_fails=ValueError("second"))
    with pytest.raises(ConfigError) as caught:
        await load(AsyncExitStack(), broken)
    assert str(caught.value) == "plugins.a: ValueError: second"


async def test_a_plugin_that_fails_while_closing_is_logged_and_the_others_are_closed(caplog):
    closed = []
    async with AsyncExitStack() as exit_stack:
        broken = opening("b", closed, closing_fails=KeyError("gone"))
        await load(exit_stack, opening("a", closed), broken)
    assert closed == ["b", "a"]
    assert "plugin b failed while closing" in caplog.text

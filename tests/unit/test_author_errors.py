"""What the author of a plugin reads who made a common mistake: what, where, and what to do."""

import re
from types import ModuleType

import pytest

from mcpserve.errors import PluginError
from mcpserve.testing import load_plugin

HEAD = """
from typing import Annotated
from pydantic import BaseModel, Field
from mcpserve import ToolContext, hookimpl, prompt, resource, tool
"""
AT_IMPORT = {
    '@tool(scopes=["read write"])\ndef find(): ...': (
        "tool 'find': the scope 'read write' must be printable ASCII without space"
    ),
    "@tool(scopes=[1])\ndef find(): ...": "tool 'find': the scope 1 must be printable ASCII",
    '@tool(scopes="read")\ndef find(): ...': "tool 'find': scopes must be a list",
    "@tool(scopes=None)\ndef find(): ...": "tool 'find': scopes must be a list",
    '@tool("find")\ndef find(): ...': "tool: 'find' is no function",
    '@tool(timeout="5s")\ndef find(): ...': (
        "tool 'find': timeout must be a number of seconds, not '5s'"
    ),
    "@prompt(timeout=0)\ndef find(): ...": "prompt 'find': timeout must be a number of seconds",
    "@tool(annotations={})\ndef find(): ...": "tool 'find': annotations must be ToolAnnotations",
    "@tool\ndef find(a: 'Nope'): ...": (
        "tool 'find': name 'Nope' is not defined; import what annotations name at the top of the "
        "module"
    ),
    "@tool\ndef find(_a: str): ...": "tool 'find': Parameter _a of find cannot start with '_'",
    "class Of: ...\n@tool\ndef find(a: Of): ...": "tool 'find': Cannot generate a JsonSchema",
    "import functools\ntool(functools.partial(print))": "has no name, give it one: name=…",
    "@resource('a/{b}')\ndef find(b): ...": "resource 'find': 'a/{b}' is no URI such as",
    "@prompt\ndef ask(a): ...\n@ask.completes('a')\ndef go_on(value): ...": (
        "prompt 'ask': what completes 'a' must take two arguments"
    ),
    "@prompt\ndef ask(a): ...\n@ask.completes('a')\ndef go_on(value, others, more): ...": (
        "prompt 'ask': what completes 'a' must take two arguments"
    ),
}
AT_LOADING = {
    "def mcpserve_tools():\n  return []": "mcpserve_tools is not marked with @hookimpl",
    "@hookimpl\ndef mcpserve_tool():\n  return []": (
        "unknown hook 'mcpserve_tool' .*; the hooks are .*mcpserve_tools\\(config, exit_stack\\)"
    ),
    "@hookimpl\ndef mcpserve_tools(settings):\n  return []": (
        "'settings'.*; the hooks are .*mcpserve_tools\\(config, exit_stack\\)"
    ),
    "@hookimpl\ndef mcpserve_tools():\n  return tool(name='a')(lambda: '')": "must return a list",
    "@hookimpl\ndef mcpserve_tools():\n  return 5": "mcpserve_tools: TypeError: must return a list",
    "@hookimpl\ndef mcpserve_tools():\n  return ['find']": "tool: 'find' is no function",
}
PATTERNS = """
class Limits(BaseModel):
    unit: Annotated[str, Field(pattern="^[a-z]$", description="One small letter")] = "a"

class Config(BaseModel, extra="forbid"):
    country: Annotated[str, Field(pattern="^[A-Z]{2}$", description="Two capitals")] = "NO"
    plain: Annotated[str, Field(pattern="^x$")] = "x"
    codes: list[Annotated[str, Field(pattern="^[0-9]$")]] = Field([], description="Digits")
    limits: Limits = Limits()

@hookimpl
def mcpserve_config():
    return Config
"""


def module(source):
    """Return a plugin with this source."""
    made = ModuleType("mcpserve_sample")
    exec(HEAD + source, vars(made))
    return made


@pytest.mark.parametrize("source", AT_IMPORT)
def test_a_mistake_in_a_decorator_names_what_it_is_about(source):
    with pytest.raises((TypeError, ValueError), match=re.escape(AT_IMPORT[source])) as caught:
        module(source)
    assert "errors.pydantic.dev" not in str(caught.value)


@pytest.mark.parametrize("source", AT_LOADING)
async def test_a_mistake_in_a_hook_names_the_hook(source):
    with pytest.raises(PluginError, match=AT_LOADING[source]):
        async with load_plugin(module(source)):
            pass


@pytest.mark.parametrize(
    ("kind", "hook"),
    [
        ("def", "mcpserve_config"),
        ("def", "mcpserve_tools"),
        ("async def", "mcpserve_tools"),
        ("def", "mcpserve_resources"),
        ("def", "mcpserve_prompts"),
    ],
)
async def test_a_hook_without_a_return_is_told(kind, hook, caplog):
    async with load_plugin(module(f"@hookimpl\n{kind} {hook}():\n  []")):
        pass
    (line,) = caplog.messages
    assert line == f"plugins.sample: {hook} returned nothing; is a `return` missing?"


async def test_a_hook_that_returns_an_empty_list_is_in_order(caplog):
    async with load_plugin(module("@hookimpl\ndef mcpserve_tools():\n  return []")):
        pass
    assert caplog.messages == []


async def test_a_method_may_complete_an_argument():
    source = """
class Shelf:
    @prompt
    def ask(self, a: str) -> str:
        return a

    @ask.completes("a")
    def go_on(self, value, others):
        return [value + "!"]

@hookimpl
def mcpserve_prompts():
    return [Shelf().ask]
"""
    async with load_plugin(module(source)) as plugin:
        assert await plugin.complete("ask", "a", "b") == ["b!"]


@pytest.mark.parametrize(
    ("config", "settings", "told"),
    [
        ({"unknown": 1}, {}, "config.unknown: unknown key$"),
        ({1: 2}, {}, "config.1: must be text; put it in quotes"),
        ({}, {"timeut": 5}, "timeut: unknown key"),
        ({}, {"timeout": "soon"}, "timeout: must be a duration such as"),
    ],
)
async def test_wrong_settings_of_a_test_are_told_as_to_operators(config, settings, told):
    with pytest.raises(PluginError, match=f"^plugins.sample: {told}"):
        async with load_plugin(module(""), config, **settings):
            pass


async def test_a_mistyped_setting_of_a_plugin_is_told_with_the_one_that_is_meant():
    with pytest.raises(PluginError, match=r"config\.contry: unknown key; did you mean 'country'\?"):
        async with load_plugin(module(PATTERNS), {"contry": "NO"}):
            pass


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"country": "no"}, "config.country: does not fit what it is for: Two capitals"),
        ({"codes": ["1", "x"]}, "config.codes.1: does not fit what it is for: Digits"),
        (
            {"limits": {"unit": "A"}},
            "config.limits.unit: does not fit what it is for: One small letter",
        ),
        ({"plain": "y"}, "config.plain: String should match pattern"),
    ],
)
async def test_a_regular_expression_is_told_by_its_description(config, told):
    with pytest.raises(PluginError, match=re.escape(told)):
        async with load_plugin(module(PATTERNS), config):
            pass

"""Old names of tools: they are called, not listed, and never mean two things."""

from contextlib import AsyncExitStack
from types import ModuleType
from typing import Annotated

import pytest
from exchanges import CALLER, Sealed, enveloped, handshake, modern, modern_headers, post, request
from pydantic import Field, ValidationError

from mcpserve import hookimpl, plugins, tool
from mcpserve.errors import InsufficientScope, PluginError
from mcpserve.protocol import Exchange
from mcpserve.settings import PluginSettings
from mcpserve.testing import load_plugin

BOTH = pytest.mark.parametrize("send", [modern, handshake])
HEADER_MISMATCH = -32020


def a_plugin(*names, scopes=()):
    """Return a plugin with tools of these names."""

    def tools():
        return [tool(name=name, scopes=scopes)(lambda name=name: name) for name in names]

    made = ModuleType("sample")
    made.mcpserve_tools = hookimpl(tools)
    return made


def aliases(**of):
    """Return settings with these aliases."""
    return {"tools": {name: {"aliases": given} for name, given in of.items()}}


async def load(settings, **given):
    """Load plugins by name, with settings by name."""
    configured = {name: PluginSettings.model_validate(settings.get(name, {})) for name in given}
    return (await plugins.load(configured, AsyncExitStack(), given.__getitem__)).registry


async def endpoint(settings, *names, **options):
    """Return an endpoint with one plugin."""
    registry = await load({"a": settings}, a=a_plugin(*names, **options))
    return Exchange(
        registry,
        name="tests",
        instructions="",
        seal=Sealed(),
        challenge=lambda error: "",
        connections="",
    )


@BOTH
async def test_an_old_name_is_called_and_not_listed(send):
    server = await endpoint(aliases(new=["old", "older.name"]), "new", "other")
    listed = (await send(server, "tools/list")).result["tools"]
    assert [shown["name"] for shown in listed] == ["new", "other"]
    for name in ("new", "old", "older.name"):
        answer = await send(server, "tools/call", {"name": name})
        assert answer.result["isError"] is False
    answer = await send(server, "tools/call", {"name": "oldest"})
    assert answer.body["error"]["code"] == -32602


async def test_the_header_repeats_the_name_that_is_called():
    server = await endpoint(aliases(new=["old"]), "new")
    call = request("tools/call", enveloped({"name": "old"}))
    assert (await post(server, call, modern_headers("tools/call", "old"))).status == 200
    answer = await post(server, call, modern_headers("tools/call", "new"))
    assert answer.code == (400, HEADER_MISMATCH)


async def test_headers_for_arguments_are_checked_under_an_old_name_too():
    def new(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
        return region

    made = ModuleType("sample")
    made.mcpserve_tools = hookimpl(lambda: [new])
    registry = await load({"a": aliases(new=["old"])}, a=made)
    server = Exchange(
        registry,
        name="tests",
        instructions="",
        seal=Sealed(),
        challenge=lambda error: "",
        connections="",
    )
    for name in ("new", "old"):
        params = {"name": name, "arguments": {"region": "eu"}}
        answer = await modern(server, "tools/call", params, [("Mcp-Param-Region", "us")])
        assert answer.code == (400, HEADER_MISMATCH)
        answer = await modern(server, "tools/call", params, [("Mcp-Param-Region", "eu")])
        assert answer.result["structuredContent"] == {"result": "eu"}


@BOTH
async def test_an_old_name_needs_what_the_new_one_needs(send):
    server = await endpoint(aliases(new=["old"]), "new", scopes=["files.write"])
    with pytest.raises(InsufficientScope) as caught:
        await send(server, "tools/call", {"name": "old"})
    assert caught.value.scopes == CALLER.scopes | {"files.write"}


async def test_a_call_is_observed_under_the_real_name():
    async with load_plugin(a_plugin("new"), **aliases(new=["old"])) as loaded:
        result = await loaded.call("old")
        assert result.content[0].text == "new"
        assert [call.tool for call in loaded.calls] == ["new"]


async def test_a_tool_that_is_off_is_off_under_every_name():
    server = await endpoint({"tools": {"new": {"aliases": ["old"], "enabled": False}}}, "new")
    answer = await modern(server, "tools/call", {"name": "old"})
    assert answer.body["error"]["message"] == "Unknown tool: old"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"a": aliases(x=["y"])}, "plugins.a: tools.x.aliases: 'y' is already the name of a tool"),
        ({"a": aliases(x=["x"])}, "plugins.a: tools.x.aliases: 'x' is already the name of a tool"),
        ({"a": aliases(x=["z"])}, "plugins.a: tools.x.aliases: 'z' is already the name of a tool"),
        ({"b": aliases(z=["x"])}, "plugins.b: tools.z.aliases: 'x' is already the name of a tool"),
        (
            {"a": aliases(x=["o", "o"])},
            "plugins.a: tools.x.aliases: 'o' is already an alias (plugins.a.tools.x.aliases)",
        ),
        (
            {"a": aliases(x=["o"], y=["o"])},
            "plugins.a: tools.y.aliases: 'o' is already an alias (plugins.a.tools.x.aliases)",
        ),
        (
            {"a": aliases(y=["o"]), "b": aliases(z=["o"])},
            "plugins.b: tools.z.aliases: 'o' is already an alias (plugins.a.tools.y.aliases)",
        ),
    ],
)
async def test_a_name_that_would_mean_two_things_is_refused(settings, problem):
    with pytest.raises(PluginError) as caught:
        await load(settings, a=a_plugin("x", "y"), b=a_plugin("z"))
    assert str(caught.value) == problem


@pytest.mark.parametrize("name", ["", "two words", "ä", "a" * 129, 'quo"te'])
def test_an_alias_is_a_name_that_a_client_can_send(name):
    with pytest.raises(ValidationError) as caught:
        PluginSettings.model_validate(aliases(x=[name]))
    assert caught.value.errors()[0]["loc"] == ("tools", "x", "aliases", 0)


@pytest.mark.parametrize("kind", ["resources", "prompts"])
def test_only_tools_have_aliases(kind):
    with pytest.raises(ValidationError, match="aliases"):
        PluginSettings.model_validate({kind: {"x": {"aliases": ["y"]}}})

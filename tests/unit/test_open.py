"""What the operator opens: binding it, and what it must not drop."""

from contextlib import AsyncExitStack
from types import ModuleType

import pytest

from mcpserve import app_page, hookimpl, plugins, prompt, resource, shown_on, tool
from mcpserve.errors import PluginError
from mcpserve.oauth.scopes import Scopes
from mcpserve.settings import PluginSettings
from mcpserve.tools import CALL_SCOPE
from mcpserve.web.consent import shown


def a_plugin(scopes=()):
    """Return a plugin with one offer of each kind, and another tool."""
    made = ModuleType("sample")
    made.mcpserve_tools = hookimpl(
        lambda: [tool(name="look", scopes=scopes)(lambda: ""), tool(name="other")(lambda: "")]
    )
    made.mcpserve_resources = hookimpl(
        lambda: [resource("test://page", name="page", scopes=scopes)(lambda: "")]
    )
    made.mcpserve_prompts = hookimpl(lambda: [prompt(name="ask", scopes=scopes)(lambda: "")])
    return made


async def load(settings, scopes=()):
    """Load the plugin with these settings."""
    configured = {"sample": PluginSettings.model_validate(settings)}
    find = {"sample": a_plugin(scopes)}.__getitem__
    return (await plugins.load(configured, AsyncExitStack(), find)).registry


def opened(kind, name, **more):
    """Return settings that open one offer."""
    return {kind: {name: {"open": True, **more}}}


KINDS = {"tools": "look", "resources": "page", "prompts": "ask"}
each = pytest.mark.parametrize(("kind", "name"), KINDS.items())


@each
async def test_only_what_the_operator_opened_needs_no_scope(kind, name):
    registry = await load(opened(kind, name))
    offers = [*registry.tools, *registry.resources, *registry.prompts]
    assert [bound.offer.name for bound in registry.open] == [name]
    assert {bound.offer.name: bound.scopes for bound in offers} == {
        other: frozenset() if other == name else {CALL_SCOPE}
        for other in (*KINDS.values(), "other")
    }


async def test_an_open_tool_whose_page_is_closed_is_told(caplog):
    page = app_page("ui://sample/page", "<!doctype html>", name="page")
    made = ModuleType("sample")
    made.mcpserve_resources = hookimpl(lambda: [page])
    made.mcpserve_tools = hookimpl(lambda: [tool(name="look", meta=shown_on(page))(lambda: "")])
    find = {"sample": made}.__getitem__
    for opens, told in ((["tools"], 1), (["tools", "resources"], 0), ([], 0)):
        caplog.clear()
        settings = {}
        for kind in opens:
            settings |= opened(kind, {"tools": "look", "resources": "page"}[kind])
        configured = {"sample": PluginSettings.model_validate(settings)}
        await plugins.load(configured, AsyncExitStack(), find)
        warnings = [record.getMessage() for record in caplog.records]
        assert len(warnings) == told
        assert all("resources: {page: {open: true}}" in warning for warning in warnings)


async def test_nothing_is_open_by_default():
    for settings in ({}, {"tools": {"look": {}}}, {"tools": {"look": {"open": False}}}):
        assert (await load(settings)).open == ()


@each
@pytest.mark.parametrize(
    ("scopes", "of_plugin", "of_offer", "who"),
    [
        (["files"], [], [], "its author asks for files"),
        ([], ["b", "a"], [], "plugins.sample.scopes ask for a b"),
        ([], [], ["files"], "plugins.sample.{kind}.{name}.scopes ask for files"),
        ([CALL_SCOPE], [], [], f"its author asks for {CALL_SCOPE}"),
    ],
)
async def test_what_somebody_protects_cannot_be_open(kind, name, scopes, of_plugin, of_offer, who):
    settings = opened(kind, name, scopes=of_offer) | {"scopes": of_plugin}
    with pytest.raises(PluginError) as caught:
        await load(settings, scopes)
    assert str(caught.value) == (
        f"plugins.sample: {kind}.{name}.open: {who.format(kind=kind, name=name)}, "
        "and what is open needs no scope; remove one of the two"
    )


async def test_what_is_disabled_is_not_open_either():
    assert (await load(opened("tools", "look", enabled=False))).open == ()


async def test_consent_to_nothing_is_not_asked_for():
    registry = await load(opened("tools", "look"))
    (scope,) = shown(frozenset({CALL_SCOPE}), Scopes.of({}, []), registry.tools, frozenset())
    assert [each.title for each in scope.tools] == ["other"]

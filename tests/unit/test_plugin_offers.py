"""Resources and prompts that plugins hand over, in the server, in tests and on the command line."""

import logging
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType

import notebook
import pytest
from e2e.process import configure, invoke

from mcpserve import hookimpl, plugins, prompt, resource, tool
from mcpserve.bound import CallFailed
from mcpserve.errors import PluginError
from mcpserve.registry import UnknownPrompt, UnknownResource
from mcpserve.settings import PluginSettings
from mcpserve.testing import load_plugin
from mcpserve.tools import WrongArguments


def plugin(**hooks):
    """Return a plugin with these hooks, or what they return."""
    made = ModuleType("sample")
    for name, handed in hooks.items():
        function = handed if callable(handed) else lambda handed=handed: handed
        setattr(made, f"mcpserve_{name}", hookimpl(function))
    return made


def named(name, uri=None):
    """Return a resource of this name."""
    return resource(uri or f"test://{name}", name=name)(lambda: name)


async def load(settings=None, /, **given):
    """Load these plugins by name, with settings by name."""
    configured = {
        name: PluginSettings.model_validate((settings or {}).get(name, {})) for name in given
    }
    return await plugins.load(configured, AsyncExitStack(), given.__getitem__)


async def refusal(settings=None, /, **given):
    """Return why plugins are refused, a single line."""
    with pytest.raises(PluginError) as caught:
        await load(settings, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_everything_comes_in_the_order_of_configuration():
    loaded = await load(
        b=plugin(resources=[named("z"), named("y")], prompts=[prompt(name="p")(lambda: "")]),
        a=plugin(resources=[named("x")], tools=[tool(name="t")(lambda: "")]),
    )
    registry = loaded.registry
    assert [bound.offer.name for bound in registry.resources] == ["z", "y", "x"]
    assert [bound.offer.name for bound in registry.prompts] == ["p"]
    assert [bound.offer.name for bound in registry.tools] == ["t"]
    offers = (*registry.prompts, *registry.resources)
    assert len({id(bound.containment) for bound in offers}) == 2


async def test_a_bare_function_may_be_a_prompt_but_no_resource():
    def ask() -> str:
        """Ask."""
        return ""

    loaded = await load(a=plugin(prompts=[ask]))
    assert loaded.registry.prompts.get("ask").offer.description == "Ask."
    text = await refusal(a=plugin(resources=[ask]))
    assert text.startswith("plugins.a: mcpserve_resources: TypeError: ")
    assert text.endswith("is not made with @resource")


@pytest.mark.parametrize("hook", ["resources", "prompts"])
@pytest.mark.parametrize("handed", [5, [5], [tool(name="t")(lambda: "")], {"a": 1}])
async def test_what_is_of_another_kind_is_refused(hook, handed):
    text = await refusal(a=plugin(**{hook: handed}))
    assert text.startswith(f"plugins.a: mcpserve_{hook}: TypeError: ")


async def test_names_and_uris_are_of_one_plugin_only():
    text = await refusal(
        a=plugin(resources=[named("one")]), b=plugin(resources=[named("other", "test://one")])
    )
    assert text == "plugins.b: resource 'test://one' already comes from plugin 'a'"
    ask = prompt(name="ask")(lambda: "")
    text = await refusal(a=plugin(prompts=[ask]), b=plugin(prompts=[ask]))
    assert text == "plugins.b: prompt 'ask' already comes from plugin 'a'"
    loaded = await load(a=plugin(prompts=[ask]), b=plugin(tools=[tool(name="ask")(lambda: "")]))
    assert loaded.names == ("a", "b")


@pytest.mark.parametrize(
    ("offers", "text"),
    [
        ({"resources": [named("a"), named("a", "test://b")]}, "resource 'a' is there twice"),
        ({"resources": [named("a"), named("b", "test://a")]}, "resource 'test://a' is there twice"),
        ({"prompts": [prompt(name="a")(lambda: "")] * 2}, "prompt 'a' is there twice"),
        (
            {"prompts": [prompt(name="two words")(lambda: "")]},
            "prompt name 'two words' must be 1 to 64 of A-Z a-z 0-9 _ -",
        ),
    ],
)
async def test_names_of_one_plugin_are_distinct_and_good(offers, text):
    assert await refusal(a=plugin(**offers)) == f"plugins.a: {text}"


async def test_settings_of_what_is_not_there_are_refused():
    made = plugin(resources=[named("b"), named("a")], prompts=[])
    text = await refusal({"a": {"resources": {"c": {}}}}, a=made)
    assert text == "plugins.a: resources.c: no such resource; it has a, b"
    text = await refusal({"a": {"prompts": {"c": {}}}}, a=made)
    assert text == "plugins.a: prompts.c: no such prompt; it has none"


async def test_what_the_operator_decides_goes_for_all_kinds():
    made = plugin(
        resources=[resource("test://a", name="a", scopes=["author"], timeout=9)(lambda: "")],
        prompts=[prompt(name="p", timeout=9)(lambda: ""), prompt(name="off")(lambda: "")],
    )
    decided = {
        "scopes": ["plugin"],
        "resources": {"a": {"scopes": ["operator"], "timeout": "3s"}},
        "prompts": {"off": {"enabled": False}},
    }
    registry = (await load({"a": decided}, a=made)).registry
    (shown,) = registry.resources
    assert shown.scopes == {"mcp.tools.call", "author", "plugin", "operator"}
    assert shown.timeout == 3
    (shown,) = registry.prompts
    assert (shown.scopes, shown.timeout) == ({"mcp.tools.call", "plugin"}, 9)
    assert registry.scopes == {"mcp.tools.call", "author", "plugin", "operator"}


async def test_one_that_fails_half_way_offers_nothing_and_cleans_up(caplog):
    closed = []

    def tools(exit_stack):
        exit_stack.callback(closed.append, True)
        return [tool(name="t")(lambda: "")]

    async def prompts():
        raise KeyError("broken")

    broken = plugin(tools=tools, resources=[named("a")], prompts=prompts)
    loaded = await load({"a": {"on_error": "skip"}}, a=broken)
    assert not [*loaded.registry.tools, *loaded.registry.resources, *loaded.registry.prompts]
    assert loaded.skipped == {"a": "plugins.a: mcpserve_prompts: KeyError: 'broken'"}
    assert closed == [True]
    assert caplog.records[-1].levelno == logging.ERROR


async def test_the_testing_kit_reads_renders_and_completes():
    async with load_plugin(notebook, {"notes": {"a/b": "text"}}) as notes:
        assert (await notes.read("note://a/b")).contents[0].text == "text"
        assert notes.progress == [(1, 1, "found")]
        assert (await notes.read("note://diary")).contents[0].text == "Dear diary"
        shown = await notes.get_prompt("summarize", folder="a")
        assert shown.messages[0].content.text == "Write a short summary of a."
        template = "note://{folder}/{name}"
        assert await notes.complete(template, "folder", "a") == ["a"]
        assert await notes.complete(template, "name", "", folder="a") == ["b"]
        assert await notes.complete("summarize", "style", "l") == ["long"]
        assert [bound.offer.name for bound in notes.resources][:2] == ["note", "index"]
        assert [bound.offer.name for bound in notes.prompts] == ["summarize", "discuss"]
        assert notes.calls == []


async def test_the_testing_kit_raises_what_the_server_tells():
    broken = resource("test://x", name="broken")(lambda: None)
    made = plugin(resources=[broken], prompts=[prompt(name="one")(lambda: "")])
    async with load_plugin(made) as sample:
        with pytest.raises(UnknownResource):
            await sample.read("test://y")
        with pytest.raises(CallFailed):
            await sample.read("test://x")
        with pytest.raises(UnknownPrompt):
            await sample.get_prompt("nope")
        with pytest.raises(WrongArguments):
            await sample.get_prompt("one", more="")
        with pytest.raises(UnknownPrompt):
            await sample.complete("nope", "a", "")
        with pytest.raises(UnknownResource):
            await sample.complete("test://{a}", "a", "")


def test_plugin_list_shows_them(tmp_path, monkeypatch):
    packages = tmp_path / "packages"
    info = packages / "sample_notebook-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sample-notebook\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mcpserve]\nnotebook = notebook\n")
    monkeypatch.syspath_prepend(packages)
    monkeypatch.syspath_prepend(Path(notebook.__file__).parent)
    decided = {"prompts": {"discuss": {"enabled": False}}}
    config = configure(tmp_path, plugins={"notebook": decided})
    shown = invoke(config, "plugin", "list").stdout
    assert "notebook: on\n  package sample-notebook 1.0, environment\n" in shown
    assert "  tool find  timeout 30 s, scopes mcp.tools.call, " in shown
    assert "  resource note  note://{folder}/{name}  “Note”  timeout 30 s, scopes" in shown
    assert "  resource diary  note://diary  timeout 30 s, scopes diary mcp.tools.call\n" in shown
    assert "  prompt summarize  timeout 30 s, scopes mcp.tools.call\n" in shown
    assert "  prompt discuss is off: prompts.discuss.enabled is false\n" in shown

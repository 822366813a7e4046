"""The plugin in a how-to does what the page says."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mcpserve.registry import UnknownResource
from mcpserve.testing import load_plugin

HOWTO = Path(__file__).parent.parent.parent / "docs" / "howto"


def module(name, source):
    """Return a module with this source."""
    made = ModuleType(name)
    exec(source, vars(made))
    return made


async def test_search_and_fetch(monkeypatch):
    page = (HOWTO / "search-and-fetch.md").read_text(encoding="utf-8")
    plugin, test = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    handbook = module("mcpserve_handbook", plugin)
    monkeypatch.setitem(sys.modules, "mcpserve_handbook", handbook)
    await module("test", test).test_what_is_found_can_be_read()
    async with load_plugin(handbook) as loaded:
        for tool in loaded.tools:
            assert tool.offer.definition.annotations.read_only_hint
            assert tool.offer.definition.output_schema
        unknown = await loaded.call("fetch", id="nothing")
    assert unknown.content[0].text == "There is no page 'nothing': give the id of a search result."


async def test_resources_and_prompts(tmp_path, monkeypatch):
    page = (HOWTO / "resources-and-prompts.md").read_text(encoding="utf-8")
    plugin, test = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    rules = module("mcpserve_rules", plugin)
    monkeypatch.setitem(sys.modules, "mcpserve_rules", rules)
    folder = tmp_path / "rules"
    folder.mkdir()
    await module("test", test).test_rules(folder)

    (tmp_path / "secret.md").write_text("hunter2")
    (folder / "link.md").symlink_to(tmp_path / "secret.md")
    async with load_plugin(rules, {"folder": folder}) as loaded:
        for topic in ("..%2Fsecret", "link", "nothing"):
            with pytest.raises(UnknownResource):
                await loaded.read(f"rules://{topic}")


async def test_a_page(monkeypatch):
    page = (HOWTO / "show-a-page.md").read_text(encoding="utf-8")
    plugin, test = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.setitem(sys.modules, "mcpserve_dice", module("mcpserve_dice", plugin))
    await module("test", test).test_dice()

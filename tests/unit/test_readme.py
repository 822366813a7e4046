"""The first page does what it says."""

import re
import tomllib
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType

from mcpserve import plugins
from mcpserve.config import load
from mcpserve.testing import load_plugin

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "README.md").read_text("utf-8")


def block(language):
    """Return the one block of code in this language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return text


async def test_its_plugin_is_short_and_works():
    source = block("python")
    assert len(source.splitlines()) <= 15
    greeter = ModuleType("mcpserve_greeter")
    exec(source, vars(greeter))
    async with load_plugin(greeter) as loaded:
        greeted = await loaded.call("greet", name="Ada")
        nobody = await loaded.call("greet", name=" ")
    assert greeted.structured_content == {"result": "Hello, Ada"}
    assert (nobody.is_error, nobody.content[0].text) == (True, "say whom to greet")
    entry_points = tomllib.loads(block("toml"))["project"]["entry-points"]["mcpserve"]
    assert entry_points == {"greeter": "mcpserve_greeter"}


async def test_it_shows_the_tools_that_there_are():
    settings = load(ROOT / "config.yaml.example", {}).settings
    async with AsyncExitStack() as exit_stack:
        loaded = await plugins.load(settings.plugins, exit_stack)
        tools = [bound.offer.name for bound in loaded.registry.tools]
    assert f"\n  tools          {' · '.join(tools)}\n" in PAGE

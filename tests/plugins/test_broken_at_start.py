"""What an operator reads of a plugin that cannot be loaded: exactly this, wherever it is told."""

import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack

import pytest
from click.testing import CliRunner
from probing import probed

from mcpserve import plugins
from mcpserve.checking import rules
from mcpserve.cli import main
from mcpserve.errors import PluginError
from mcpserve.settings import PluginSettings

BROKEN = {
    "import_error": (
        rules.IMPORT,
        "import failed: ModuleNotFoundError: No module named 'a_package_that_nobody_has'",
    ),
    "raises_on_import": (rules.IMPORT, "import failed: NoLicence: ask for one"),
    "exits_on_import": (rules.IMPORT, "import failed: SystemExit: no licence"),
    "unknown_hook": (rules.HOOKS, "unknown hook 'mcpserve_tool' in plugin <module 'unknown_hook'"),
    "wrong_hook_argument": (
        rules.HOOKS,
        "Plugin 'wrong_hook_argument' for hook 'mcpserve_tools' hookimpl definition: "
        "mcpserve_tools(settings) Argument(s) {'settings'} are declared in the hookimpl but can "
        "not be found in the hookspec",
    ),
    "unmarked_hook": (
        rules.HOOKS,
        "mcpserve_tools is not marked with @hookimpl, so it would do nothing",
    ),
    "bad_config_model": (
        rules.HOOKS,
        "mcpserve_config must return a pydantic model class",
    ),
    "wrong_config": (rules.CONFIG, "config.city: is missing"),
    "raising_hook": (rules.LOAD, "mcpserve_tools: KeyError: 'city'"),
    "exiting_hook": (rules.LOAD, "mcpserve_tools: SystemExit: no key"),
    "exiting_async_hook": (rules.LOAD, "mcpserve_tools: SystemExit: no key"),
    "bad_schema": (
        rules.LOAD,
        "mcpserve_tools: TypeError: tool 'forecast': Cannot generate a JsonSchema for "
        "core_schema.IsInstanceSchema (<class 'bad_schema.Connection'>)",
    ),
    "bad_scope": (
        rules.LOAD,
        "mcpserve_tools: ValueError: tool 'forecast': the scope 'read write' must be printable ",
    ),
    "bad_tool_name": (
        rules.LOAD,
        "tool name 'forecast for today' must be 1 to 64 of A-Z a-z 0-9 _ -",
    ),
    "duplicate_tool": (rules.LOAD, "tool 'forecast' is there twice"),
    "missing_page": (
        rules.LOAD,
        "tool 'forecast' is shown on 'ui://forecast/card', which mcpserve_resources lacks",
    ),
}
"""Of each file in the gallery that cannot be loaded: the rule, and how the message begins."""

EACH = pytest.mark.parametrize("name", BROKEN)


def lines_of(output, name):
    """Return the lines that begin with the message about this plugin, however they are marked."""
    message = f"plugins.{name}: {BROKEN[name][1]}"
    return [line for line in output.splitlines() if message in line]


@pytest.fixture
def config(tmp_path):
    """A configuration that lists all of them."""
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"plugins": {name: {} for name in BROKEN}}))
    return str(path)


@EACH
async def test_loading_is_refused_with_one_line(gallery, name):
    with pytest.raises(PluginError) as caught:
        await plugins.load({name: PluginSettings()}, AsyncExitStack())
    assert str(caught.value).startswith(f"plugins.{name}: {BROKEN[name][1]}")
    assert "\n" not in str(caught.value)


@EACH
async def test_a_server_may_start_without_it_and_logs_the_same(gallery, name, caplog):
    skipping = PluginSettings(on_error="skip")
    loaded = await plugins.load({name: skipping}, AsyncExitStack())
    assert list(loaded.registry.tools) == []
    assert f"started without plugins.{name}: {BROKEN[name][1]}" in caplog.text


def test_check_names_all_of_them_at_once(gallery, config):
    result = CliRunner().invoke(main, ["check", "-c", config])
    assert result.exit_code == 2
    for name in BROKEN:
        (line,) = lines_of(result.output, name)
        assert line.startswith("error: ")


def test_the_list_of_plugins_says_what_is_broken(gallery, config):
    result = CliRunner().invoke(main, ["plugin", "list", "-c", config])
    assert result.exit_code == 0
    for name in BROKEN:
        assert f"\n{name}: broken, {BROKEN[name][1]}" in result.output


def test_check_refuses_in_a_process_of_its_own(gallery, config, tmp_path):
    path = os.pathsep.join([*gallery, os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-m", "mcpserve", "check", "-c", config],
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == len(BROKEN)
    for name in BROKEN:
        assert lines_of(ended.stderr, name)


@EACH
async def test_plugin_check_tells_the_same_with_its_code(gallery, name):
    rule, message = BROKEN[name]
    found, _ = await probed(name)
    assert found[-1].rule is rule
    assert found[-1].told.startswith(message)

"""Plugins by others, installed while the server runs, and removed again."""

import asyncio
import sys

import pytest
import wheels
import yaml
from e2e.process import add_user, configure, invoke, started
from mcp_client import McpClient


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """A folder of wheels, where pip looks and nowhere else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path])
    returned = "from {sample_greeting.VERSION}"
    wheels.write(folder, "sample-greeting", "1.5")
    for name, tool in (("mcpserve-near", "greet_here"), ("mcpserve-apart", "greet_apart")):
        source = wheels.plugin(tool, returned, "import sample_greeting")
        requires = ["mcpserve", "sample-greeting"]
        plugin = name.removeprefix("mcpserve-")
        wheels.write(folder, name, "1.0", requires=requires, plugins=[plugin], source=source)
    return folder


@pytest.fixture
def config(dsn, tmp_path):
    """A configuration without these plugins, and a person who may log in."""
    path = configure(tmp_path, dsn=dsn, plugins_dir={}, data_dir={})
    settings = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**settings, "plugins_dir": "drop", "data_dir": "data"}))
    add_user(path)
    return path


def change_plugins(path, **plugins):
    """Switch plugins on, or off with None."""
    settings = yaml.safe_load(path.read_text())
    changed = {**settings["plugins"], **plugins}
    settings["plugins"] = {name: each for name, each in changed.items() if each is not None}
    path.write_text(yaml.safe_dump(settings))


async def run(path, *words, **env):
    """Run a command, beside the event loop of the test."""
    return await asyncio.to_thread(invoke, path, *words, **env)


def done(result):
    """Return what a command printed. Fails if it failed."""
    assert result.exit_code == 0, result.stderr
    return result.stdout


async def test_a_plugin_comes_and_goes_while_the_server_runs(config, offline):
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(offline)}
    with started(config) as process:
        client = await McpClient.authorized(process)
        wheel = str(offline / "mcpserve_near-1.0-py3-none-any.whl")
        printed = done(await run(config, "plugin", "install", wheel, "mcpserve-apart", **pip))
        assert "installed mcpserve-apart 1.0, mcpserve-near 1.0, sample-greeting 1.5 in" in printed
        assert "plugin near: to switch it on, in config.yaml:  plugins: {near: {}}" in printed
        assert (config.parent / "drop" / "mcpserve_near").is_dir()

        change_plugins(config, near={}, apart={"isolation": "process"})
        assert "+ tool greet_here" in done(await run(config, "reload"))
        for tool in ("greet_here", "greet_apart"):
            answer = (await client.call(tool, name="Kari")).json()["result"]
            assert answer["structuredContent"] == {"result": "Hei Kari, from 1.5"}

        refused = await run(config, "plugin", "remove", "near")
        assert "the configuration still has plugins.near" in refused.stderr
        change_plugins(config, near=None, apart=None)
        printed = done(await run(config, "plugin", "remove", "near"))
        assert "removed mcpserve-near 1.0 from" in printed
        printed = done(await run(config, "plugin", "remove", "mcpserve_apart"))
        assert "removed mcpserve-apart 1.0, sample-greeting 1.5 from" in printed
        assert "- tool greet_here" in done(await run(config, "reload"))
        listed = (await client.post(client.message("tools/list"))).json()["result"]["tools"]
        assert not {tool["name"] for tool in listed} & {"greet_here", "greet_apart"}
        assert [*(config.parent / "drop").iterdir()] == []


def test_a_dropped_copy_and_a_wrong_version_are_told_at_start_and_by_check(config, offline):
    (config.parent / "drop").mkdir(mode=0o755)
    wheels.unpack(wheels.write(offline, "pydantic", "1.10.0"), config.parent / "drop")
    odd = wheels.write(offline, "mcpserve-odd", "1.0", requires=["pydantic<2"], plugins=["odd"])
    wheels.unpack(odd, config.parent / "drop")
    with started(config) as process:
        told = process.log
    assert "plugins_dir: mcpserve-odd brings pydantic 1.10.0, but " in told
    assert "plugins_dir: mcpserve-odd 1.0 needs pydantic<2, " in told
    assert "mcpserve-odd brings pydantic 1.10.0" in done(invoke(config, "check"))


def test_an_installation_that_cannot_be_finished_keeps_a_server_from_starting_only(config):
    (config.parent / "drop" / ".committed").mkdir(parents=True)
    told = "was interrupted and cannot be finished: No such file or directory"
    for words, status in (
        (("check",), 0),
        (("plugin", "list"), 0),
        (("serve",), 2),
        (("plugin", "install", "./x"), 1),
        (("plugin", "remove", "x"), 1),
    ):
        result = invoke(config, *words)
        assert result.exit_code == status, words
        assert "warning: plugins_dir" in result.stderr
        assert ("error: plugins_dir" in result.stderr) == (status > 0 and "./x" not in words)
        assert told in result.stderr


def test_another_build_and_an_entry_point_to_nothing_are_told(config, offline):
    folder = config.parent / "drop"
    wheels.unpack(wheels.write(offline, "mcpserve-void", "1.0", plugins=["void"]), folder)
    more = {"mcpserve_void-1.0.dist-info/entry_points.txt": "[mcpserve]\nvoid = no_such_thing\n"}
    wheel = wheels.write(offline, "mcpserve-void", "1.0", more=more)
    result = invoke(config, "plugin", "install", str(wheel), PIP_NO_INDEX="1")
    assert "replaced mcpserve-void 1.0 in" in done(result)
    assert "to switch it on" not in result.stdout
    assert "plugin void cannot be loaded: there is no module no_such_thing" in result.stderr

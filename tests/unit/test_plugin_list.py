"""``mcpserve plugin list``: what is on, what is not, and why."""

import dataclasses
import json
import re
import sys
from pathlib import Path

import pytest
from e2e.process import configure, invoke

from mcpserve.cli import listing

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "plugin-list.md"
TOOL = '''
from mcpserve import hookimpl, tool

@tool(title="The forecast")
def forecast() -> str:
    """Forecast."""
    return "sun"

def clouds() -> str:
    """Clouds."""
    return "none"

@hookimpl
def mcpserve_tools():
    return [forecast, clouds]
'''
CONFIG = '''
from mcpserve import hookimpl
from pydantic import BaseModel, Field, SecretStr

class Config(BaseModel, extra="forbid"):
    """Settings."""

    place: str
    days: int = Field(3, description="How many")
    code: SecretStr = SecretStr("CANARY")
    token_url: str = "https://example.org"

@hookimpl
def mcpserve_config():
    return Config

@hookimpl
def mcpserve_tools():
    def where() -> str:
        """Where."""
        return ""

    return [where]
'''


@pytest.fixture
def install(tmp_path, monkeypatch):
    """What installs a package whose one module is a plugin."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def installed(name, source, *, distribution="", metadata=""):
        package = (distribution or f"sample-{name}").replace("-", "_")
        module = f"{tmp_path.name}_{package}"
        (site / f"{module}.py").write_text(source)
        info = site / f"{package}-1.0.dist-info"
        info.mkdir()
        said = f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.0\n"
        (info / "METADATA").write_text(said + metadata)
        (info / "entry_points.txt").write_text(f"[mcpserve]\n{name} = {module}\n")
        return module

    return installed


@pytest.fixture
def shown(tmp_path):
    """What lists the plugins of a configuration, as text."""

    def text(plugins, *words):
        result = invoke(configure(tmp_path, plugins=plugins), "plugin", "list", *words)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    return text


@pytest.fixture
def plugin(shown):
    """What returns one plugin of the list for machines."""

    def found(name, **plugins):
        listed = json.loads(shown(plugins, "--json"))["plugins"]
        return next(each for each in listed if each["name"] == name)

    return found


def test_one_that_is_off_is_not_imported_and_how_to_switch_it_on_is_told(install, plugin):
    module = install("sample", "raise SystemExit")
    told = plugin("sample")
    assert (told["state"], told["reason"]) == ("off", "not listed in config.yaml")
    assert told["fix"] == "plugins: {sample: {}}"
    assert module not in sys.modules


@pytest.mark.parametrize(("on_error", "state"), [("stop", "broken"), ("skip", "skipped")])
def test_a_broken_one_is_told_with_its_reason_beside_the_others(install, shown, on_error, state):
    install("sample", "raise SystemExit('boom')")
    text = shown({"sample": {"on_error": on_error}})
    assert f"\nsample: {state}, import failed: SystemExit: boom\n" in text
    assert "\ncalculator: on\n" in text


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_one_that_is_not_installed_is_told_with_what_to_do(install, plugin, on_error):
    install("sample", TOOL)
    decided = {"on_error": on_error}
    assert plugin("nope", nope=decided)["fix"] == "mcpserve plugin install NAME"
    assert plugin("sampel", sampel=decided)["fix"] == "plugins: {sample: {}}"
    install("twice", TOOL, distribution="sample-one")
    install("twice", TOOL, distribution="sample-two")
    assert plugin("twice", twice=decided)["fix"] == "uninstall all but one of them"


def test_two_that_offer_the_same_tool_cannot_both_be_on(install, plugin):
    install("one", TOOL)
    install("two", TOOL)
    assert plugin("one", one={}, two={})["state"] == "on"
    second = plugin("two", one={}, two={})
    assert second["state"] == "broken"
    assert "already comes from plugin 'one'" in second["reason"]


def test_two_packages_of_one_name_are_told(install, plugin):
    install("sample", TOOL, distribution="sample-one")
    install("sample", TOOL, distribution="sample-two")
    off = plugin("sample")
    assert [each["name"] for each in off["packages"]] == ["sample-one", "sample-two"]
    assert "2 packages provide it" in off["reason"]
    assert off["fix"] == "uninstall all but one of them"
    on = plugin("sample", sample={})
    assert on["state"] == "broken"
    assert on["reason"].startswith("sample-one, sample-two provides it")


def test_what_a_package_lacks_is_told_though_it_is_off(install, shown):
    needs = "Requires-Dist: nonesuch>=2\nRequires-Dist: click\nRequires-Dist: no; extra == 'x'\n"
    install("sample", TOOL, metadata=needs)
    found = re.findall("needs .*", shown({}))
    assert found == ["needs nonesuch>=2, which is not installed"]


def test_what_the_operator_decided_about_a_tool_is_told(install, shown):
    install("sample", TOOL)
    decided = {
        "forecast": {"aliases": ["outlook"], "timeout": "5s", "open": True},
        "clouds": {"enabled": False},
    }
    text = shown({"sample": {"tools": decided}})
    assert (
        "  tool forecast  “The forecast”  timeout 5 s, open to everybody, may change and destroy, "
        "also called outlook\n" in text
    )
    assert "  tool clouds is off: tools.clouds.enabled is false\n" in text


def test_its_own_settings_are_told_and_no_secret(install, shown):
    install("sample", CONFIG)
    text = shown({"sample": {"config": {"place": "Oslo"}}})
    assert (
        "  config.place  string, required\n"
        "  config.days  integer, default 3\n"
        '  config.code  string, secret, default "**********"\n'
        '  config.token_url  string, default "https://example.org"\n' in text
    )
    assert "CANARY" not in text


def test_what_a_plugin_prints_does_not_spoil_the_document(install, plugin):
    install("sample", f"print('hello')\n{TOOL}")
    assert plugin("sample", sample={})["state"] == "on"


def test_without_tools_lock_the_plugins_are_listed_nevertheless(tmp_path):
    path = configure(tmp_path)
    path.write_text(path.read_text() + "tools_lock: tools.lock\n")
    result = invoke(path, "plugin", "list")
    assert result.exit_code == 0
    assert "mcpserve tools lock" in result.stdout
    assert "  tool calculator  " in result.stdout


def test_what_is_in_plugins_dir_is_told_so(install, tmp_path):
    install("sample", TOOL)
    path = configure(tmp_path)
    path.write_text(path.read_text() + "plugins_dir: site\n")
    text = invoke(path, "plugin", "list").stdout
    assert "  package sample-sample 1.0, plugins_dir\n" in text
    assert re.search(r"  package mcpserve-calculator \S+, environment\n", text)
    assert re.search(r"\nprofile: off, .*\n.*\n  package mcpserve \S+, built in\n", text)


def test_the_schema_has_the_settings_of_all_that_can_be_loaded(install, tmp_path):
    install("sample", CONFIG)
    install("broken", "raise SystemExit('boom')")
    off = install("other", "raise SystemExit")
    # In a process of its own, which says over the wire what they are.
    listed = {"sample": {"isolation": "process", "config": {"place": "Oslo"}}, "broken": {}}
    result = invoke(configure(tmp_path, plugins=listed), "schema")
    assert result.exit_code == 0
    assert result.stderr == (
        "warning: left out the settings of plugins.broken: import failed: SystemExit: boom\n"
    )
    known = json.loads(result.stdout)["properties"]["plugins"]["properties"]
    assert {"sample", "broken", "other", "calculator", "profile"} <= known.keys()
    own = known["sample"]["properties"]["config"]
    assert own["properties"]["days"]["description"] == "How many"
    assert own["required"] == ["place"]
    assert "CANARY" not in result.stdout
    assert off not in sys.modules


def test_every_key_of_the_document_is_described():
    described = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE))
    reports = (each for each in vars(listing).values() if dataclasses.is_dataclass(each))
    keys = {
        field.name
        for report in reports
        if report.__module__ == listing.__name__
        for field in dataclasses.fields(report)
    }
    assert described == {"config"} | keys

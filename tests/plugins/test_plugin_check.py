"""`mcpserve plugin check`: what it takes, what it prints and how it exits."""

import re
import sys
from pathlib import Path

import pytest
import wheels
from click.testing import CliRunner
from probing import probed

from mcpserve import discovery
from mcpserve.checking import package, rules, sources, target
from mcpserve.checking.findings import Finding, Severity
from mcpserve.cli import main, plugin_check

ROOT = Path(__file__).parent.parent.parent
REFERENCE = ROOT / "docs" / "reference" / "plugin-checks.md"

CLEAN = '''
"""A plugin."""
from mcpserve import ToolAnnotations, hookimpl, tool

HINTS = ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=False)

@tool(annotations=HINTS)
async def greet() -> str:
    """Greet."""
    return "hello"

@hookimpl
def mcpserve_tools():
    return [greet]
'''
PROJECT = """
[project]
name = "mcpserve-greeter"
version = "1.0"
description = "Greets"
readme = "README.md"
dependencies = ["mcpserve>=0.1"]

[project.entry-points.mcpserve]
greeter = "mcpserve_greeter"
"""


@pytest.fixture
def project(tmp_path):
    """A project with a plugin about which there is nothing to say."""
    module = tmp_path / "mcpserve_greeter"
    module.mkdir()
    (module / "__init__.py").write_text(CLEAN)
    (module / "py.typed").touch()
    (tmp_path / "README.md").write_text("# Greeter")
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    return tmp_path


def check(*arguments):
    """Run the command."""
    return CliRunner().invoke(main, ["plugin", "check", *map(str, arguments)])


def test_a_warning_says_what_to_do_and_is_no_failure(project):
    (project / "README.md").unlink()
    result = check(project)
    assert result.output == (
        "P508 warning  greeter: has no README\n"
        "     Add a README that shows config.yaml and an example call, and name it as `readme`.\n"
        "greeter: 1 warning\n"
    )
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("rule", "strict", "failed"),
    [
        (rules.NO_README, False, False),
        (rules.NO_README, True, True),
        (rules.IMPORT, False, True),
        (rules.IMPORT, True, True),
    ],
)
def test_a_warning_fails_only_if_that_is_asked_for(rule, strict, failed):
    assert plugin_check.fails([Finding(rule)], strict=strict) is failed
    assert not plugin_check.fails([], strict=strict)


def test_errors_come_first_and_fail(project):
    (project / "README.md").unlink()
    (project / "mcpserve_greeter" / "__init__.py").write_text("import nothing_at_all")
    result = check(project / "mcpserve_greeter")
    assert re.findall(r"^P\d+", result.output, re.MULTILINE) == ["P101", "P508"]
    assert result.output.endswith("greeter: 1 error, 1 warning\n")
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        (["nothing"], "nothing is neither an installed plugin (", 1),
        (["calculator", "--arg", "a=1"], "--arg needs --call", 2),
        (["calculator", "--call", "x", "--arg", "a"], "--arg a: must be NAME=VALUE", 2),
        (["calculator", "--timeout", "0"], "0", 2),
    ],
)
def test_a_wrong_command_line_is_told(arguments, text, code):
    result = check(*arguments)
    assert text in result.output
    assert result.exit_code == code


def test_a_plugin_that_is_only_in_plugins_dir_is_checked_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    source = CLEAN + "\nimport mcpserve_helper\n"
    folder = tmp_path / "drop"
    name, ours = "mcpserve-dropped", ["mcpserve"]
    for wheel in (
        wheels.write(tmp_path, name, "1.0", plugins=["dropped"], source=source, requires=ours),
        wheels.write(tmp_path, "mcpserve-helper", "1.0"),
        wheels.write(tmp_path, "pydantic", "1.0", source="raise ImportError('the wrong one')"),
    ):
        wheels.unpack(wheel, folder)
    config = tmp_path / "config.yaml"
    config.write_text("plugins_dir: drop\nplugins: {dropped: {}}")
    result = check("dropped", "-c", config)
    assert "P1" not in result.output
    assert result.output.endswith("dropped: 3 warnings\n")


@pytest.mark.parametrize(
    ("where", "name"),
    [("", "greeter"), ("mcpserve_greeter", "greeter"), ("single.py", "single")],
)
def test_a_path_may_be_a_project_a_package_or_a_module(project, where, name):
    (project / "single.py").write_text(CLEAN)
    (found,) = target.find(str(project / where), [])
    assert found.name == name
    assert found.package.name == "mcpserve-greeter"
    assert found.is_entry_point == (name == "greeter")


def test_a_project_may_have_its_modules_in_src(project):
    (project / "src").mkdir()
    (project / "mcpserve_greeter").rename(project / "src" / "mcpserve_greeter")
    for where in (project, project / "src" / "mcpserve_greeter"):
        (found,) = target.find(str(where), [])
        assert found.root == project / "src" / "mcpserve_greeter"
        assert found.package.summary == "Greets"


@pytest.mark.parametrize("name", ["calculator", "mcpserve-calculator", "mcpserve_calculator"])
def test_an_installed_plugin_is_found_by_its_name_and_by_its_package(name):
    (found,) = target.find(name, discovery.installed())
    assert (found.name, found.module) == ("calculator", "mcpserve_calculator")
    assert found.package.name == "mcpserve-calculator"


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('"mcpserve>=0.1"', '"pydantic"', rules.NOT_REQUIRED),
        ('version = "1.0"', "", rules.NO_VERSION),
        ('description = "Greets"', "", rules.NO_SUMMARY),
        ('readme = "README.md"', "", rules.NO_README),
        ('"mcpserve-greeter"', '"greeter"', rules.PREFIX),
        ("greeter = ", "other = 'other'\n# ", rules.NO_ENTRY_POINT),
    ],
)
def test_what_the_package_lacks_is_told(project, old, new, rule):
    (project / "pyproject.toml").write_text(PROJECT.replace(old, new))
    (found,) = target.find(str(project / "mcpserve_greeter"), [])
    assert [finding.rule for each in package.CHECKS for finding in each(found)] == [rule]


def test_a_package_without_types_is_told(project):
    (project / "mcpserve_greeter" / "py.typed").unlink()
    (found,) = target.find(str(project), [])
    assert [f.rule for each in package.CHECKS for f in each(found)] == [rules.NO_PY_TYPED]


@pytest.mark.parametrize("name", ["calculator", "get_weather", "search_web", "profile"])
async def test_the_plugins_that_come_along_are_examples(name):
    (plugin,) = target.find(name, discovery.installed())
    found, _ = await probed(
        name,
        value=plugin.value,
        readme=plugin.package.readme,
        reaches_out=sources.reaches_out(plugin),
    )
    for each in (*package.CHECKS, *sources.CHECKS):
        found += each(plugin)
    assert found == []


async def test_a_plugin_that_cannot_be_closed_is_told(gallery):
    found, _ = await probed("fails_to_close")
    told = [finding.told for finding in found if finding.rule is rules.CLOSE]
    assert told == ["fails while it is closed: ConnectionError: gone"]
    told = [finding.told for finding in found if finding.rule is rules.NOTHING]
    assert told == ["hands over nothing in mcpserve_tools; is a `return` missing?"]


def test_every_rule_is_in_the_reference_as_it_is():
    rows = re.findall(
        r"^\| `(P\d{3})` \| (\w+) \| (.*) \| (.*) \|$", REFERENCE.read_text(), re.MULTILINE
    )
    assert rows == [
        (rule.code, str(rule.severity), rule.about, rule.fix.replace("|", "\\|"))
        for rule in rules.RULES
    ]


def test_no_code_is_given_twice():
    codes = [rule.code for rule in rules.RULES]
    assert codes == sorted(set(codes))
    assert {rule.severity for rule in rules.RULES} == set(Severity)
    assert all(rule.fix.endswith((".", ")", "`.")) for rule in rules.RULES)


def test_a_plugin_that_is_made_new_has_no_finding(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["plugin", "new", "greeter"]).exit_code == 0
    result = check("mcpserve-greeter", "--strict", "--call", "greeter", "--arg", "text=12")
    assert (result.output, result.exit_code) == ("greeter: nothing to complain about\n", 0)

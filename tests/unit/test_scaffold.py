"""``mcpserve plugin new``: the names it takes, and what it writes."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from mcpserve.cli import main
from mcpserve.errors import UsageError
from mcpserve.scaffold import NewPlugin

ROOT = Path(__file__).parent.parent.parent


def new(*words):
    """Run the command."""
    return CliRunner().invoke(main, ["plugin", "new", *map(str, words)], catch_exceptions=False)


@pytest.mark.parametrize(
    ("given", "name", "distribution"),
    [
        ("greeter", "greeter", "mcpserve-greeter"),
        ("reading-time", "reading_time", "mcpserve-reading-time"),
        ("reading_time", "reading_time", "mcpserve-reading-time"),
        ("mcpserve-reading-time", "reading_time", "mcpserve-reading-time"),
        ("mcpserve_h2o", "h2o", "mcpserve-h2o"),
    ],
)
def test_all_names_are_made_from_one(given, name, distribution):
    plugin = NewPlugin.named(given)
    assert (plugin.name, plugin.distribution) == (name, distribution)
    assert plugin.module == f"mcpserve_{name}"


@pytest.mark.parametrize(
    "name",
    [
        *("", "Greeter", "2fast", "two words", "dot.ted", "a--b", "-a", "a-", "ümlaut", "../up"),
        *("a\n", "mcpserve-", "class", "len", "tool", "config", "x" * 51),
    ],
)
def test_a_name_that_will_not_do_is_refused_and_named(name):
    with pytest.raises(UsageError) as caught:
        NewPlugin.named(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("json", "is a module of Python's standard library"),
        ("mcpserve-email", "is a module of Python's standard library"),
        ("mcpserve", "is mcpserve itself"),
        ("mcpserve-mcpserve", "is mcpserve itself"),
    ],
)
def test_a_name_of_the_standard_library_or_of_mcpserve_is_refused(name, reason):
    with pytest.raises(UsageError, match=reason):
        NewPlugin.named(name)


def test_a_name_that_an_installed_plugin_has_is_refused(tmp_path):
    result = new("calculator", "--into", tmp_path)
    assert result.exit_code == 1
    assert "mcpserve-calculator already provides a plugin calculator" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(tmp_path):
    kept = tmp_path / "mcpserve-greeter" / "kept"
    kept.parent.mkdir()
    kept.write_text("mine")
    result = new("greeter", "--into", tmp_path)
    assert result.exit_code == 1
    assert "exists already: nothing was written" in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["mcpserve-greeter", "kept"]


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match=r"cannot write .*file/mcpserve-greeter: "):
        NewPlugin.named("greeter").write(file)


def test_a_whole_package_is_written_and_the_next_steps_are_told(tmp_path):
    result = new("reading-time", "--into", tmp_path / "src")
    assert result.exit_code == 0
    folder = tmp_path / "src" / "mcpserve-reading-time"
    assert result.stdout.startswith(f"wrote {folder}\n\nNext:\n  cd {folder}\n  pip install -e ")
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        ".gitignore",
        "README.md",
        "mcpserve_reading_time/__init__.py",
        "mcpserve_reading_time/py.typed",
        "pyproject.toml",
        "tests/test_reading_time.py",
    }
    assert not any("$" in path.read_text() for path in folder.rglob("*") if path.is_file())
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["mcpserve"] == {
        "reading_time": "mcpserve_reading_time"
    }
    assert list((tmp_path / "src").iterdir()) == [folder]


@pytest.mark.parametrize("name", ["greeter", "a-rather-long-name-of-a-plugin-that-goes-on-and-on"])
def test_what_is_written_pleases_ruff(tmp_path, name):
    folder = NewPlugin.named(name).write(tmp_path)
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "."]
        ran = subprocess.run(ruff, cwd=folder, check=False, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout


def test_what_is_written_pleases_mypy(tmp_path):
    folder = NewPlugin.named("greeter").write(tmp_path)
    # From the root, with its cache: what is checked anew is the plugin alone.
    mypy = [sys.executable, "-m", "mypy", folder / "mcpserve_greeter", folder / "tests"]
    ran = subprocess.run(mypy, cwd=ROOT, check=False, capture_output=True, text=True)
    assert "2 source files" in ran.stdout, ran.stderr
    assert "greeter" not in ran.stdout

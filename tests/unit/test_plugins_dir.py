"""The drop-in directory: behind what mcpserve is installed with, and told where both meet."""

import sys
from contextlib import AsyncExitStack
from importlib.metadata import version

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
    package = discovery.packages()["pinned"]
    assert package.version == "mcpserve-pinned 1.0"
    assert package.files.startswith("sha256:")
    (folder / "mcpserve_pinned" / "__init__.py").write_text("other")
    assert discovery.packages()["pinned"].files != package.files


def test_a_record_cannot_name_files_outside(folder):
    drop(folder, "mcpserve-sly")
    record = folder / "mcpserve_sly-1.0.dist-info" / "RECORD"
    record.write_text("a.py,,\n../b.py,,\n/etc/c.py,,\nx/../../d.py,,\n../../bin/e,,\n")
    (package,) = plugins_dir.packages(folder).values()
    assert plugins_dir.files_of(package) == ["a.py", "bin/e"]


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

"""Tools pinned as somebody reviewed them: what counts as a difference, and what it does."""

import importlib.util
import itertools
import json
import os
import py_compile
import shutil
import sys
import threading
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from exchanges import bound

from mcpserve import (
    ToolAnnotations,
    discovery,
    hookimpl,
    package_files,
    pinning,
    plugins,
    resource,
    tool,
)
from mcpserve.bound import Bound
from mcpserve.errors import ConfigError
from mcpserve.registry import UnknownTool
from mcpserve.settings import PluginSettings, Settings

PACKAGE = discovery.Package("sample 1.0", "sha256:00", "sample")


def note(text: str, loud: bool = False) -> str:
    """Write a note."""
    return text


def note_other(text: str, loud: bool = False) -> str:
    """Write a note and send it on."""
    return text


def note_required(text: str, loud: bool) -> str:
    """Write a note."""
    return text


def note_more(text: str, loud: bool = False, to: str = "") -> str:
    """Write a note."""
    return text


def note_number(text: str, loud: bool = False) -> dict[str, int]:
    """Write a note."""
    return {}


def pinned(function=note, package=PACKAGE, **told):
    """Return the pin of a tool that is the next version of ``note``."""
    function.__name__ = note.__name__  # Schemas have it as their title.
    return pinning.pin(bound(tool(name="note", **told)(function)), package)


DIFFERENT = {
    "nothing": (pinned(), []),
    "a description": (
        pinned(note_other),
        [("description", "@@ -1 +1 @@", "-Write a note.", "+Write a note and send it on.")],
    ),
    "an argument more": (pinned(note_more), [("arguments", "+ to")]),
    "an argument that must be given": (pinned(note_required), [("arguments", "~ loud")]),
    "the result": (pinned(note_number), [("output schema",)]),
    "a title": (pinned(title="Notes"), [("title",)]),
    "meta": (pinned(meta={"a": 1}), [("meta",)]),
    "an annotation": (
        pinned(annotations=ToolAnnotations(destructive_hint=False)),
        [("annotations", "destructive_hint: true → false")],
    ),
    "scopes": (pinned(scopes=["notes"]), [("scopes", "none of its own → notes")]),
    "a version": (
        pinned(package=discovery.Package("sample 1.1", "sha256:00", "sample")),
        [("distribution", "sample 1.0 → sample 1.1")],
    ),
    "the code": (
        pinned(package=discovery.Package("sample 1.0", "sha256:11", "sample")),
        [("files", "the code of its package is not what was pinned")],
    ),
    "what is loaded": (
        pinned(package=discovery.Package("sample 1.0", "sha256:00", "other")),
        [("entry point", "sample → other")],
    ),
    "a package that became editable": (
        pinned(package=discovery.Package("sample 1.0", "", "sample")),
        [
            ("distribution", "sample 1.0 → editable or unknown"),
            ("files", "the code of its package is not what was pinned"),
        ],
    ),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_each_difference_is_told_in_words(what):
    new, expected = DIFFERENT[what]
    found = [(each.what, *each.lines) for each in pinning.differences(pinned(), new)]
    assert found == expected


def test_another_plugin_with_the_same_tool_is_a_difference():
    other = pinned().model_copy(update={"plugin": "other"})
    (found,) = pinning.differences(pinned(), other)
    assert found == pinning.Difference("plugin", ("plugin → other",))


def test_the_version_of_an_editable_package_is_no_difference():
    old, new = (pinned(package=discovery.Package(f"sample {n}", "")) for n in (1, 2))
    assert list(pinning.differences(old, new)) == []


def test_only_what_clients_are_told_has_to_be_refreshed():
    for what, refreshed in (("files", False), ("entry point", False), ("description", True)):
        different = {"note": [pinning.Difference(what)]}
        assert pinning.has_to_be_refreshed(different) is refreshed


def test_what_the_operator_decides_is_not_pinned():
    made = tool(name="note")(note)
    assert pinning.pin(bound(made), PACKAGE) == pinning.pin(
        bound(made, timeout="3s", scopes=["mine"]), PACKAGE
    )


# The file


def test_a_lock_is_read_as_it_was_written_and_hides_no_character(tmp_path):
    path = tmp_path / "tools.lock"
    pins = {"b": pinned(), "a": pinned(description="x\u200by\nz")}
    pinning.write(path, pins)
    assert pinning.read(path) == pins
    first = path.read_bytes()
    assert b"x\\u200by" in first
    pinning.write(path, dict(reversed(pins.items())))
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_that_is_a_link_stays_one(tmp_path):
    (tmp_path / "managed").mkdir()
    path = tmp_path / "tools.lock"
    path.symlink_to("managed/tools.lock")
    pinning.write(path, {"a": pinned()})
    assert path.is_symlink()
    assert list(pinning.read(tmp_path / "managed" / "tools.lock")) == ["a"]


def test_of_two_approvals_at_once_none_is_lost(tmp_path):
    path = tmp_path / "tools.lock"
    old, new = pinned(), pinned(note_other)
    pinning.write(path, {"a": old, "b": old})
    second = threading.Thread(target=pinning.approve, args=(path, ["b"], {"b": new}))
    with pinning.alone(path):
        second.start()
        second.join(0.1)  # It must not have read yet.
        pinning.write(path, {"a": new, "b": old})
    second.join()
    assert pinning.read(path) == {"a": new, "b": new}


BROKEN = {
    "missing": (None, "there is no "),
    "empty": ("", " is broken;"),
    "no JSON": ("{", " is broken;"),
    "of a newer version": ('{"tools": {}, "version": 2}', " is broken at version;"),
    "something else": ("{}", " is broken at tools"),
    "half a pin": ('{"tools": {"note": {"plugin": "p"}}}', " is broken at tools.note."),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_missing_or_broken_lock_names_the_command(tmp_path, what):
    content, problem = BROKEN[what]
    path = tmp_path / "tools.lock"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        pinning.read(path)
    assert str(caught.value).startswith("tools_lock: ")
    assert problem in str(caught.value)
    assert str(path) in str(caught.value)
    assert "mcpserve tools lock" in str(caught.value)


# Loading


class Notes:
    """A plugin with two tools and a resource."""

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""
        return [tool(name="note", scopes=["notes"])(note), tool(name="note_more")(note_more)]

    @hookimpl
    def mcpserve_resources(self):
        """See the hook."""
        return [resource("notes://all", name="all")(lambda: "")]


def configured(path):
    aliased = {"tools": {"note": {"aliases": ["write_note"]}}}
    return Settings.model_validate({"tools_lock": str(path), "plugins": {"notes": aliased}})


async def load(path):
    return await pinning.load(configured(path), AsyncExitStack(), lambda _: Notes())


async def locked(path, **changes):
    """Pin the plugin's tools, with one difference in ``note``."""
    pins = pinning.pins(await load(""))
    pins["note"] = pins["note"].model_copy(update=changes)
    pinning.write(path, pins)
    return pins


async def test_tools_as_they_were_pinned_are_there(tmp_path):
    await locked(tmp_path / "tools.lock")
    loaded = await load(tmp_path / "tools.lock")
    assert [each.offer.name for each in loaded.registry.tools] == ["note", "note_more"]
    assert loaded.unapproved == ()


async def test_a_tool_that_differs_is_there_by_none_of_its_names(tmp_path):
    await locked(tmp_path / "tools.lock", description=("Write.",))
    loaded = await load(tmp_path / "tools.lock")
    assert [each.offer.name for each in loaded.registry.tools] == ["note_more"]
    for name in ("note", "write_note"):
        with pytest.raises(UnknownTool):
            loaded.registry.tools.get(name)
    (unapproved,) = loaded.unapproved
    assert str(unapproved) == (
        "tool note is left out, not as pinned: description; "
        "see mcpserve tools diff, then mcpserve tools approve note"
    )


async def test_a_tool_that_is_not_pinned_is_left_out(tmp_path):
    pins = await locked(tmp_path / "tools.lock")
    pinning.write(tmp_path / "tools.lock", {"note_more": pins["note_more"]})
    loaded = await load(tmp_path / "tools.lock")
    assert [each.offer.name for each in loaded.registry.tools] == ["note_more"]
    assert [each.differs for each in loaded.unapproved] == ["not pinned"]


async def test_the_scopes_of_a_tool_that_is_left_out_stay_for_grants(tmp_path):
    await locked(tmp_path / "tools.lock", annotations={})
    loaded = await load(tmp_path / "tools.lock")
    assert "notes" not in loaded.registry.scopes
    assert "notes" in loaded.scopes
    assert isinstance(loaded.unapproved[0].bound, Bound)


async def test_resources_are_not_pinned(tmp_path):
    pinning.write(tmp_path / "tools.lock", {})
    loaded = await load(tmp_path / "tools.lock")
    assert [each.offer.name for each in loaded.registry.resources] == ["all"]
    assert len(loaded.registry.tools) == 0


# Packages

INFO = "sample-1.0.dist-info"
FILES = ("sample.py", "sourceless.pyc", "sample.pth", f"{INFO}/METADATA", "../bin/run")


@pytest.fixture
def package(tmp_path):
    """A folder with an installed package."""
    (tmp_path / INFO).mkdir()
    (tmp_path / "sample.py").write_text("VALUE = 1\n")
    (tmp_path / "sourceless.pyc").write_bytes(b"1")
    (tmp_path / "sample.pth").write_text("\n")
    (tmp_path / INFO / "RECORD").write_text("".join(f"{name},,\n" for name in FILES))
    (tmp_path / INFO / "METADATA").write_text("Name: sample\nVersion: 1.0\n")
    return tmp_path


def digest(package):
    return package_files.files_digest(PathDistribution(package / INFO))


@pytest.mark.parametrize("name", ["sample.py", "sourceless.pyc", "sample.pth"])
def test_the_digest_of_a_package_follows_its_code(package, name):
    digests = {digest(package)}
    (package / name).write_text("VALUE = 2\n")
    digests.add(digest(package))
    (package / name).unlink()
    digests.add(digest(package))
    assert len(digests) == 3


def test_the_digest_of_a_package_does_not_follow_its_installer(package):
    first = digest(package)
    assert first.startswith("sha256:")
    (package / INFO / "METADATA").write_text("Name: sample\nVersion: 1.0\nA: b\n")
    (package / INFO / "INSTALLER").write_text("pip\n")
    assert digest(package) == first


def compiled(package, mode, text):
    """Put bytecode of a text beside the source, with a header that fits the source."""
    source = package / "sample.py"
    kept = source.read_text()
    source.write_text(text)
    cache = Path(py_compile.compile(str(source), invalidation_mode=mode))
    source.write_text(kept)
    if mode is py_compile.PycInvalidationMode.TIMESTAMP:
        stat = source.stat()
        times = int(stat.st_mtime).to_bytes(4, "little") + stat.st_size.to_bytes(4, "little")
        cache.write_bytes(cache.read_bytes()[:8] + times + cache.read_bytes()[16:])
    if mode is py_compile.PycInvalidationMode.CHECKED_HASH:
        fits = importlib.util.source_hash(kept.encode())
        cache.write_bytes(cache.read_bytes()[:8] + fits + cache.read_bytes()[16:])
    return cache


@pytest.mark.parametrize("mode", py_compile.PycInvalidationMode)
def test_bytecode_that_says_what_its_source_says_is_no_difference(package, mode):
    first = digest(package)
    compiled(package, mode, "VALUE = 1\n")
    assert digest(package) == first


@pytest.mark.parametrize("mode", py_compile.PycInvalidationMode)
def test_bytecode_that_runs_instead_of_its_source_is_a_difference(package, mode):
    first = digest(package)
    cache = compiled(package, mode, "VALUE = 666\n")
    written = cache.read_bytes()
    assert digest(package) != first
    # Python would indeed run it; and looking at it has not changed it.
    assert cache.read_bytes() == written
    spec = importlib.util.spec_from_file_location("sample_compiled", package / "sample.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.VALUE == 666


def test_bytecode_that_python_would_not_run_is_no_difference(package, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    first = digest(package)
    cache = compiled(package, py_compile.PycInvalidationMode.TIMESTAMP, "VALUE = 2\n")
    os.utime(package / "sample.py", (1, 1))
    assert digest(package) == first
    cache.write_bytes(b"of another Python")
    assert digest(package) == first
    assert cache.read_bytes() == b"of another Python"


@pytest.mark.parametrize(("editable", "has_digest"), [(True, False), (False, True)])
def test_an_editable_package_has_no_digest(package, editable, has_digest):
    direct = {"url": "file:///somewhere", "dir_info": {"editable": editable}}
    (package / INFO / "direct_url.json").write_text(json.dumps(direct))
    assert bool(digest(package)) is has_digest


def test_files_of_a_version_whose_metadata_was_left_behind_are_code(package):
    shutil.copytree(package / INFO, package / "sample-1.1.dist-info")
    first = digest(package)
    (package / "sample").mkdir()
    (package / "sample" / "__init__.py").write_text("VALUE = 666\n")  # Before sample.py.
    with (package / "sample-1.1.dist-info" / "RECORD").open("a") as record:
        record.write("sample/__init__.py,,\n")
    assert digest(package) != first


@pytest.mark.parametrize("record", [b"sample.py,,\n\n", b"a,b,c,d\n", b"\xff"])
def test_a_package_with_a_broken_record_has_no_digest(package, record):
    (package / INFO / "RECORD").write_bytes(record)
    assert digest(package) == ""


def test_a_source_tree_has_no_digest(package):
    (package / INFO / "RECORD").unlink()
    (package / INFO / "SOURCES.txt").write_text("sample.py\n")
    assert digest(package) == ""


# What runs

PLUGIN = """
from mcpserve import hookimpl

def greet() -> str:
    \"\"\"Greet.\"\"\"
    return {text!r}

@hookimpl
def mcpserve_tools():
    return [greet]
"""
numbers = itertools.count()


@dataclass
class Site:
    """A folder on the path with a package, of a name that no other test has imported."""

    folder: Path
    name: str

    def install(self, version, text="hello", module=None, files=()):
        """Put this version in place of what is there."""
        for old in self.folder.glob(f"{self.name}-*.dist-info"):
            shutil.rmtree(old)
        info = self.folder / f"{self.name}-{version}.dist-info"
        info.mkdir()
        (self.folder / f"{self.name}.py").write_text(PLUGIN.format(text=text))
        (info / "METADATA").write_text(f"Name: {self.name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[mcpserve]\ngreeter = {module or self.name}\n")
        (info / "RECORD").write_text("".join(f"{each},,\n" for each in (f"{self.name}.py", *files)))
        importlib.invalidate_caches()

    async def pin(self, isolation="none"):
        """Load it once more, and return the pin of its tool."""
        settings = {"greeter": PluginSettings.model_validate({"isolation": isolation})}
        async with AsyncExitStack() as exit_stack:
            return pinning.pins(await plugins.load(settings, exit_stack))["greet"]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder in front of all others."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return Site(tmp_path, f"pinned_greeter_{next(numbers)}")


async def test_what_was_imported_is_pinned_and_not_what_was_installed_meanwhile(site):
    site.install("1.0")
    first = await site.pin()
    assert (first.distribution, first.entry_point) == (f"{site.name} 1.0", site.name)
    assert first.files
    for version in ("1.1", "1.0"):
        site.install(version, "something else")
        assert await site.pin() == first


async def test_of_a_plugin_in_another_process_what_is_installed_is_pinned(site):
    site.install("1.0")
    first = await site.pin()
    site.install("1.1", "something else")
    isolated = await site.pin("process")
    assert isolated.distribution == f"{site.name} 1.1"
    assert isolated.files != first.files


async def test_a_plugin_in_a_file_of_another_package_has_no_code_of_its_own(site):
    (site.folder / f"{site.name}_other.py").write_text(PLUGIN.format(text="from elsewhere"))
    site.install("1.0", module=f"{site.name}_other")
    pin = await site.pin()
    assert (pin.distribution, pin.files, pin.entry_point) == ("", "", f"{site.name}_other")


async def test_a_plugin_deep_in_a_package_has_its_code(site):
    folder = site.folder / f"{site.name}_space" / "deep"
    folder.mkdir(parents=True)
    (folder / "plugin.py").write_text(PLUGIN.format(text="from the deep"))
    module = f"{site.name}_space.deep.plugin"
    site.install("1.0", module=module, files=[f"{site.name}_space/deep/plugin.py"])
    pin = await site.pin()
    assert (bool(pin.files), pin.entry_point) == (True, module)

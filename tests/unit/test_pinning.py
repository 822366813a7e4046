"""Tools pinned as somebody reviewed them: what counts as a difference, and what it does."""

import json
from contextlib import AsyncExitStack
from importlib.metadata import PathDistribution

import pytest
from exchanges import bound

from mcpserve import ToolAnnotations, discovery, hookimpl, pinning, resource, tool
from mcpserve.bound import Bound
from mcpserve.errors import ConfigError
from mcpserve.registry import UnknownTool
from mcpserve.settings import Settings

PACKAGE = discovery.Package("sample 1.0", "sha256:00")


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
        pinned(package=discovery.Package("sample 1.1", "sha256:00")),
        [("distribution", "sample 1.0 → sample 1.1")],
    ),
    "the code": (
        pinned(package=discovery.Package("sample 1.0", "sha256:11")),
        [("files", "the code of its package is not what was pinned")],
    ),
    "a package that became editable": (
        pinned(package=discovery.Package("sample 1.0", "")),
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
    for what, refreshed in (("files", False), ("distribution", False), ("description", True)):
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


BROKEN = {
    "missing": (None, "there is no "),
    "no JSON": ("{", " is broken"),
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
    tools = (await load("")).registry.tools
    pins = pinning.pins(tools)
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


@pytest.fixture
def package(tmp_path):
    """A folder with an installed package."""
    info = tmp_path / "sample-1.0.dist-info"
    info.mkdir()
    (tmp_path / "sample.py").write_text("1\n")
    names = ("sample.py", "sample-1.0.dist-info/METADATA", "__pycache__/sample.pyc", "../bin/run")
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in names))
    (info / "METADATA").write_text("Name: sample\nVersion: 1.0\n")
    return tmp_path


def digest(package):
    return discovery.files_digest(PathDistribution(package / "sample-1.0.dist-info"))


def test_the_digest_of_a_package_follows_its_code_and_not_its_installer(package):
    first = digest(package)
    assert first.startswith("sha256:")
    (package / "sample-1.0.dist-info/METADATA").write_text("Name: sample\nVersion: 1.0\nA: b\n")
    (package / "__pycache__").mkdir()
    (package / "__pycache__/sample.pyc").write_text("")
    assert digest(package) == first
    (package / "sample.py").write_text("2\n")
    second = digest(package)
    (package / "sample.py").unlink()
    assert len({first, second, digest(package)}) == 3


@pytest.mark.parametrize(("editable", "has_digest"), [(True, False), (False, True)])
def test_an_editable_package_has_no_digest(package, editable, has_digest):
    direct = {"url": "file:///somewhere", "dir_info": {"editable": editable}}
    (package / "sample-1.0.dist-info/direct_url.json").write_text(json.dumps(direct))
    assert bool(digest(package)) is has_digest


def test_a_source_tree_has_no_digest(package):
    (package / "sample-1.0.dist-info/RECORD").unlink()
    (package / "sample-1.0.dist-info/SOURCES.txt").write_text("sample.py\n")
    assert digest(package) == ""

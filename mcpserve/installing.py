"""Installing packages into ``plugins_dir``, and removing them.

pip finds out what is needed beside what mcpserve itself has, which stays as it is; and unpacks
it. What changes the folder is :mod:`mcpserve.staging`.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from mcpserve import pip_runner, plugins_dir, staging
from mcpserve.discovery import installed, plugins_of
from mcpserve.errors import UsageError

Packages = Mapping[str, Distribution]
"""By canonical name."""


@dataclass(frozen=True)
class Outcome:
    """What an installation did."""

    installed: Sequence[Distribution]
    present: Sequence[str]
    """What was wanted and is there already, with its version."""


@dataclass(frozen=True)
class Found:
    """What pip would install."""

    name: str
    """Canonical."""
    version: str
    source: str
    """What tells pip to install exactly this."""
    is_wanted: bool
    """Else something that is wanted needs it."""


def install(folder: Path, wanted: Sequence[str], *, upgrade: bool) -> Outcome:
    """Install packages and what they need beside what mcpserve has.

    Each is a name, perhaps with versions, or the path of a wheel, of a source distribution or of
    a project. Raises :class:`~mcpserve.errors.UsageError`, and then nothing changed.
    """
    present: list[str] = []
    left: dict[str, Requirement | None] = {}
    for each in wanted:
        pin = pinned(each)
        if pin and (ours := bundled(folder, each, pin)):
            present.append(ours)
        else:
            left[each] = pin
    if not left:
        return Outcome((), present)
    with changing(folder), staging.draft(folder) as draft:
        # What is there already counts.
        plugins_dir.add(folder)
        found = resolve(folder, draft, left, upgrade=upgrade)
        if found:
            fetch(draft, found)
            new = plugins_dir.packages(draft / staging.FILES)
            require_plugins(new, found)
            require_peace(folder, new, draft / staging.FILES)
            old = plugins_dir.packages(folder)
            obsolete = files_of(old[name] for name in new if name in old)
            kept = files_of(each for name, each in old.items() if name not in new)
            staging.commit(folder, draft, obsolete - kept)
    there = plugins_dir.packages(folder)
    done = {each.name for each in found}
    present += [
        f"{there[pin.name].name} {there[pin.name].version}"
        for pin in left.values()
        if pin and pin.name not in done and pin.name in there
    ]
    return Outcome([there[name] for name in sorted(done)], present)


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Make the folder if need be, and keep others from changing it. Raises ``UsageError``."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with staging.locked(folder):
            yield
    except OSError as error:
        raise UsageError(f"plugins_dir: {folder} cannot be changed: {error.strerror}") from None


def pinned(wanted: str) -> Requirement | None:
    """Return what a name or a wheel stands for, None for what has to be built to be known.

    Raises :class:`~mcpserve.errors.UsageError` for what cannot be installed here.
    """
    path = Path(wanted)
    if path.suffix == ".whl":
        return pinned_by_wheel(path)
    if path.name != wanted or path.suffix in {".gz", ".zip"}:
        if not path.exists():
            raise UsageError(f"there is no {path}")
        if pip_runner.is_frozen():
            raise UsageError(
                f"{path} has to be built, which needs Python: build a wheel of it elsewhere "
                f"(pip wheel --no-deps {path}), and install that"
            )
        return None
    try:
        requirement = Requirement(wanted)
    except InvalidRequirement:
        raise UsageError(f"{wanted!r} is neither a package nor a file") from None
    requirement.name = canonicalize_name(requirement.name)
    return requirement


def pinned_by_wheel(path: Path) -> Requirement:
    """Return the name and the version of a wheel. Raises ``UsageError`` if it does not fit."""
    if not path.is_file():
        raise UsageError(f"there is no {path}")
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename:
        raise UsageError(f"{path.name} is no name of a wheel") from None
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    if damaged:
        raise UsageError(f"{path} is broken: {damaged} in it is damaged")
    if tags.isdisjoint(sys_tags()):
        meant = ", ".join(sorted(map(str, tags)))
        raise UsageError(f"{path.name} is for {meant}, and this is {next(sys_tags())}")
    return Requirement(f"{name}=={version}")


def bundled(folder: Path, wanted: str, pin: Requirement) -> str | None:
    """Return the name and version of what mcpserve has itself.

    Raises :class:`~mcpserve.errors.UsageError` if another version is wanted.
    """
    package = plugins_dir.bundled(folder, pin.name)
    if package is None:
        return None
    if not pin.specifier.contains(package.version, prereleases=True):
        raise UsageError(
            f"{wanted}: {package.name} {package.version} is installed where mcpserve is, and that "
            "would be used: change it there, with pip"
        )
    return f"{package.name} {package.version}"


def resolve(folder: Path, draft: Path, wanted: Iterable[str], *, upgrade: bool) -> list[Found]:
    """Return what is to be installed so that what is wanted works. Raises ``UsageError``."""
    constraints, report = draft / "constraints.txt", draft / "report.json"
    constraints.write_text("\n".join(versions(folder)), "utf-8")
    options = ["--upgrade"] if upgrade else []
    pip_runner.run(
        [
            *("install", "--dry-run", "--report", str(report), "-c", str(constraints)),
            *(*options, *binary_only(), "--", *wanted),
        ],
        draft,
    )
    listed = json.loads(report.read_text("utf-8"))["install"]
    found = [listed_by_pip(each) for each in listed]
    for each in found:
        if plugins_dir.bundled(folder, each.name):
            raise UsageError(f"{each.name} is installed where mcpserve is: change it there")
    return found


def versions(folder: Path) -> Iterator[str]:
    """Yield constraints: what mcpserve is installed with stays as it is."""
    for name in {canonicalize_name(each.name) for each in distributions() if each.name}:
        package = plugins_dir.bundled(folder, name)
        if package is not None and is_version(package.version):
            yield f"{name}=={package.version}"


def is_version(text: str) -> bool:
    """Whether pip could compare it."""
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def binary_only() -> list[str]:
    """Return the options of pip where nothing can be built."""
    return ["--only-binary", ":all:"] if pip_runner.is_frozen() else []


def listed_by_pip(listed: Mapping[str, Any]) -> Found:
    """Return what an entry of pip's report is about."""
    name, version = listed["metadata"]["name"], listed["metadata"]["version"]
    source = f"{name}=={version}"
    if listed["is_direct"]:
        url = urlsplit(listed["download_info"]["url"])
        source = url2pathname(url.path) if url.scheme == "file" else f"{name} @ {url.geturl()}"
    return Found(canonicalize_name(name), version, source, listed["requested"])


def fetch(draft: Path, found: Iterable[Found]) -> None:
    """Unpack into the draft. Raises :class:`~mcpserve.errors.UsageError`."""
    target = ["--target", str(draft / staging.FILES)]
    sources = [each.source for each in found]
    pip_runner.run(["install", "--no-deps", *target, *binary_only(), "--", *sources], draft)


def require_plugins(new: Packages, found: Iterable[Found]) -> None:
    """Raise :class:`~mcpserve.errors.UsageError` for something wanted that is no plugin.

    And for a plugin that another package provides already: nobody could load it any more.
    """
    for each in found:
        if each.is_wanted and not plugins_of(new[each.name]):
            raise UsageError(f"{each.name} {each.version} offers no plugin of mcpserve")
    coming = {plugin.name: each for each in new.values() for plugin in plugins_of(each)}
    for there in installed():
        if there.name in coming and canonicalize_name(there.distribution) not in new:
            package = coming[there.name]
            raise UsageError(
                f"{package.name} {package.version} offers a plugin {there.name}, which "
                f"{there.distribution} has already"
            )


def require_peace(folder: Path, new: Packages, files: Path) -> None:
    """Raise :class:`~mcpserve.errors.UsageError` if something would break that is there."""
    others = {name: each for name, each in plugins_dir.packages(folder).items() if name not in new}
    now = plugins_dir.version_of(folder)

    def version_of(name: str) -> str | None:
        replaced = new.get(canonicalize_name(name))
        is_ours = plugins_dir.bundled(folder, name) is not None
        return replaced.version if replaced and not is_ours else now(name)

    before = set(plugins_dir.unfit(folder))
    for line in plugins_dir.unmet(others.values(), version_of):
        if line not in before:
            raise UsageError(f"{line.replace(' is used', ' would be installed')}")
    for each in others.values():
        for name in plugins_dir.files_of(each):
            there, coming = folder / name, files / name
            if coming.exists() and there.exists() and coming.read_bytes() != there.read_bytes():
                raise UsageError(f"{each.name} is there, and has another file {name}")


def files_of(packages: Iterable[Distribution]) -> set[str]:
    """Return all their files."""
    return {name for each in packages for name in plugins_dir.files_of(each)}

"""Installing packages into ``plugins_dir``, and removing them.

pip finds out what is needed beside what mcpserve itself has, which stays as it is; and unpacks
it. What changes the folder is :mod:`mcpserve.staging`.
"""

import json
import re
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

from mcpserve import pip_runner, plugins_dir, staging, vetting
from mcpserve.errors import UsageError
from mcpserve.plugins_dir import Packages
from mcpserve.vetting import refused

Wanted = Mapping[str, Requirement | None]
"""What was asked for, and what :func:`pinned` says of it."""

UNSUPPORTED = re.compile(r"://|^[^/]+@|(\.whl|\.gz|\.zip|/[^/]*)\[[^\]]*\]$")
"""What pip takes beside names and paths: a URL, one of a name, a path with extras behind it."""
BY_PIP = re.compile(r"/__pycache__/|\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json)$")
"""Names of files that no wheel brings."""


@dataclass(frozen=True)
class Outcome:
    """What an installation did."""

    installed: Sequence[Distribution]
    replaced: Sequence[Distribution]
    """There was another build of the same version."""
    present: Sequence[str]
    """What was wanted and is there already, with its version."""


@dataclass(frozen=True)
class Found:
    """What pip would install."""

    name: str
    """Canonical."""
    source: str
    """What tells pip to install exactly this."""
    is_wanted: bool
    """Else something that is wanted needs it."""


def install(folder: Path, wanted: Sequence[str], *, upgrade: bool) -> Outcome:
    """Install packages and what they need beside what mcpserve has.

    Each is a name, perhaps with versions, or the path of a wheel, of a source distribution or of
    a project; what is at a path replaces the same version if it has other files. Raises
    :class:`~mcpserve.errors.UsageError`, and then nothing changed.
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
        return Outcome((), (), present)
    with changing(folder), staging.draft(folder) as draft:
        # What is there already counts.
        plugins_dir.add(folder)
        found = resolve(folder, draft, left, upgrade=upgrade)
        new = fetch(draft, found) if found else {}
        vetting.require_plugins(new, {each.name for each in found if each.is_wanted})
        old = plugins_dir.packages(folder)
        same = {name for name in new if name in old and is_same(new[name], old[name])}
        again = {name for name in new if name in old and new[name].version == old[name].version}
        if new.keys() - same:
            kept = plugins_dir.files_of(each for name, each in old.items() if name not in new)
            obsolete = plugins_dir.files_of(old[name] for name in new if name in old) - kept
            vetting.require_peace(folder, new, draft / staging.FILES, obsolete=obsolete)
            staging.commit(folder, draft, obsolete)
    there = plugins_dir.packages(folder)
    present += [
        f"{there[name].name} {there[name].version}"
        for name in [*same, *(pin.name for pin in left.values() if pin)]
        if name in there and (name in same or name not in new)
    ]
    return Outcome(
        [there[name] for name in sorted(new.keys() - again)],
        [there[name] for name in sorted(again - same)],
        list(dict.fromkeys(present)),
    )


def is_same(new: Distribution, old: Distribution) -> bool:
    """Whether two packages have the same files, but for what pip says of how they came."""
    contents = [
        {
            name: Path(str(each.locate_file(name))).read_bytes()
            for name in plugins_dir.files_of([each])
            if not BY_PIP.search(name)
        }
        for each in (new, old)
    ]
    return contents[0] == contents[1]


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Make the folder if need be, and keep others from changing it. Raises ``UsageError``."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with staging.locked(folder):
            yield
    except OSError as error:
        if staging.is_interrupted(folder):
            raise refused(plugins_dir.unfinished(folder, error)) from None
        raise refused(
            f"plugins_dir: {folder} cannot be changed: {plugins_dir.reason(error)}"
        ) from None


def pinned(wanted: str) -> Requirement | None:
    """Return what a name or a wheel stands for, None for what has to be built to be known.

    Raises :class:`~mcpserve.errors.UsageError` for what cannot be installed here.
    """
    path = Path(wanted)
    if UNSUPPORTED.search(wanted) and not path.exists():
        raise unsupported(wanted)
    if path.suffix == ".whl":
        return pinned_by_wheel(path)
    if path.name != wanted or path.suffix in {".gz", ".zip"}:
        if not path.exists():
            raise refused(f"there is no {path}")
        return None
    try:
        requirement = Requirement(wanted)
    except InvalidRequirement:
        raise refused(f"{wanted!r} is neither a package nor a file") from None
    if requirement.url or requirement.marker:
        raise unsupported(wanted)
    requirement.name = canonicalize_name(requirement.name)
    return requirement


def unsupported(wanted: str) -> UsageError:
    """Return the error for what pip would take, and this does not."""
    return refused(
        f"{wanted}: this form is not supported; give a name, perhaps with versions, or the path of "
        "a wheel, of a source distribution or of a project"
    )


def pinned_by_wheel(path: Path) -> Requirement:
    """Return the name and the version of a wheel. Raises ``UsageError`` if it does not fit."""
    if not path.is_file():
        raise refused(f"there is no {path}")
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename:
        raise refused(f"{path.name} is no name of a wheel") from None
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        raise refused(f"{path} cannot be read: {error}") from None
    if damaged:
        raise refused(f"{path} is broken: {damaged} in it is damaged")
    if tags.isdisjoint(sys_tags()):
        meant = ", ".join(sorted(map(str, tags)))
        raise refused(f"{path.name} is for {meant}, and this is {next(sys_tags())}")
    return Requirement(f"{name}=={version}")


def bundled(folder: Path, wanted: str, pin: Requirement) -> str | None:
    """Return the name and version of what mcpserve has itself.

    Raises :class:`~mcpserve.errors.UsageError` if another version is wanted.
    """
    package = plugins_dir.bundled(folder, pin.name)
    if package is None:
        return None
    if not pin.specifier.contains(package.version, prereleases=True):
        raise refused(
            f"{wanted}: {package.name} {package.version} is installed where mcpserve is, and that "
            "would be used: change it there, with pip"
        )
    return f"{package.name} {package.version}"


def resolve(folder: Path, draft: Path, wanted: Wanted, *, upgrade: bool) -> list[Found]:
    """Return what is to be installed so that what is wanted works. Raises ``UsageError``."""
    constraints, report = draft / "constraints.txt", draft / "report.json"
    constraints.write_text("\n".join(versions(folder)), "utf-8")
    options = ["--upgrade"] if upgrade else []
    pip_runner.run(
        [
            *("install", "--dry-run", "--report", str(report), "-c", str(constraints)),
            *(*options, "--", *wanted),
        ],
        draft,
    )
    listed = json.loads(report.read_text("utf-8"))["install"]
    found = [listed_by_pip(each) for each in listed]
    # A wheel of a version that is there is none for pip.
    wheels = {pin.name: path for path, pin in wanted.items() if pin and path.endswith(".whl")}
    for name in wheels.keys() - {each.name for each in found}:
        found.append(Found(name, wheels[name], is_wanted=True))
    for each in found:
        if plugins_dir.bundled(folder, each.name):
            raise refused(f"{each.name} is installed where mcpserve is: change it there")
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


def listed_by_pip(listed: Mapping[str, Any]) -> Found:
    """Return what an entry of pip's report is about."""
    name, version = listed["metadata"]["name"], listed["metadata"]["version"]
    source = f"{name}=={version}"
    if listed["is_direct"]:
        url = urlsplit(listed["download_info"]["url"])
        source = url2pathname(url.path) if url.scheme == "file" else f"{name} @ {url.geturl()}"
    return Found(canonicalize_name(name), source, is_wanted=listed["requested"])


def fetch(draft: Path, found: Iterable[Found]) -> Packages:
    """Unpack into the draft. Raises :class:`~mcpserve.errors.UsageError`."""
    files = draft / staging.FILES
    options = ["--no-deps", "--target", str(files)]
    pip_runner.run(["install", *options, "--", *(each.source for each in found)], draft)
    return plugins_dir.packages(files)

"""The drop-in directory: packages beside those that mcpserve is installed with, and behind them.

What is in it is code that runs as the server does. Bundled packages win over copies in it.
"""

import csv
import importlib.util
import io
import os
import site
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path, PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mcpserve import staging
from mcpserve.errors import ConfigError

Versions = Callable[[str], str | None]
"""Returns the version of what is installed under a name."""
Packages = Mapping[str, Distribution]
"""By canonical name."""


class UnfinishedError(ConfigError):
    """A folder where an installation was interrupted, and cannot be finished now."""


def add(folder: Path) -> None:
    """Let Python find what is in the folder, behind everything else; again, what is new there.

    Its ``.pth`` files are obeyed. Raises :class:`~mcpserve.errors.ConfigError` for a folder that
    everybody may write, and for one that cannot be read; :class:`UnfinishedError` when all is done.
    """
    if not folder.exists():
        return
    require_private(folder)
    try:
        finish(folder)
    finally:
        site.addsitedir(str(folder))


def require_private(folder: Path) -> None:
    """Raise :class:`~mcpserve.errors.ConfigError` unless it is an operator's folder."""
    if not folder.is_dir():
        raise ConfigError(f"plugins_dir: {folder} is no directory")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ConfigError(f"plugins_dir: {folder} cannot be read")
    # On Windows these bits say nothing.
    if sys.platform != "win32" and folder.stat().st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"plugins_dir: everybody may write into {folder}, and what is there runs as the "
            f"server does; chmod o-w {folder}"
        )


def finish(folder: Path) -> None:
    """Finish an installation that was interrupted. Raises :class:`UnfinishedError`."""
    if not staging.is_interrupted(folder):
        return
    try:
        with staging.locked(folder):
            pass
    except OSError as error:
        raise UnfinishedError(unfinished(folder, error)) from None


def unfinished(folder: Path, error: OSError) -> str:
    """Say why an installation cannot be finished, and what to do."""
    way_out = "run any mcpserve command as the user who may write there"
    if not isinstance(error, PermissionError):
        way_out = (
            f"mend that and run any mcpserve command, or give it up: remove "
            f"{folder / staging.COMMITTED} and install again"
        )
    return (
        f"plugins_dir: an installation into {folder} was interrupted and cannot be finished: "
        f"{reason(error)}; {way_out}"
    )


def reason(error: OSError) -> str:
    """Return what is wrong, and with which file."""
    # Of a file that cannot be moved, where to.
    name = error.filename2 or error.filename
    return f"{error.strerror}: {name}" if name else str(error.strerror)


def packages(folder: Path) -> dict[str, Distribution]:
    """Return what is in the folder, by canonical name."""
    found = {
        canonicalize_name(each.name): each
        for each in distributions(path=[str(folder)])
        if each.name
    }
    return dict(sorted(found.items()))


def bundled(folder: Path, name: str) -> Distribution | None:
    """Return the package of this name outside of the folder, if there is one."""
    elsewhere = [entry for entry in sys.path if entry != str(folder)]
    return next(iter(distributions(name=name, path=elsewhere)), None)


def version_of(folder: Path) -> Versions:
    """Return what tells the version that is used of a package, in the folder or outside of it."""
    inside = packages(folder)

    def version(name: str) -> str | None:
        used = bundled(folder, name) or inside.get(canonicalize_name(name))
        return used.version if used else None

    return version


def warnings(folder: Path) -> list[str]:
    """Say what is in the folder in vain, and what does not fit."""
    return [*shadowed(folder), *(f"plugins_dir: {line}" for line in unfit(folder))]


def shadowed(folder: Path) -> Iterator[str]:
    """Yield a line for each package of which another version is used."""
    inside = packages(folder)
    for name, package in inside.items():
        used = bundled(folder, name)
        if used and used.version != package.version:
            who = [other.name for other in inside.values() if name in names(other)]
            yield (
                f"plugins_dir: {' and '.join(who) or folder} brings {package.name} "
                f"{package.version}, but {used.version} of mcpserve itself is used; to be rid of "
                f"the copy: mcpserve plugin remove {package.name}"
            )


def unfit(folder: Path) -> list[str]:
    """Return a line for each requirement of a package in the folder that is not met."""
    used = [each for name, each in packages(folder).items() if not bundled(folder, name)]
    return list(unmet(used, version_of(folder)))


def unmet(packages: Iterable[Distribution], version_of: Versions) -> Iterator[str]:
    """Yield a line for each requirement that the packages have and nothing meets."""
    for package in packages:
        for requirement in requirements(package):
            version = version_of(requirement.name)
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                there = f"{version} is used" if version else "which is not installed"
                wanted = f"{requirement.name}{requirement.specifier}"
                yield f"{package.name} {package.version} needs {wanted}, {there}"


def requirements(package: Distribution) -> Iterator[Requirement]:
    """Yield what a package always needs on this system; its extras are not looked at."""
    for line in package.requires or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def names(package: Distribution) -> set[str]:
    """Return the canonical names of what a package needs."""
    return {canonicalize_name(requirement.name) for requirement in requirements(package)}


def files_of(packages: Iterable[Distribution]) -> set[str]:
    """Return the files of packages, as seen from their folder; those that are there."""
    return {name for package in packages for name in recorded(package) or ()}


def recorded(package: Distribution) -> list[str] | None:
    """Return the files of a package that are there, None if nobody can tell.

    A record is by strangers: what it names outside of the folder, or what is no file, is none of
    the package.
    """
    try:
        lines = list(csv.reader(io.StringIO(package.read_text("RECORD") or "", newline="")))
    except (UnicodeDecodeError, csv.Error):
        lines = []
    if not lines:
        return None
    folder = Path(str(package.locate_file("")))
    paths = [in_folder(PurePosixPath(line[0])) for line in lines if line]
    return [str(path) for path in paths if staging.is_file(folder, str(path))]


def in_folder(path: PurePosixPath) -> PurePosixPath:
    """Return where a recorded file is: pip records scripts before it moves them to ``bin``."""
    is_script = path.parts[:-2] == ("..", "..") and path.parent.name == "bin"
    return PurePosixPath("bin", path.name) if is_script else path


def missing_module(plugin: EntryPoint, package: Distribution) -> str | None:
    """Return what an entry point means that is not there, without importing anything."""
    if plugin.pattern.match(plugin.value) is None:
        return plugin.value
    inside = plugin.module.replace(".", "/")
    files = files_of([package])
    if any(name.startswith((f"{inside}.", f"{inside}/")) for name in files):
        return None
    top = plugin.module.partition(".")[0]
    is_elsewhere = not any(name.startswith((f"{top}.", f"{top}/")) for name in files)
    return None if is_elsewhere and importlib.util.find_spec(top) else plugin.module

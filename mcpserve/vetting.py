"""What has to hold of packages before they come into ``plugins_dir``.

Each function refuses with the name of the package and of what is wrong with it.
"""

from collections.abc import Collection, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

from mcpserve import plugins_dir, staging
from mcpserve.discovery import installed, plugins_of
from mcpserve.errors import UsageError
from mcpserve.package_files import is_editable
from mcpserve.plugins_dir import Packages
from mcpserve.text import printable

AT_START = {"sitecustomize", "usercustomize"}
"""Modules that Python imports by itself, for every program."""


def refused(text: str) -> UsageError:
    """Return an error with names that are by others, so that a terminal obeys none of them."""
    return UsageError(printable(text))


def require_plugins(new: Packages, wanted: Collection[str]) -> None:
    """Raise :class:`~mcpserve.errors.UsageError` for something wanted that is no plugin.

    And for a plugin that another package provides already: nobody could load it any more.
    """
    for name in wanted:
        if not plugins_of(new[name]):
            raise refused(f"{name} {new[name].version} offers no plugin of mcpserve")
    coming = {plugin.name: each for each in new.values() for plugin in plugins_of(each)}
    for there in installed():
        if there.name in coming and canonicalize_name(there.distribution) not in new:
            package = coming[there.name]
            raise refused(
                f"{package.name} {package.version} offers a plugin {there.name}, which "
                f"{there.distribution} has already"
            )


def require_peace(
    folder: Path, new: Packages, files: Path, *, obsolete: Collection[str] = ()
) -> None:
    """Raise :class:`~mcpserve.errors.UsageError` if something would break that is there.

    ``files`` is where the new packages are, ``obsolete`` what goes when they come.
    """
    others = {name: each for name, each in plugins_dir.packages(folder).items() if name not in new}
    require_met(folder, new, others)
    coming = {name: each for each in new.values() for name in plugins_dir.files_of([each])}
    require_own_places(folder, coming)
    owners: dict[str, str] = {}
    for each in others.values():
        owners |= dict.fromkeys(plugins_dir.files_of([each]) - owners.keys(), each.name)
    for name, package in coming.items():
        there = folder / name
        if name in owners and (files / name).read_bytes() != there.read_bytes():
            raise refused(f"{owners[name]} is there, and has another file {name}")
        if obstacle := staging.in_the_way(folder, name, obsolete):
            raise refused(
                f"{package.name} has a file {name}, but {owners.get(obstacle, folder)} has "
                f"{obstacle}"
            )


def require_met(folder: Path, new: Packages, others: Packages) -> None:
    """Raise :class:`~mcpserve.errors.UsageError` if others would lack what they need."""
    now = plugins_dir.version_of(folder)

    def version_of(name: str) -> str | None:
        replaced = new.get(canonicalize_name(name))
        is_ours = plugins_dir.bundled(folder, name) is not None
        return replaced.version if replaced and not is_ours else now(name)

    before = set(plugins_dir.unfit(folder))
    for line in plugins_dir.unmet(others.values(), version_of):
        if line not in before:
            raise refused(line.replace(" is used", " would be installed"))


def require_own_places(folder: Path, coming: Packages) -> None:
    """Raise :class:`~mcpserve.errors.UsageError` for files where they would be somebody else's.

    ``coming`` are packages by their files.
    """
    ours = dict(import_packages(folder))
    for name, package in coming.items():
        path = PurePosixPath(name)
        if staging.is_ours(name) or path.parts[0].partition(".")[0] in AT_START:
            raise refused(f"{package.name} has a file {name}, which no plugin may have")
        for parent in map(str, path.parents):
            if parent in ours:
                raise refused(
                    f"{package.name} has a file {name}, but {parent} belongs to {ours[parent]}, "
                    "which mcpserve itself uses"
                )


def import_packages(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what is imported from outside of ``plugins_dir``, and whose it is.

    Folders with an ``__init__.py``: others are open to everybody.
    """
    for each in distributions():
        if Path(str(each.locate_file(""))) != folder:
            for name in folders_of(each):
                yield name, each.name


def folders_of(package: Distribution) -> Iterator[str]:
    """Yield the folders that Python imports of a package."""
    if is_editable(package):
        # What it consists of is somewhere else.
        yield from (package.read_text("top_level.txt") or "").split()
    for name in plugins_dir.recorded(package) or ():
        if name.endswith("/__init__.py"):
            yield name.removesuffix("/__init__.py")

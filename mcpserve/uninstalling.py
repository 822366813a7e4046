"""Removing packages from ``plugins_dir``, with what nothing else there needs."""

from collections.abc import Collection
from importlib.metadata import Distribution
from pathlib import Path

from packaging.utils import canonicalize_name

from mcpserve import discovery, plugins_dir, staging
from mcpserve.discovery import plugins_of
from mcpserve.installing import changing
from mcpserve.plugins_dir import Packages, files_of
from mcpserve.vetting import refused


def uninstall(folder: Path, wanted: str, configured: Collection[str]) -> list[str]:
    """Remove a package, by its name or that of its plugin; return what went, with versions.

    Raises :class:`~mcpserve.errors.UsageError` if something needs it, such as the configuration.
    """
    if not folder.is_dir():
        raise refused(missing(folder, wanted, {}))
    with changing(folder), staging.draft(folder) as draft:
        there = plugins_dir.packages(folder)
        name = find(folder, wanted, there)
        require_unused(folder, name, there, configured=configured)
        gone = {name, *orphans(name, there)}
        if unknown := [each for each in gone if plugins_dir.recorded(there[each]) is None]:
            raise refused(f"{there[unknown[0]].name} has no RECORD of its files")
        left = {each: package for each, package in there.items() if each not in gone}
        told = [f"{there[each].name} {there[each].version}" for each in sorted(gone)]
        obsolete = files_of(there[each] for each in gone) - files_of(left.values())
        staging.commit(folder, draft, obsolete)
    return told


def find(folder: Path, wanted: str, there: Packages) -> str:
    """Return the canonical name of the package that is meant. Raises ``UsageError``."""
    by_plugin = [
        name
        for name, package in there.items()
        if wanted in {plugin.name for plugin in plugins_of(package)}
    ]
    if canonicalize_name(wanted) in there:
        return canonicalize_name(wanted)
    if len(by_plugin) == 1:
        return by_plugin[0]
    raise refused(missing(folder, wanted, there))


def missing(folder: Path, wanted: str, there: Packages) -> str:
    """Return why there is nothing to remove."""
    elsewhere = plugins_dir.bundled(folder, wanted)
    name = elsewhere.name if elsewhere else None
    for plugin in discovery.installed():
        if plugin.name == wanted:
            name = plugin.distribution
    if name:
        return f"{name} is not in {folder}, but where mcpserve is installed: remove it with pip"
    known = ", ".join(sorted(package.name for package in there.values())) or "nothing"
    return f"there is no {wanted} in {folder}, but {known}"


def require_unused(
    folder: Path, name: str, there: Packages, *, configured: Collection[str]
) -> None:
    """Raise :class:`~mcpserve.errors.UsageError` unless everything works without the package."""
    if plugins_dir.bundled(folder, name):
        return
    for plugin in plugins_of(there[name]):
        if plugin.name in configured:
            raise refused(
                f"the configuration still has plugins.{plugin.name}: remove that first, and let "
                "servers that run take it over (mcpserve reload)"
            )
    others = [package for other, package in there.items() if other != name]
    if users := [each.name for each in others if name in plugins_dir.names(each)]:
        raise refused(f"{there[name].name} is needed by {', '.join(users)}: remove these first")


def orphans(name: str, there: Packages) -> set[str]:
    """Return what the package needs and what nothing that stays needs; of it no plugin."""
    candidates = closure(there[name], there)
    while True:
        stays = [
            package for other, package in there.items() if other != name and other not in candidates
        ]
        needed = {each for package in stays for each in plugins_dir.names(package)}
        kept = {each for each in candidates if each in needed or plugins_of(there[each])}
        if not kept:
            return candidates - {name}
        candidates -= kept


def closure(package: Distribution, there: Packages) -> set[str]:
    """Return all that the package needs and that is there, directly or not."""
    found: set[str] = set()
    new = plugins_dir.names(package) & there.keys()
    while new:
        found |= new
        new = {each for name in new for each in plugins_dir.names(there[name])} & there.keys()
        new -= found
    return found

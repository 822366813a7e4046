"""Finding plugins: entry points of installed packages, imported only when they are asked for."""

import difflib
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from types import ModuleType

from packaging.utils import canonicalize_name

from mcpserve.errors import PluginError
from mcpserve.hooks import PROJECT, reason
from mcpserve.package_files import brings, files_digest, is_fixed, recorded

INSTALL = "mcpserve plugin install NAME"
"""The command that installs a package, whose name only its author knows."""


@dataclass(frozen=True)
class Installed:
    """An entry point of the group ``mcpserve`` and the distribution that offers it."""

    name: str
    entry_point: EntryPoint
    distribution: str
    version: str

    @property
    def package(self) -> str:
        """The canonical name of the distribution."""
        return canonicalize_name(self.distribution)

    @property
    def release(self) -> str:
        """The distribution and its version, for people."""
        return f"{self.distribution} {self.version}"


def installed() -> list[Installed]:
    """Every plugin that is installed, by name. Imports none of them.

    Of a distribution that is on the path more than once, the first is what Python imports.
    """
    found: dict[tuple[str, str], Installed] = {}
    for distribution in distributions():
        offered = plugins_of(distribution)
        if not offered or not distribution.name or not is_first(distribution):
            continue
        name = canonicalize_name(distribution.name)
        for entry_point in offered:
            plugin = Installed(
                entry_point.name, entry_point, distribution.name, distribution.version
            )
            found.setdefault((entry_point.name, name), plugin)
    return [found[key] for key in sorted(found)]


def plugins_of(distribution: Distribution) -> list[EntryPoint]:
    """Return the plugins that a distribution offers."""
    return [entry for entry in distribution.entry_points if entry.group == PROJECT]


def is_first(distribution: Distribution) -> bool:
    """Whether no other copy of it is before it on the path."""
    first = next(iter(distributions(name=distribution.name)), distribution)
    return first.locate_file("") == distribution.locate_file("")


@dataclass(frozen=True)
class Package:
    """A distribution and what is in it."""

    version: str
    """With its name."""
    files: str
    """A digest of its files; empty if they may change at any time, or are not known."""
    entry_point: str = ""
    """What of it is the plugin."""


UNKNOWN = Package("", "")

IMPORTED: dict[str, Package] = {}
"""The packages of plugins as they were when they were imported, by canonical name.

As ``sys.modules``, which it describes, there is one of a process: Python imports once.
"""


def packages(names: Collection[str], *, isolated: Collection[str] = ()) -> dict[str, Package]:
    """Return the package of each of these plugins that exactly one package offers.

    As it runs in this process if it was imported here, otherwise as it is on the disk. ``isolated``
    are those that run in other processes.
    """
    available = [plugin for plugin in installed() if plugin.name in names]
    counts = Counter(plugin.name for plugin in available)
    return {
        plugin.name: present(plugin) if plugin.name in isolated else running(plugin)
        for plugin in available
        if counts[plugin.name] == 1
    }


def present(plugin: Installed) -> Package:
    """Return the package of a plugin as it is on the disk.

    Of a plugin that is in none of the package's files nobody knows which code it is.
    """
    distribution = plugin.entry_point.dist
    is_known = distribution is not None and brings(distribution, plugin.entry_point.module)
    files = files_digest(distribution) if is_known else ""
    return Package(plugin.release, files, plugin.entry_point.value)


def running(plugin: Installed) -> Package:
    """Return the package of a plugin as this process imported it, or would."""
    imported = IMPORTED.get(plugin.package)
    if imported is None:
        return present(plugin)
    return replace(imported, entry_point=plugin.entry_point.value)


def outdated(names: Collection[str]) -> Iterator[str]:
    """Yield a line for each of these plugins of which another version was imported."""
    for plugin in installed():
        imported = IMPORTED.get(plugin.package, UNKNOWN).version or plugin.release
        if plugin.name in names and imported != plugin.release:
            yield (
                f"plugins.{plugin.name}: {plugin.release} is installed, {imported} runs until the "
                "next start"
            )


def discover(name: str, available: Sequence[Installed]) -> object:
    """Import the plugin. Raises :class:`PluginError` unless exactly one package offers it."""
    offers = [plugin for plugin in available if plugin.name == name]
    if len(offers) != 1:
        raise PluginError(name, none_or_many(name, offers, available))
    try:
        return load(offers[0])
    except (Exception, SystemExit) as error:
        raise PluginError(name, f"import failed: {reason(error)}") from error


def load(plugin: Installed) -> object:
    """Import a plugin. Of one that fails nothing stays; raises whatever it does."""
    is_first = plugin.package not in IMPORTED
    if is_first:
        # Before the import: what is installed meanwhile is not what runs.
        IMPORTED[plugin.package] = present(plugin)
    before = frozenset(sys.modules)
    try:
        return plugin.entry_point.load()
    except BaseException:
        forget(frozenset(sys.modules) - before, belongs_to(plugin))
        if is_first:
            IMPORTED.pop(plugin.package, None)
        raise


def forget(names: Collection[str], is_own: Callable[[str, ModuleType], bool]) -> None:
    """Let these modules be imported anew, or the next version would run with parts of this one."""
    for name in names:
        module = sys.modules.get(name)
        if module is None or not is_own(name, module):
            continue
        del sys.modules[name]
        parent, _, child = name.rpartition(".")
        # Where ``from . import child`` looks first.
        names_of_parent = vars(sys.modules[parent]) if parent in sys.modules else {}
        if names_of_parent.get(child) is module:
            del names_of_parent[child]


def belongs_to(plugin: Installed) -> Callable[[str, ModuleType], bool]:
    """Return what tells the modules of the plugin's package from those of others."""
    distribution = plugin.entry_point.dist
    if distribution is None or not is_fixed(distribution):
        top = plugin.entry_point.module.partition(".")[0]
        return lambda name, _: name.partition(".")[0] == top
    files = {str(Path(str(file.locate())).absolute()) for file in recorded(distribution)}
    return lambda _, module: getattr(module, "__file__", None) in files


def none_or_many(name: str, offers: Sequence[Installed], available: Sequence[Installed]) -> str:
    """Say why a name means no plugin."""
    known = sorted({plugin.name for plugin in available})
    others = f"(installed plugins: {', '.join(known) or 'none'})"
    if offers:
        found = ", ".join(offer.distribution for offer in offers)
        return f"{found} provides it; exactly one package must {others}"
    meant = mistyped(name, available)
    advice = f"did you mean {meant}?" if meant else f"to install one: {INSTALL}"
    return f"no installed package provides it; {advice} {others}"


def mistyped(name: str, available: Sequence[Installed]) -> str | None:
    """Return the installed plugin that is probably meant."""
    close = difflib.get_close_matches(name, {plugin.name for plugin in available}, 1)
    return close[0] if close else None

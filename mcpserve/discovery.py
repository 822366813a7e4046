"""Finding plugins: entry points of installed packages, imported only when they are asked for."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from mcpserve.errors import PluginError
from mcpserve.hooks import PROJECT, reason


@dataclass(frozen=True)
class Installed:
    """An entry point of the group ``mcpserve`` and the distribution that offers it."""

    name: str
    entry_point: EntryPoint
    distribution: str
    version: str


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


UNKNOWN = Package("", "")


def packages() -> dict[str, Package]:
    """Return the package of each plugin that exactly one package offers."""
    available = installed()
    counts = Counter(plugin.name for plugin in available)
    return {
        plugin.name: Package(
            f"{plugin.distribution} {plugin.version}", files_digest(plugin.entry_point.dist)
        )
        for plugin in available
        if counts[plugin.name] == 1
    }


def files_digest(distribution: Distribution | None) -> str:
    """Return a digest of a package's files as they are now, empty if it is somebody's working copy.

    Without what installers write: its metadata, scripts outside of it, bytecode.
    """
    # A source tree has no RECORD.
    if distribution is None or not distribution.read_text("RECORD") or is_editable(distribution):
        return ""
    digest = hashlib.sha256()
    for file in sorted(distribution.files or (), key=str):
        if ".." in file.parts or file.suffix == ".pyc" or file.parts[0].endswith(".dist-info"):
            continue
        try:
            content = hashlib.sha256(Path(str(file.locate())).read_bytes()).hexdigest()
        except OSError:
            content = "not there"
        digest.update(f"{file.as_posix()} {content}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def is_editable(distribution: Distribution) -> bool:
    """Whether it is a link to somebody's working copy (the packaging guide's direct_url.json)."""
    try:
        direct = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    info = direct.get("dir_info") if isinstance(direct, dict) else None
    return isinstance(info, dict) and bool(info.get("editable"))


def discover(name: str, available: Sequence[Installed]) -> object:
    """Import the plugin. Raises :class:`PluginError` unless exactly one package offers it."""
    offers = [plugin for plugin in available if plugin.name == name]
    if len(offers) != 1:
        found = ", ".join(offer.distribution for offer in offers) or "no installed package"
        others = ", ".join(sorted({plugin.name for plugin in available})) or "none"
        raise PluginError(
            name, f"{found} provides it; exactly one package must (installed plugins: {others})"
        )
    try:
        return offers[0].entry_point.load()
    except (Exception, SystemExit) as error:
        raise PluginError(name, f"import failed: {reason(error)}") from error

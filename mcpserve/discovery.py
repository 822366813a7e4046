"""Finding plugins: entry points of installed packages, imported only when they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions

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
    """Every plugin that is installed, by name. Imports none of them."""
    found = {
        (entry_point.name, distribution.name): Installed(
            entry_point.name, entry_point, distribution.name, distribution.version
        )
        for distribution in reversed(list(distributions()))
        for entry_point in distribution.entry_points
        if entry_point.group == PROJECT
    }
    return [found[key] for key in sorted(found)]


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

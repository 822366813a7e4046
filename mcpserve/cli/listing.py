"""What ``plugin list`` tells: every plugin that is configured or installed, and why one is off.

Imports no plugin but those that the configuration lists.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from mcpserve import config_keys, discovery, pinning, plugins, plugins_dir
from mcpserve.bound import Bound
from mcpserve.config_report import visible
from mcpserve.discovery import Installed
from mcpserve.errors import ConfigError
from mcpserve.hooks import PROJECT
from mcpserve.kinds import KINDS
from mcpserve.plugins import LoadedPlugins
from mcpserve.settings import PluginSettings, Settings
from mcpserve.tools import Offer, Tool


class State(StrEnum):
    """What became of a plugin, or of one thing that it offers."""

    ON = "on"
    OFF = "off"
    """Not listed in config.yaml; of an offer: ``enabled: false``."""
    BROKEN = "broken"
    """The server does not start with it."""
    SKIPPED = "skipped"
    """The server starts without it, as ``on_error: skip`` says."""
    UNAPPROVED = "unapproved"
    """Left out, because the tool is not as tools.lock has it."""


@dataclass(frozen=True)
class PackageReport:
    """A package that provides a plugin."""

    name: str
    version: str
    origin: str
    """``built in``, ``environment`` or ``plugins_dir``."""
    unmet: Sequence[str]
    """What it requires and is not there, a line for each."""


@dataclass(frozen=True)
class OfferReport:
    """A tool, resource or prompt. Of one that is off no more is known than its name."""

    kind: str
    name: str
    state: State = State.ON
    reason: str | None = None
    """Why it is not on, and what to do."""
    title: str | None = None
    uri: str | None = None
    """Of a resource, or its template."""
    timeout: float | None = None
    """Seconds."""
    scopes: Sequence[str] = ()
    """All that a call needs; none: open to everybody."""
    aliases: Sequence[str] = ()
    read_only: bool | None = None
    """What clients are told of a tool."""
    destructive: bool | None = None


@dataclass(frozen=True)
class KeyReport:
    """One of a plugin's own settings."""

    key: str
    type: str
    required: bool
    default: Any
    """Masked if it is a secret; ``null`` also if there is none."""
    secret: bool
    description: str


@dataclass(frozen=True)
class PluginReport:
    """A plugin."""

    name: str
    state: State
    reason: str | None = None
    """Why it is not on."""
    fix: str | None = None
    """What to write into config.yaml, or to run."""
    packages: Sequence[PackageReport] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """How it is run: ``isolation``, ``concurrency``, ``on_error``; empty unless it is listed."""
    offers: Sequence[OfferReport] = ()
    config: Sequence[KeyReport] = ()


@dataclass(frozen=True)
class Report:
    """All of them, those of config.yaml first."""

    problems: Sequence[str]
    """Beside those of single plugins: what is in plugins_dir in vain, and why the pins of tools
    cannot be read."""
    plugins: Sequence[PluginReport]


async def loadable(settings: Settings, exit_stack: AsyncExitStack) -> LoadedPlugins:
    """Load every listed plugin that can be loaded; why another one cannot, is in ``skipped``."""
    chosen = {
        name: each.model_copy(update={"on_error": "skip"})
        for name, each in settings.plugins.items()
    }
    # Of what a plugin prints nothing may get into a document of JSON.
    with contextlib.redirect_stdout(sys.stderr), without_errors(plugins.logger):
        return await plugins.load(chosen, exit_stack)


@contextlib.contextmanager
def without_errors(logger: logging.Logger) -> Iterator[None]:
    """Leave out of the log what the caller tells."""

    def is_no_error(record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR

    logger.addFilter(is_no_error)
    try:
        yield
    finally:
        logger.removeFilter(is_no_error)


async def report(settings: Settings, available: Sequence[Installed]) -> Report:
    """Return what there is to tell. Needs no database."""
    folder = settings.plugins_folder
    problems = list(plugins_dir.shadowed(folder))
    async with AsyncExitStack() as exit_stack:
        loaded = await loadable(settings, exit_stack)
        if settings.tools_lock:
            try:
                loaded = pinning.approved(loaded, pinning.read(pinning.lock_path(settings)))
            except ConfigError as error:
                problems.append(str(error))
        found = [listed(name, each, loaded) for name, each in settings.plugins.items()]
    names = sorted({each.name for each in available} - settings.plugins.keys())
    found += [unlisted(name) for name in names]
    return Report(problems, [with_packages(each, available, folder) for each in found])


def unlisted(name: str) -> PluginReport:
    """Return what is known of a plugin that nobody switched on."""
    return PluginReport(name, State.OFF, "not listed in config.yaml", switch(name))


def switch(name: str) -> str:
    """Return what switches a plugin on in config.yaml."""
    return f"plugins: {{{name}: {{}}}}"


def listed(name: str, settings: PluginSettings, loaded: LoadedPlugins) -> PluginReport:
    """Return what is known of a plugin of the configuration."""
    run = {
        "isolation": settings.isolation,
        "concurrency": settings.concurrency,
        "on_error": settings.on_error,
    }
    if reason := loaded.skipped.get(name):
        state = State.SKIPPED if settings.on_error == "skip" else State.BROKEN
        return PluginReport(name, state, reason.removeprefix(f"plugins.{name}: "), settings=run)
    return PluginReport(
        name,
        State.ON,
        settings=run,
        offers=[*offers(name, loaded), *disabled(settings)],
        config=list(config_of(name, loaded)),
    )


def with_packages(
    plugin: PluginReport, available: Sequence[Installed], folder: Path
) -> PluginReport:
    """Add where it comes from, and what would keep it from working if it were on."""
    packages = [package(each, folder) for each in available if each.name == plugin.name]
    if not packages:
        meant = discovery.mistyped(plugin.name, available)
        return replace(plugin, fix=switch(meant) if meant else discovery.INSTALL)
    if len(packages) == 1:
        return replace(plugin, packages=packages)
    reason = plugin.reason
    if plugin.state is State.OFF:
        reason = f"{reason}; {len(packages)} packages provide it"
    return replace(plugin, packages=packages, reason=reason, fix="uninstall all but one of them")


def package(found: Installed, folder: Path) -> PackageReport:
    """Return the package of a plugin."""
    distribution = found.entry_point.dist
    return PackageReport(
        found.distribution,
        found.version,
        origin(found, folder),
        list(plugins_dir.unmet([distribution], plugins_dir.version_of(folder)))
        if distribution
        else [],
    )


def origin(found: Installed, folder: Path) -> str:
    """Say where a package is."""
    if found.distribution == PROJECT:
        return "built in"
    distribution = found.entry_point.dist
    root = Path(str(distribution.locate_file(""))) if distribution else None
    return "plugins_dir" if root == folder else "environment"


def offers(plugin: str, loaded: LoadedPlugins) -> Iterator[OfferReport]:
    """Yield everything that a plugin offers, in the order of its kinds."""
    left_out = {each.bound.offer.name: each for each in loaded.unapproved}
    registry = loaded.registry
    waiting = (each.bound for each in loaded.unapproved)
    for bound in (*registry.tools, *waiting, *registry.resources, *registry.prompts):
        if bound.plugin != plugin:
            continue
        offer = offered(bound)
        if unapproved := left_out.get(offer.name) if offer.kind == Tool.kind else None:
            offer = replace(offer, state=State.UNAPPROVED, reason=str(unapproved))
        yield offer


def offered(bound: Bound[Any]) -> OfferReport:
    """Return one thing that is offered."""
    offer: Offer = bound.offer
    hints = offer.hints if isinstance(offer, Tool) else None
    return OfferReport(
        kind=offer.kind,
        name=offer.name,
        title=offer.title,
        uri=offer.key if offer.key != offer.name else None,
        timeout=bound.timeout,
        scopes=sorted(bound.scopes),
        aliases=bound.aliases,
        read_only=hints.read_only_hint if hints else None,
        destructive=hints.destructive_hint if hints else None,
    )


def disabled(settings: PluginSettings) -> Iterator[OfferReport]:
    """Yield what the operator switched off."""
    for kind in KINDS:
        for name, decided in getattr(settings, kind.settings).items():
            if not decided.enabled:
                reason = f"{kind.settings}.{name}.enabled is false"
                yield OfferReport(kind.name, name, State.OFF, reason)


def config_of(plugin: str, loaded: LoadedPlugins) -> Iterator[KeyReport]:
    """Yield the plugin's own settings."""
    for each in config_keys.keys(loaded.config_schemas.get(plugin, {})):
        # By its declaration alone: what stands in published code is no secret for its name.
        default = visible(each.key, each.default, is_secret=each.secret)
        yield KeyReport(each.key, each.type, each.required, default, each.secret, each.description)

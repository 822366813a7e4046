"""The plugin host: what the configured plugins hand over, with what the operator decided.

Being named in the configuration is what loads a plugin; nothing else is imported.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from mcpserve.bound import Bound, Offered
from mcpserve.config_keys import Schema
from mcpserve.containment import Tasks, know_tasks
from mcpserve.discovery import discover, installed
from mcpserve.errors import ConfigError, PluginError
from mcpserve.loading import Loaded, Plugin
from mcpserve.prompts import Prompt
from mcpserve.registry import PromptRegistry, Registry, ResourceRegistry, ToolRegistry
from mcpserve.resources import Resource
from mcpserve.settings import PluginSettings
from mcpserve.tools import Tool

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unapproved:
    """A tool that is left out because it is not as it was pinned."""

    bound: Bound[Tool]
    differs: str
    """What of it."""

    def __str__(self) -> str:
        name = self.bound.offer.name
        return (
            f"tool {name} is left out, not as pinned: {self.differs}; "
            f"see mcpserve tools diff, then mcpserve tools approve {name}"
        )


@dataclass(frozen=True)
class LoadedPlugins:
    """What the plugins offer, and the plugins that could not be had."""

    registry: Registry
    names: tuple[str, ...]
    skipped: Mapping[str, str]
    """Name to reason, of plugins with ``on_error: skip``."""
    config_schemas: Mapping[str, Schema]
    """Name to the JSON Schema of its ``config:``; absent if its types have none."""
    isolated: frozenset[str] = frozenset()
    """Names of those that run in processes of their own."""
    unapproved: tuple[Unapproved, ...] = ()

    @property
    def scopes(self) -> frozenset[str]:
        """Every scope that something needs, even what waits to be approved: grants keep it."""
        return self.registry.scopes.union(*(each.bound.scopes for each in self.unapproved))

    @property
    def tasks(self) -> frozenset[Tasks]:
        """What runs of each plugin that offers something."""
        registry = self.registry
        waiting = (each.bound for each in self.unapproved)
        offers = (*registry.tools, *registry.resources, *registry.prompts, *waiting)
        return frozenset(bound.containment.tasks for bound in offers)


async def load(
    configured: Mapping[str, PluginSettings],
    exit_stack: AsyncExitStack,
    find: Callable[[str], object] | None = None,
) -> LoadedPlugins:
    """Load every configured plugin; one that fails stops the server or is skipped, as configured.

    ``find`` returns a plugin by name; by default what is installed. Clean-up goes to
    ``exit_stack``; that of a plugin which fails half-way is done at once. Raises the plugin's
    :class:`PluginError`, or one :class:`~mcpserve.errors.ConfigError` with a line for each.
    """
    know_tasks()
    find = each_once(find or functools.partial(discover, available=installed()))
    built: dict[tuple[str, str], Bound[Any]] = {}
    loaded: dict[str, Loaded] = {}
    skipped: dict[str, str] = {}
    problems: list[PluginError] = []
    started: list[Plugin] = []
    exit_stack.push_async_callback(close, started)
    for name, settings in configured.items():
        try:
            plugin = Plugin(name, settings, find)
            loaded[name] = await taken(plugin, built)
            started.append(plugin)
        except PluginError as problem:
            if settings.on_error == "skip":
                logger.error("started without %s", problem)
                skipped[name] = str(problem)
            else:
                problems.append(problem)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ConfigError("\n".join(str(problem) for problem in problems))
    observers = [observer for each in loaded.values() for observer in each.observers]
    registry = Registry(
        ToolRegistry(of_kind(Tool, built), observers),
        ResourceRegistry(of_kind(Resource, built)),
        PromptRegistry(of_kind(Prompt, built)),
    )
    schemas = {name: each.config_schema for name, each in loaded.items()}
    known = {name: schema for name, schema in schemas.items() if schema is not None}
    isolated = frozenset(name for name in loaded if configured[name].isolation == "process")
    return LoadedPlugins(registry, tuple(loaded), skipped, known, isolated)


def each_once(find: Callable[[str], object]) -> Callable[[str], object]:
    """Let no plugin be found under two names: it would open twice what it has once.

    Raises :class:`PluginError`.
    """
    found: dict[str, object] = {}

    def find_once(name: str) -> object:
        plugin = find(name)
        for other, known in found.items():
            if known is plugin:
                raise PluginError(name, f"Plugin already registered as {other}")
        found[name] = plugin
        return plugin

    return find_once


async def taken(plugin: Plugin, built: dict[tuple[str, str], Bound[Any]]) -> Loaded:
    """Return what a plugin hands over, and add it to what there is; or close the plugin.

    Raises :class:`PluginError`.
    """
    loaded = await plugin.loaded()
    try:
        add(built, loaded.bound)
    except PluginError:
        await plugin.close()
        raise
    return loaded


async def close(started: Sequence[Plugin]) -> None:
    """Let plugins clean up, beginning with the last one, and all of them at the same time."""
    await asyncio.gather(*(plugin.close() for plugin in reversed(started)))


def of_kind(
    wanted: type[Offered], built: Mapping[tuple[str, str], Bound[Any]]
) -> list[Bound[Offered]]:
    """Return what there is of one kind."""
    return [bound for (kind, _), bound in built.items() if kind == wanted.kind]


def add(built: dict[tuple[str, str], Bound[Any]], offers: Sequence[Bound[Any]]) -> None:
    """Add what one plugin offers, all or none. Raises :class:`PluginError` for a taken name."""
    check_aliases([*built.values(), *offers])
    keyed = {(bound.offer.kind, bound.offer.key): bound for bound in offers}
    for (kind, key), bound in keyed.items():
        if (other := built.get((kind, key))) is not None:
            raise PluginError(
                bound.plugin, f"{kind} {key!r} already comes from plugin {other.plugin!r}"
            )
    built.update(keyed)


def check_aliases(offers: Iterable[Bound[Any]]) -> None:
    """Refuse an alias that would be a second meaning of a name.

    Raises :class:`PluginError` with the key path of the alias, whichever of both came later.
    """
    tools = [bound for bound in offers if bound.offer.kind == Tool.kind]
    owners = {bound.offer.name: "the name of a tool" for bound in tools}
    for bound in tools:
        key = f"tools.{bound.offer.name}.aliases"
        for alias in bound.aliases:
            if taken := owners.get(alias):
                raise PluginError(bound.plugin, f"{key}: {alias!r} is already {taken}")
            owners[alias] = f"an alias (plugins.{bound.plugin}.{key})"

"""The plugin host: what the configured plugins hand over, with what the operator decided.

Being named in the configuration is what loads a plugin; nothing else is imported.
"""

import asyncio
import functools
import inspect
import logging
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, NoReturn

import pluggy
from pydantic import BaseModel

from mcpserve.apps import page_uri
from mcpserve.bound import DEFAULT_TIMEOUT, Bound, Containment, Offered
from mcpserve.containment import Tasks, know_tasks
from mcpserve.discovery import discover, installed
from mcpserve.errors import ConfigError, PluginError
from mcpserve.hooks import (
    call_hook,
    config_model,
    hook_of,
    make_manager,
    plugin_config,
    reason,
    register,
)
from mcpserve.isolation.offers import isolated
from mcpserve.isolation.wire import Start
from mcpserve.prompts import Prompt, prompt_from_function
from mcpserve.registry import (
    Observer,
    PromptRegistry,
    Registry,
    ResourceRegistry,
    ToolCall,
    ToolRegistry,
)
from mcpserve.resources import Resource
from mcpserve.settings import OfferSettings, PluginSettings, ToolSettings
from mcpserve.threads import is_cancelled
from mcpserve.tools import CALL_SCOPE, Function, Offer, Tool, tool_from_function

logger = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Stricter than the protocol (128 and dots), because clients are."""

CLOSE_TIMEOUT = 5.0
"""Seconds for the clean-up of one plugin."""


def refuse_function(function: Function) -> NoReturn:
    """Refuse what does not say its URI."""
    raise TypeError(f"{function!r} is not made with @resource")


@dataclass(frozen=True)
class Kind:
    """One kind of what plugins offer."""

    type: type[Offer]
    settings: str
    """The key of the operator's decisions; the hook is called like it."""
    of_function: Callable[[Function], Offer]

    @property
    def name(self) -> str:
        """A word for one of them."""
        return self.type.kind


KINDS = (
    Kind(Tool, "tools", tool_from_function),
    Kind(Resource, "resources", refuse_function),
    Kind(Prompt, "prompts", prompt_from_function),
)


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
    models: Mapping[str, type[BaseModel]]
    """Name to the model of its ``config:``; that of a plugin in its own process is not known."""
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
    find = find or functools.partial(discover, available=installed())
    manager = make_manager()
    built: dict[tuple[str, str], Bound[Any]] = {}
    skipped: dict[str, str] = {}
    problems: list[PluginError] = []
    elsewhere: list[Observer] = []
    for name, settings in configured.items():
        try:
            async with AsyncExitStack() as own:
                if settings.isolation == "none":
                    register(manager, name, find(name))
                add(built, await build(manager, name, settings, own, elsewhere=elsewhere))
                exit_stack.push_async_callback(close, name, own.pop_all())
        except Exception as error:
            problem = error if isinstance(error, PluginError) else PluginError(name, reason(error))
            if manager.has_plugin(name):
                manager.unregister(name=name)
            if settings.on_error == "skip":
                logger.error("started without %s", problem)
                skipped[name] = str(problem)
            else:
                problems.append(problem)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ConfigError("\n".join(str(problem) for problem in problems))
    names = tuple(name for name in configured if name not in skipped)
    models = {name: config_model(manager, name) for name in names if manager.has_plugin(name)}
    registry = Registry(
        ToolRegistry(of_kind(Tool, built), [*observers(manager), *elsewhere]),
        ResourceRegistry(of_kind(Resource, built)),
        PromptRegistry(of_kind(Prompt, built)),
    )
    return LoadedPlugins(registry, names, skipped, models)


def of_kind(
    wanted: type[Offered], built: Mapping[tuple[str, str], Bound[Any]]
) -> list[Bound[Offered]]:
    """Return what there is of one kind."""
    return [bound for (kind, _), bound in built.items() if kind == wanted.kind]


async def close(name: str, resources: AsyncExitStack) -> None:
    """Do a plugin's clean-up; one that fails or hangs must not keep the others from theirs."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await resources.aclose()
    except BaseException as error:
        if is_cancelled(error):
            raise
        logger.exception("plugin %s failed while closing", name)


async def build(
    manager: pluggy.PluginManager,
    name: str,
    settings: PluginSettings,
    exit_stack: AsyncExitStack,
    *,
    elsewhere: list[Observer],
) -> list[Bound[Any]]:
    """Validate a plugin's config, ask it what it offers and apply what the operator decided.

    An observer in another process is added to ``elsewhere``. Raises
    :class:`PluginError` with the reason in one line.
    """
    containment = Containment.of(name, settings)
    # Before all that the plugin pushes, and so after it.
    exit_stack.push_async_callback(containment.tasks.close)
    bound = []
    handed: list[Offer] = []
    if settings.isolation == "process":
        start = Start(plugin=name, settings=settings, path=sys.path, level=logging.root.level)
        remote = await isolated(start, exit_stack)
        elsewhere += remote.observers
        hand = remote.handed_over
    else:
        config = plugin_config(manager, name, settings.config)
        hand = functools.partial(handed_over, manager, name, config=config, exit_stack=exit_stack)
    for kind in KINDS:
        decided: Mapping[str, OfferSettings] = getattr(settings, kind.settings)
        with containment.tasks.working():
            offers = await hand(kind)
        check_overrides(name, kind, decided, offers)
        handed += offers
        for offer in offers:
            override = decided.get(offer.name, OfferSettings())
            if override.enabled:
                bound.append(bind(offer, name, settings, override, containment=containment))
    check_pages(name, handed)
    warn_of_closed_pages(bound)
    return bound


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


def bind(
    offer: Offered,
    name: str,
    plugin: PluginSettings,
    override: OfferSettings,
    *,
    containment: Containment,
) -> Bound[Offered]:
    """Apply the operator's decisions. Of timeouts the operator's wins; scopes only add up.

    Raises :class:`PluginError` for what is to be open and has scopes.
    """
    decided = override.timeout or plugin.timeout
    return Bound(
        offer=offer,
        plugin=name,
        scopes=needed_scopes(offer, name, plugin, override),
        timeout=decided.total_seconds() if decided else offer.timeout or DEFAULT_TIMEOUT,
        containment=containment,
        aliases=override.aliases if isinstance(override, ToolSettings) else (),
    )


def needed_scopes(
    offer: Offer, name: str, plugin: PluginSettings, override: OfferSettings
) -> frozenset[str]:
    """Return the scopes that a call needs: none at all if the operator opened it.

    Raises :class:`PluginError` if that would drop a protection that somebody asked for.
    """
    key = f"{offer.kind}s.{offer.name}"
    asked = {
        "its author asks": offer.scopes,
        f"plugins.{name}.scopes ask": plugin.scopes,
        f"plugins.{name}.{key}.scopes ask": override.scopes,
    }
    if not override.open:
        return frozenset({CALL_SCOPE}).union(*asked.values())
    for who, scopes in asked.items():
        if scopes:
            raise PluginError(
                name,
                f"{key}.open: {who} for {' '.join(sorted(scopes))}, "
                "and what is open needs no scope; remove one of the two",
            )
    return frozenset()


async def handed_over(
    manager: pluggy.PluginManager, name: str, kind: Kind, **arguments: Any
) -> list[Offer]:
    """Return what one plugin offers of one kind, with valid and distinct names."""
    hook = f"mcpserve_{kind.settings}"
    handed = call_hook(manager, name, hook, **arguments)
    try:
        if inspect.isawaitable(handed):
            handed = await handed
        offers = [
            item if isinstance(item, kind.type) else kind.of_function(item) for item in handed or ()
        ]
    except (Exception, SystemExit) as error:
        raise PluginError(name, f"{hook}: {reason(error)}") from error
    for offer in offers:
        if offer.is_method:
            raise PluginError(
                name, f"{kind.name} {offer.name!r} is a method: hand it over from an object"
            )
        if kind.type is not Resource and not NAME.fullmatch(offer.name):
            raise PluginError(
                name, f"{kind.name} name {offer.name!r} must be 1 to 64 of A-Z a-z 0-9 _ -"
            )
    for names in ([offer.name for offer in offers], [offer.key for offer in offers]):
        for twice in (key for key, count in Counter(names).items() if count > 1):
            raise PluginError(name, f"{kind.name} {twice!r} is there twice")
    return offers


def check_pages(name: str, offers: Sequence[Offer]) -> None:
    """Refuse a tool whose result would be shown on a page that there is not."""
    resources = {offer.key for offer in offers if isinstance(offer, Resource)}
    for offer in offers:
        uri = page_uri(offer.meta) if isinstance(offer, Tool) else None
        if uri is not None and uri not in resources:
            raise PluginError(
                name, f"tool {offer.name!r} is shown on {uri!r}, which mcpserve_resources lacks"
            )


def warn_of_closed_pages(offers: Sequence[Bound[Any]]) -> None:
    """Tell the operator of an open tool whose page is not: without a login nobody sees it."""
    pages = {bound.offer.key: bound for bound in offers if isinstance(bound.offer, Resource)}
    for bound in offers:
        page = pages.get(page_uri(bound.offer.meta) or "") if bound.is_open else None
        if page is not None and not page.is_open:
            logger.warning(
                "plugins.%s: the tool %s is open, but the page of its results is not; to open it: "
                "resources: {%s: {open: true}}",
                *(bound.plugin, bound.offer.name, page.offer.name),
            )


def check_overrides(
    name: str, kind: Kind, decided: Mapping[str, OfferSettings], offers: Sequence[Offer]
) -> None:
    """Refuse settings for what the plugin does not have."""
    known = {offer.name for offer in offers}
    if unknown := sorted(decided.keys() - known):
        raise PluginError(
            name,
            f"{kind.settings}.{unknown[0]}: no such {kind.name}; "
            f"it has {', '.join(sorted(known)) or 'none'}",
        )


def observers(manager: pluggy.PluginManager) -> list[Observer]:
    """Return one observer per plugin that has the hook; one failing spares the others."""
    return [
        functools.partial(observe, hook_of(manager, hook.plugin_name, "mcpserve_tool_called"))
        for hook in manager.hook.mcpserve_tool_called.get_hookimpls()
    ]


def observe(tool_called: Callable[..., Any], call: ToolCall) -> None:
    """Tell one plugin of a call; hooks take their arguments by name."""
    tool_called(call=call)

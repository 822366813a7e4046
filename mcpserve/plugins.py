"""The plugin host: hookspecs, discovery, and what the configured plugins hand over.

Being named in the configuration is what loads a plugin; nothing else is imported.
"""

import asyncio
import functools
import inspect
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions
from typing import Any, NoReturn

import pluggy
from pydantic import BaseModel, ConfigDict, ValidationError

from mcpserve.errors import ConfigError, PluginError
from mcpserve.prompts import Prompt, prompt_from_function
from mcpserve.registry import (
    DEFAULT_TIMEOUT,
    Bound,
    Observer,
    Offered,
    PromptRegistry,
    Registry,
    ResourceRegistry,
    ToolCall,
    ToolRegistry,
)
from mcpserve.resources import Resource
from mcpserve.settings import OfferSettings, PluginSettings, ToolSettings, explain
from mcpserve.tools import CALL_SCOPE, Function, Offer, Tool, tool_from_function

logger = logging.getLogger(__name__)

PROJECT = "mcpserve"
"""Name of the pluggy project and of the entry-point group."""

hookimpl = pluggy.HookimplMarker(PROJECT)
hookspec = pluggy.HookspecMarker(PROJECT)

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Stricter than the protocol (128 and dots), because clients are."""


class NoConfig(BaseModel):
    """The config model of a plugin that declares none: ``config:`` must stay empty."""

    model_config = ConfigDict(extra="forbid")


class Hooks:
    """What a plugin may implement. Each hook may take fewer arguments than listed."""

    @hookspec(firstresult=True)
    def mcpserve_config(self) -> type[BaseModel] | None:
        """Return the pydantic model of ``config:``. Without it, ``config:`` must be empty."""

    @hookspec(firstresult=True)
    def mcpserve_tools(
        self, config: BaseModel, exit_stack: AsyncExitStack
    ) -> Iterable[Tool | Callable[..., Any]] | None:
        """Return this plugin's tools. May be ``async``. ``exit_stack`` is closed at shutdown."""

    @hookspec(firstresult=True)
    def mcpserve_resources(
        self, config: BaseModel, exit_stack: AsyncExitStack
    ) -> Iterable[Resource] | None:
        """Return this plugin's resources, made with ``@resource``. May be ``async``."""

    @hookspec(firstresult=True)
    def mcpserve_prompts(
        self, config: BaseModel, exit_stack: AsyncExitStack
    ) -> Iterable[Prompt | Callable[..., Any]] | None:
        """Return this plugin's prompts. May be ``async``."""

    @hookspec
    def mcpserve_tool_called(self, call: ToolCall) -> None:
        """Observe the end of a call of any tool. Must not block; an exception is logged."""


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


def make_manager() -> pluggy.PluginManager:
    """Return a manager that knows our hooks and no plugin."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    return manager


def register(manager: pluggy.PluginManager, name: str, plugin: object) -> None:
    """Register a plugin under its config name.

    Raises :class:`PluginError` if it implements a hook that does not exist, or wrongly.
    """
    try:
        manager.register(plugin, name)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        raise PluginError(name, " ".join(str(error).split())) from error


@dataclass(frozen=True)
class LoadedPlugins:
    """What the plugins offer, and the plugins that could not be had."""

    registry: Registry
    names: tuple[str, ...]
    skipped: Mapping[str, str]
    """Name to reason, of plugins with ``on_error: skip``."""
    models: Mapping[str, type[BaseModel]]
    """Name to the model of its ``config:``."""


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
    find = find or functools.partial(discover, available=installed())
    manager = make_manager()
    built: dict[tuple[str, str], Bound[Any]] = {}
    skipped: dict[str, str] = {}
    problems: list[PluginError] = []
    for name, settings in configured.items():
        try:
            async with AsyncExitStack() as own:
                register(manager, name, find(name))
                add(built, await build(manager, name, settings, own))
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
    models = {name: config_model(manager, name) for name in names}
    registry = Registry(
        ToolRegistry(of_kind(Tool, built), observers(manager)),
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
    """Do a plugin's clean-up; one that fails must not keep the others from theirs."""
    try:
        await resources.aclose()
    except Exception:
        logger.exception("plugin %s failed while closing", name)


async def build(
    manager: pluggy.PluginManager, name: str, settings: PluginSettings, exit_stack: AsyncExitStack
) -> list[Bound[Any]]:
    """Validate a plugin's config, ask it what it offers and apply what the operator decided.

    Raises :class:`PluginError` with the reason in one line.
    """
    config = plugin_config(manager, name, settings.config)
    slots = asyncio.Semaphore(settings.concurrency)
    bound = []
    for kind in KINDS:
        decided: Mapping[str, OfferSettings] = getattr(settings, kind.settings)
        offers = await handed_over(manager, name, kind, config=config, exit_stack=exit_stack)
        check_overrides(name, kind, decided, offers)
        for offer in offers:
            override = decided.get(offer.name, OfferSettings())
            if override.enabled:
                bound.append(bind(offer, name, settings, override, slots=slots))
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
    slots: asyncio.Semaphore,
) -> Bound[Offered]:
    """Apply the operator's decisions. Of timeouts the operator's wins; scopes only add up."""
    decided = override.timeout or plugin.timeout
    return Bound(
        offer=offer,
        plugin=name,
        scopes=frozenset({CALL_SCOPE, *offer.scopes, *plugin.scopes, *override.scopes}),
        timeout=decided.total_seconds() if decided else offer.timeout or DEFAULT_TIMEOUT,
        slots=slots,
        aliases=override.aliases if isinstance(override, ToolSettings) else (),
    )


def config_model(manager: pluggy.PluginManager, name: str) -> type[BaseModel]:
    """Return the pydantic model of the plugin's ``config:``."""
    model = call_hook(manager, name, "mcpserve_config") or NoConfig
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise PluginError(name, "mcpserve_config must return a pydantic model class")
    return model


def plugin_config(manager: pluggy.PluginManager, name: str, config: Mapping[str, Any]) -> BaseModel:
    """Return the plugin's ``config:`` as its own model."""
    try:
        return config_model(manager, name).model_validate(config)
    except ValidationError as error:
        # Not from error: a traceback would show the values, and they may be secrets.
        raise PluginError(name, "; ".join(explain(error, "config"))) from None


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
    except Exception as error:
        raise PluginError(name, f"{hook}: {reason(error)}") from error
    for offer in offers:
        if kind.type is not Resource and not NAME.fullmatch(offer.name):
            raise PluginError(
                name, f"{kind.name} name {offer.name!r} must be 1 to 64 of A-Z a-z 0-9 _ -"
            )
    for names in ([offer.name for offer in offers], [offer.key for offer in offers]):
        for twice in (key for key, count in Counter(names).items() if count > 1):
            raise PluginError(name, f"{kind.name} {twice!r} is there twice")
    return offers


def call_hook(manager: pluggy.PluginManager, name: str, hook: str, **arguments: Any) -> Any:
    """Call the hook of one plugin alone; ``None`` if it has no such hook."""
    try:
        return hook_of(manager, name, hook)(**arguments)
    except Exception as error:
        raise PluginError(name, f"{hook}: {reason(error)}") from error


def hook_of(manager: pluggy.PluginManager, name: str, hook: str) -> Callable[..., Any]:
    """Return the hook of one plugin alone."""
    others = [plugin for other, plugin in manager.list_name_plugin() if other != name]
    caller: Callable[..., Any] = manager.subset_hook_caller(hook, others)
    return caller


def reason(error: BaseException) -> str:
    """Tell an exception of a plugin in one line, without the values that a model refused."""
    if isinstance(error, ValidationError):
        return "; ".join(explain(error))
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


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

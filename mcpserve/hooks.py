"""The hooks: what a plugin may implement, and calling one of a single plugin.

Whatever a plugin raises becomes a :class:`PluginError` that names it.
"""

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pluggy
from pydantic import BaseModel, ConfigDict, ValidationError

from mcpserve.config_keys import config_schema, keys
from mcpserve.errors import PluginError
from mcpserve.prompts import Prompt
from mcpserve.registry import ToolCall
from mcpserve.resources import Resource
from mcpserve.settings import explain
from mcpserve.tools import Tool

logger = logging.getLogger(__name__)

PROJECT = "mcpserve"
"""Name of the pluggy project and of the entry-point group."""

MARK = f"{PROJECT}_impl"
"""What pluggy marks an implementation with."""

hookimpl = pluggy.HookimplMarker(PROJECT)
hookspec = pluggy.HookspecMarker(PROJECT)


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


def make_manager() -> pluggy.PluginManager:
    """Return a manager that knows our hooks and no plugin; each plugin has one of its own."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    return manager


def register(manager: pluggy.PluginManager, name: str, plugin: object) -> None:
    """Register a plugin under its config name.

    Raises :class:`PluginError` if it implements a hook that does not exist, or wrongly.
    """
    for hook in (hook for hook in vars(Hooks) if hook.startswith(PROJECT)):
        if callable(found := getattr(plugin, hook, None)) and not hasattr(found, MARK):
            raise PluginError(name, f"{hook} is not marked with @hookimpl, so it would do nothing")
    try:
        manager.register(plugin, name)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise PluginError(name, f"{problem}; the hooks are {signatures()}") from error


def signatures() -> str:
    """Return the hooks with the arguments that they may take."""
    hooks = {name: each for name, each in vars(Hooks).items() if name.startswith(PROJECT)}
    arguments = {name: list(inspect.signature(each).parameters)[1:] for name, each in hooks.items()}
    return ", ".join(f"{name}({', '.join(given)})" for name, given in arguments.items())


def call_hook(manager: pluggy.PluginManager, name: str, hook: str, **arguments: Any) -> Any:
    """Call a hook of the plugin that this manager knows; ``None`` if it has no such hook.

    An exit is its own, too: Ctrl-C does not come to the threads in which plugins are loaded.
    """
    try:
        return getattr(manager.hook, hook)(**arguments)
    except BaseException as error:
        raise PluginError(name, f"{hook}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Tell an exception of a plugin in one line, without the values that a model refused."""
    if isinstance(error, ValidationError):
        return "; ".join(explain(error))
    told = " ".join(str(error).split())
    return f"{type(error).__name__}: {told}" if told else type(error).__name__


def config_model(manager: pluggy.PluginManager, name: str) -> type[BaseModel]:
    """Return the pydantic model of the plugin's ``config:``."""
    model = call_hook(manager, name, "mcpserve_config") or NoConfig
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise PluginError(name, "mcpserve_config must return a pydantic model class")
    return model


def plugin_config(manager: pluggy.PluginManager, name: str, config: Mapping[str, Any]) -> BaseModel:
    """Return the plugin's ``config:`` as its own model."""
    model = config_model(manager, name)
    if model is NoConfig:
        warn_if_implemented(manager, name, "mcpserve_config")
    try:
        return model.model_validate(config)
    except ValidationError as error:
        known = {each.key: each.description for each in keys(config_schema(name, model) or {})}
        # Not from error: a traceback would show the values, and they may be secrets.
        told = explain(error, "config", known=known)
        raise PluginError(name, "; ".join(told)) from None


def warn_if_implemented(manager: pluggy.PluginManager, name: str, hook: str) -> None:
    """Tell of a hook that returned nothing: mostly a ``return`` was forgotten."""
    if getattr(manager.hook, hook).get_hookimpls():
        logger.warning("plugins.%s: %s returned nothing; is a `return` missing?", name, hook)

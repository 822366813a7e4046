"""The hooks: what a plugin may implement, and calling one of a single plugin.

Whatever a plugin raises becomes a :class:`PluginError` that names it.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pluggy
from pydantic import BaseModel, ConfigDict, ValidationError

from mcpserve.errors import PluginError
from mcpserve.prompts import Prompt
from mcpserve.registry import ToolCall
from mcpserve.resources import Resource
from mcpserve.settings import explain
from mcpserve.tools import Tool

PROJECT = "mcpserve"
"""Name of the pluggy project and of the entry-point group."""

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


def call_hook(manager: pluggy.PluginManager, name: str, hook: str, **arguments: Any) -> Any:
    """Call the hook of one plugin alone; ``None`` if it has no such hook."""
    try:
        return hook_of(manager, name, hook)(**arguments)
    except (Exception, SystemExit) as error:
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

"""For authors of plugins: call tools without installation, server, database or token.

Works through the same code as the server: the same validation, timeouts and error mapping.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from mcp_types import CallToolResult

from mcpserve import plugins
from mcpserve.errors import PluginError
from mcpserve.principal import Principal
from mcpserve.registry import ToolCall, ToolRegistry
from mcpserve.settings import PluginSettings
from mcpserve.tools import CALL_SCOPE, ToolContext

__all__ = ["LoadedPlugin", "PluginError", "load_plugin"]


class LoadedPlugin:
    """A plugin that is ready to be called."""

    def __init__(self, registry: ToolRegistry, calls: Sequence[ToolCall]) -> None:
        self.tools = registry
        """The plugin's tools, as the server would hold them."""
        self.calls = calls
        """What the hook ``mcpserve_tool_called`` would have seen, oldest first."""
        self.progress: list[tuple[float, float | None, str | None]] = []
        """Every progress report, oldest first."""

    async def call(self, name: str, /, **arguments: Any) -> CallToolResult:
        """Call a tool as a client would, with all scopes that the plugin's tools need.

        A failure inside the tool is a result with ``is_error``. Raises
        :class:`~mcpserve.registry.UnknownTool` for a name that the plugin does not have.
        """
        principal = Principal("test-client", "test-user", self.tools.scopes | {CALL_SCOPE})
        context = ToolContext(principal, self._record)
        return await self.tools.call(name, arguments, context)

    async def _record(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        self.progress.append((progress, total, message))


@asynccontextmanager
async def load_plugin(
    plugin: object, config: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[LoadedPlugin]:
    """Load a plugin (a module or any object with hooks) with this ``config:``.

    ``settings`` are the host's keys beside ``config:``, such as ``timeout`` or ``tools``.
    Raises :class:`~mcpserve.errors.PluginError` where the server would refuse to start.
    """
    name = getattr(plugin, "__name__", type(plugin).__name__).removeprefix("mcpserve_")
    chosen = {name: PluginSettings(config=dict(config or {}), **settings)}
    async with AsyncExitStack() as exit_stack:
        loaded = await plugins.load(chosen, exit_stack, lambda _: plugin)
        calls: list[ToolCall] = []
        yield LoadedPlugin(loaded.registry.observed_by(calls.append), calls)

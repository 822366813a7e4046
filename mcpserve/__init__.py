"""What the author of a plugin imports. Everything else in this package is private to the server."""

from mcpserve.plugins import hookimpl
from mcpserve.principal import Principal
from mcpserve.tools import Tool, ToolAnnotations, ToolCall, ToolContext, ToolError, tool
from mcpserve.version import __version__

__all__ = [
    "Principal",
    "Tool",
    "ToolAnnotations",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "__version__",
    "hookimpl",
    "tool",
]

"""What the author of a plugin imports. Everything else in this package is private to the server."""

from mcp_types import CallToolResult, TextContent

from mcpserve.plugins import hookimpl
from mcpserve.principal import Principal
from mcpserve.registry import ToolCall
from mcpserve.tools import Tool, ToolAnnotations, ToolContext, ToolError, tool
from mcpserve.version import __version__

__all__ = [
    "CallToolResult",
    "Principal",
    "TextContent",
    "Tool",
    "ToolAnnotations",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "__version__",
    "hookimpl",
    "tool",
]

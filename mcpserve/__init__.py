"""What the author of a plugin imports. Everything else in this package is private to the server."""

from mcp_types import (
    Annotations,
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    Icon,
    ImageContent,
    PromptMessage,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from mcpserve.hooks import hookimpl
from mcpserve.principal import Principal
from mcpserve.prompts import Prompt, prompt
from mcpserve.questions import Answer
from mcpserve.registry import ToolCall
from mcpserve.resources import Resource, ResourceNotFound, resource
from mcpserve.tools import Tool, ToolAnnotations, ToolContext, ToolError, tool
from mcpserve.version import __version__

__all__ = [
    "Annotations",
    "Answer",
    "AudioContent",
    "BlobResourceContents",
    "CallToolResult",
    "EmbeddedResource",
    "Icon",
    "ImageContent",
    "Principal",
    "Prompt",
    "PromptMessage",
    "Resource",
    "ResourceLink",
    "ResourceNotFound",
    "TextContent",
    "TextResourceContents",
    "Tool",
    "ToolAnnotations",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "__version__",
    "hookimpl",
    "prompt",
    "resource",
    "tool",
]

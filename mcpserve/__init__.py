"""What the author of a plugin imports, beside ``mcpserve.testing`` and ``mcpserve.fetch``.

Everything else in this package is private to the server.
"""

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

from mcpserve.apps import app_page, shown_on
from mcpserve.hooks import hookimpl
from mcpserve.principal import Principal, User
from mcpserve.prompts import Prompt, prompt
from mcpserve.questions import Answer
from mcpserve.registry import ToolCall
from mcpserve.research import Document, SearchResult, SearchResults
from mcpserve.resources import Resource, ResourceNotFound, resource
from mcpserve.tools import Tool, ToolAnnotations, ToolContext, ToolError, tool
from mcpserve.version import __version__

__all__ = [
    "Annotations",
    "Answer",
    "AudioContent",
    "BlobResourceContents",
    "CallToolResult",
    "Document",
    "EmbeddedResource",
    "Icon",
    "ImageContent",
    "Principal",
    "Prompt",
    "PromptMessage",
    "Resource",
    "ResourceLink",
    "ResourceNotFound",
    "SearchResult",
    "SearchResults",
    "TextContent",
    "TextResourceContents",
    "Tool",
    "ToolAnnotations",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "User",
    "__version__",
    "app_page",
    "hookimpl",
    "prompt",
    "resource",
    "shown_on",
    "tool",
]

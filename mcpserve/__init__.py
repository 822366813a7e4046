"""What the author of a plugin imports, beside ``mcpserve.testing`` and ``mcpserve.fetch``.

Everything else in this package is private to the server. Each name is imported when it is wanted:
a command that needs no plugins does not wait for the SDK.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mcpserve.version import __version__

if TYPE_CHECKING:
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

HOMES = {
    "Answer": "mcpserve.questions",
    "Document": "mcpserve.research",
    "Principal": "mcpserve.principal",
    "Prompt": "mcpserve.prompts",
    "Resource": "mcpserve.resources",
    "ResourceNotFound": "mcpserve.resources",
    "SearchResult": "mcpserve.research",
    "SearchResults": "mcpserve.research",
    "Tool": "mcpserve.tools",
    "ToolAnnotations": "mcpserve.tools",
    "ToolCall": "mcpserve.registry",
    "ToolContext": "mcpserve.tools",
    "ToolError": "mcpserve.tools",
    "User": "mcpserve.principal",
    "app_page": "mcpserve.apps",
    "hookimpl": "mcpserve.hooks",
    "prompt": "mcpserve.prompts",
    "resource": "mcpserve.resources",
    "shown_on": "mcpserve.apps",
    "tool": "mcpserve.tools",
}
"""Where each name is from; the others are of the protocol's types."""

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


def __getattr__(name: str) -> Any:
    """Import a name (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(HOMES.get(name, "mcp_types")), name)
    return value


def __dir__() -> list[str]:
    """Return what there is to import."""
    return sorted({*globals(), *__all__})

"""A plugin with everything that one can offer: notes in folders."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel

from mcpserve import (
    Annotations,
    EmbeddedResource,
    ImageContent,
    PromptMessage,
    ResourceLink,
    ResourceNotFound,
    TextContent,
    TextResourceContents,
    ToolContext,
    hookimpl,
    prompt,
    resource,
)

PIXEL = b"\x89PNG\r\n"


class Config(BaseModel, extra="forbid"):
    """What may be configured."""

    notes: dict[str, str] = {"work/plan": "Rest.", "home/list": "Milk.", "home/song": "La."}


@hookimpl
def mcpserve_config():
    """See the hook."""
    return Config


@hookimpl
def mcpserve_tools(config):
    """See the hook."""

    def find(text: str) -> list[TextContent | ResourceLink | ImageContent]:
        """Find notes."""
        links = [
            ResourceLink(uri=f"note://{key}", name=key)
            for key, note in config.notes.items()
            if text in note
        ]
        return [TextContent(text=f"{len(links)} found"), *links]

    return [find]


@hookimpl
async def mcpserve_resources(config, exit_stack):
    """See the hook."""

    @resource("note://{folder}/{name}", title="Note", mime_type="text/markdown")
    async def note(folder: str, name: str, ctx: ToolContext) -> str:
        """A note."""
        await ctx.progress(1, 1, "found")
        key = f"{folder}/{name}"
        if key not in config.notes:
            raise ResourceNotFound("no such note")
        return config.notes[key]

    @note.completes("folder")
    def folders(value: str, others: Mapping[str, str]) -> list[str]:
        """Complete a folder."""
        known = dict.fromkeys(key.partition("/")[0] for key in config.notes)
        return [folder for folder in known if folder.startswith(value)]

    @note.completes("name")
    async def names(value: str, others: Mapping[str, str]) -> list[str]:
        """Complete a name in a folder that is known already."""
        keys = (key.partition("/") for key in config.notes)
        return [name for folder, _, name in keys if folder == others.get("folder")]

    @resource("note://index", annotations=Annotations(audience=["assistant"]), size=3)
    def index() -> dict[str, int]:
        """How long each note is."""
        return {key: len(note) for key, note in config.notes.items()}

    @resource("note://logo", mime_type="image/png")
    def logo() -> bytes:
        """A picture."""
        return PIXEL

    @resource("note://diary", scopes=["diary"])
    def diary() -> str:
        """For few."""
        return "Dear diary"

    return [note, index, logo, diary]


@hookimpl
def mcpserve_prompts(config):
    """See the hook."""

    def summarize(folder: str, style: Literal["short", "long"] = "short") -> str:
        """Summarize a folder."""
        return f"Write a {style} summary of {folder}."

    @prompt(scopes=["diary"], title="Discuss")
    async def discuss(name: str, ctx: ToolContext) -> list[PromptMessage | EmbeddedResource]:
        """Discuss the diary."""
        page = TextResourceContents(uri="note://diary", text=f"Dear {ctx.principal.client_id}")
        return [
            PromptMessage(role="user", content=TextContent(text=f"I am {name}.")),
            PromptMessage(role="assistant", content=TextContent(text="Hello.")),
            EmbeddedResource(resource=page),
        ]

    return [summarize, discuss]

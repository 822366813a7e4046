"""What a worker offers, as the server holds it: looks the same, and is called over there."""

import functools
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import mcp_types
from mcp.server.mcpserver.utilities.func_metadata import func_metadata
from mcp_types import CallToolResult, GetPromptResult, ReadResourceResult
from pydantic.fields import FieldInfo

from mcpserve.completion import Completer
from mcpserve.config_keys import Schema
from mcpserve.isolation.host import Host
from mcpserve.isolation.wire import REQUESTED, Offered, Start
from mcpserve.prompts import Prompt
from mcpserve.registry import Observer
from mcpserve.resources import Resource
from mcpserve.tools import Offer, Tool, ToolContext, WrongArguments


@dataclass(frozen=True, kw_only=True)
class Remote(Offer):
    """What a worker offers. It checks arguments and results itself."""

    offered: Offered
    host: Host

    @functools.cached_property
    def arguments(self) -> Mapping[str, FieldInfo]:
        """See :class:`Offer`. Their types are known to the worker only."""
        return {name: FieldInfo() for name in self.offered.arguments}

    def keywords(self, arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
        """See :class:`Offer`."""
        return {"arguments": arguments, "context": context}

    @property
    def is_completed(self) -> bool:
        """See :class:`~mcpserve.completion.Completable`."""
        return self.offered.is_completed

    def completer(self, argument: str) -> Completer:
        """See :class:`~mcpserve.completion.Completable`."""
        if argument not in self.offered.arguments:
            raise WrongArguments(f"{self.name}: {argument}: no such argument")

        async def complete(value: str, others: Mapping[str, str]) -> Sequence[str]:
            given = {"argument": argument, "value": value, "others": others}
            values: Sequence[str] = await self.host.call(self.offered, given, None, do="complete")
            return values

        return complete


@dataclass(frozen=True, kw_only=True)
class RemoteTool(Remote, Tool):
    """A tool of a worker."""

    @functools.cached_property
    def input_schema(self) -> dict[str, Any]:
        """See :class:`Tool`."""
        return self.offered.input_schema or {}

    @functools.cached_property
    def definition(self) -> mcp_types.Tool:
        """See :class:`Tool`."""
        return mcp_types.Tool.model_validate(self.offered.definition)

    def result(self, value: Any) -> CallToolResult:
        """See :class:`Tool`."""
        return CallToolResult.model_validate(value)


@dataclass(frozen=True, kw_only=True)
class RemoteResource(Remote, Resource):
    """A resource of a worker."""

    def result(self, value: Any, *, uri: str) -> ReadResourceResult:
        """See :class:`Resource`."""
        result = ReadResourceResult.model_validate(value)
        contents = [
            content.model_copy(update={"uri": uri}) if content.uri == REQUESTED else content
            for content in result.contents
        ]
        return result.model_copy(update={"contents": contents})


@dataclass(frozen=True, kw_only=True)
class RemotePrompt(Remote, Prompt):
    """A prompt of a worker."""

    @functools.cached_property
    def definition(self) -> mcp_types.Prompt:
        """See :class:`Prompt`."""
        return mcp_types.Prompt.model_validate(self.offered.definition)

    def result(self, value: Any) -> GetPromptResult:
        """See :class:`Prompt`."""
        return GetPromptResult.model_validate(value)


class Kind(Protocol):
    """One kind of what plugins offer."""

    @property
    def name(self) -> str:
        """A word for one of them."""


@dataclass(frozen=True)
class Isolated:
    """A plugin that was loaded in a worker."""

    offers: Sequence[Offer]
    observers: Sequence[Observer]
    config_schema: Schema | None

    async def handed_over(self, kind: Kind) -> list[Offer]:
        """Return what it offers of one kind."""
        return [offer for offer in self.offers if offer.kind == kind.name]


async def isolated(start: Start, exit_stack: AsyncExitStack) -> Isolated:
    """Start a worker, until the stack is closed.

    Raises :class:`~mcpserve.errors.PluginError`.
    """
    host = Host(start)
    exit_stack.push_async_callback(host.close)
    ready = await host.open()
    offers = [remote(host, offered) for offered in ready.offers]
    return Isolated(offers, [host.observe] if ready.observes else [], ready.config_schema)


def remote(host: Host, offered: Offered) -> Offer:
    """Return what the server holds of it."""

    async def function(arguments: Mapping[str, Any], context: ToolContext) -> Any:
        return await host.call(offered, arguments, context)

    definition = offered.definition
    common: dict[str, Any] = {
        "name": offered.name,
        "function": function,
        "metadata": func_metadata(nothing, structured_output=False),
        "title": definition.get("title"),
        "description": definition.get("description"),
        "meta": definition.get("_meta"),
        "scopes": offered.scopes,
        "timeout": offered.timeout,
        "is_async": True,
        "offered": offered,
        "host": host,
    }
    if offered.kind == Prompt.kind:
        return RemotePrompt(**common)
    if offered.kind == Tool.kind:
        told = mcp_types.Tool.model_validate(definition)
        return RemoteTool(**common, annotations=told.annotations, icons=told.icons)
    annotations = definition.get("annotations")
    return RemoteResource(
        **common,
        uri=offered.uri or "",
        mime_type=offered.mime_type,
        size=definition.get("size"),
        icons=[mcp_types.Icon.model_validate(icon) for icon in definition.get("icons", ())] or None,
        annotations=mcp_types.Annotations.model_validate(annotations) if annotations else None,
    )


def nothing() -> None:
    """Stand for a function that is elsewhere."""

"""Our handlers of the methods about resources, prompts and the completion of their arguments."""

import contextlib
from collections.abc import Iterator
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    GetPromptRequestParams,
    GetPromptResult,
    InputRequiredResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    PromptReference,
    ReadResourceRequestParams,
    ReadResourceResult,
    ResourceTemplateReference,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcpserve.bound import Bound, CallFailed
from mcpserve.errors import InsufficientScope
from mcpserve.protocol.dispatch import Call, caller, tool_context
from mcpserve.protocol.pages import page
from mcpserve.protocol.rounds import Rounds
from mcpserve.registry import Registry, Unknown, UnknownResource
from mcpserve.tools import ToolError, WrongArguments

RESOURCE_NOT_FOUND = -32002
"""Up to 2025-11-25; then it became one of the invalid parameters."""

MAX_COMPLETIONS = 100
"""As many values as one answer may hold (MCP 2026-07-28, completion)."""

Context = ServerRequestContext[Any, Call]


class OfferHandlers:
    """Serves resources and prompts, as far as there are any."""

    def __init__(self, registry: Registry, rounds: Rounds) -> None:
        self._registry = registry
        self._rounds = rounds

    @property
    def served(self) -> dict[str, Any]:
        """Return what the SDK's server is given; it declares what it has handlers for."""
        registry = self._registry
        completed = any(b.offer.is_completed for b in (*registry.resources, *registry.prompts))
        resources = {
            "on_list_resources": self._list_resources,
            "on_list_resource_templates": self._list_templates,
            "on_read_resource": self._read_resource,
        }
        prompts = {"on_list_prompts": self._list_prompts, "on_get_prompt": self._get_prompt}
        return {
            **(resources if registry.resources else {}),
            **(prompts if registry.prompts else {}),
            **({"on_completion": self._complete} if completed else {}),
        }

    async def _list_resources(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        shown, cursor = page(self._registry.resources.plain, context, params)
        return ListResourcesResult(resources=shown, next_cursor=cursor)

    async def _list_templates(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        shown, cursor = page(self._registry.resources.templates, context, params)
        return ListResourceTemplatesResult(resource_templates=shown, next_cursor=cursor)

    async def _read_resource(
        self, context: Context, params: ReadResourceRequestParams
    ) -> ReadResourceResult | InputRequiredResult:
        read = self._registry.resources.read
        with told():
            try:
                return await self._rounds.serve(
                    context,
                    params,
                    lambda interview: read(params.uri, tool_context(context, interview)),
                    target=params.uri,
                )
            except UnknownResource as error:
                modern = context.protocol_version in MODERN_PROTOCOL_VERSIONS
                code = INVALID_PARAMS if modern else RESOURCE_NOT_FOUND
                raise MCPError(code, str(error), {"uri": params.uri}) from error

    async def _list_prompts(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListPromptsResult:
        shown, cursor = page(list(self._registry.prompts), context, params)
        return ListPromptsResult(prompts=shown, next_cursor=cursor)

    async def _get_prompt(
        self, context: Context, params: GetPromptRequestParams
    ) -> GetPromptResult | InputRequiredResult:
        arguments = params.arguments or {}
        render = self._registry.prompts.render
        with told():
            return await self._rounds.serve(
                context,
                params,
                lambda interview: render(params.name, arguments, tool_context(context, interview)),
                target=params.name,
                arguments=arguments,
            )

    async def _complete(self, context: Context, params: CompleteRequestParams) -> CompleteResult:
        others = (params.context and params.context.arguments) or {}
        argument = params.argument
        with told():
            bound = self._referred(params.ref, caller(context).principal.scopes)
            values = await bound.complete(argument.name, argument.value, others)
        completion = Completion(
            values=values[:MAX_COMPLETIONS],
            total=len(values),
            has_more=len(values) > MAX_COMPLETIONS,
        )
        return CompleteResult(completion=completion)

    def _referred(
        self, reference: PromptReference | ResourceTemplateReference, scopes: frozenset[str]
    ) -> Bound[Any]:
        if isinstance(reference, PromptReference):
            return self._registry.prompts.require(reference.name, scopes)
        return self._registry.resources.require(reference.uri, scopes)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Tell the client what goes wrong in the block, as an error of the protocol."""
    try:
        yield
    except (Unknown, WrongArguments, InsufficientScope) as error:
        raise MCPError(INVALID_PARAMS, str(error)) from error
    except (ToolError, CallFailed) as error:
        raise MCPError(INTERNAL_ERROR, str(error)) from error

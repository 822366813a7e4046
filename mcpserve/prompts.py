"""Prompts as their authors write them: a function that returns messages."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, overload

import mcp_types
from mcp_types import ContentBlock, GetPromptResult, Icon, PromptMessage, TextContent

from mcpserve.completion import Completable
from mcpserve.tools import Function, describe

__all__ = ["Prompt", "prompt"]

CONTENT = get_args(ContentBlock)


@dataclass(frozen=True, kw_only=True)
class Prompt(Completable):
    """A prompt as its author wrote it."""

    kind = "prompt"

    @functools.cached_property
    def definition(self) -> mcp_types.Prompt:
        """The prompt as ``prompts/list`` shows it."""
        arguments = [
            mcp_types.PromptArgument(
                name=name,
                title=given.title,
                description=given.description,
                required=given.is_required(),
            )
            for name, given in self.arguments.items()
        ]
        return mcp_types.Prompt(**self.told, arguments=arguments)

    def result(self, value: Any) -> GetPromptResult:
        """Make messages of what the function returned: text, content, messages, or a list."""
        items = value if isinstance(value, list | tuple) else [value]
        return GetPromptResult(
            description=self.description, messages=[message(item) for item in items]
        )


def message(item: Any) -> PromptMessage:
    """Return a message; what is none yet is what the user says."""
    if isinstance(item, PromptMessage):
        return item
    if isinstance(item, str):
        item = TextContent(text=item)
    if not isinstance(item, CONTENT):
        raise TypeError(f"a prompt cannot return {type(item).__name__}")
    return PromptMessage(role="user", content=item)


@overload
def prompt(function: Function, /) -> Prompt: ...
@overload
def prompt(
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    scopes: Sequence[str] = (),
    timeout: float | None = None,
    icons: Sequence[Icon] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Callable[[Function], Prompt]: ...
def prompt(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    scopes: Sequence[str] = (),
    timeout: float | None = None,
    icons: Sequence[Icon] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Prompt | Callable[[Function], Prompt]:
    """Make a :class:`Prompt` of a function, plain or ``async``.

    Its parameters are the arguments; they arrive as text and are converted to what the
    annotations say. ``timeout`` is in seconds.

    Raises :class:`TypeError` or :class:`ValueError` for a function that no client could call.
    """
    make = functools.partial(
        prompt_from_function,
        name=name,
        title=title,
        description=description,
        scopes=scopes,
        timeout=timeout,
        icons=icons,
        meta=meta,
    )
    return make if function is None else make(function)


def prompt_from_function(function: Function, **told: Any) -> Prompt:
    """See :func:`prompt`."""
    return Prompt(**describe(Prompt.kind, function, structured_output=False, **told))

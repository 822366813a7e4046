"""What the consent page shows of a scope: its text, and the tools that it opens."""

from collections.abc import Iterable
from dataclasses import dataclass

from mcpserve.bound import Bound
from mcpserve.oauth.scopes import Scopes
from mcpserve.text import clean
from mcpserve.tools import CALL_SCOPE, Tool


@dataclass(frozen=True)
class ShownTool:
    """A tool by its title, and the most that it may do, by what its author says of it."""

    title: str
    effect: str
    """``read-only``, ``destructive``, or ``writes`` for what is in between."""


@dataclass(frozen=True)
class ShownScope:
    """One line of the question."""

    name: str
    text: str
    tools: list[ShownTool]


def shown(asked: frozenset[str], scopes: Scopes, tools: Iterable[Bound[Tool]]) -> list[ShownScope]:
    """Return what is asked for, each with the tools behind it that could then be called.

    A tool with scopes of its own stands below these, not below the one that all tools need.
    """
    usable = [bound for bound in tools if bound.scopes <= scopes.effective(asked)]
    return [
        ShownScope(
            scope,
            scopes.texts.get(scope, scope),
            [
                shown_tool(bound.offer)
                for bound in usable
                if scopes.effective(frozenset({scope})) & (own(bound) or {CALL_SCOPE})
            ],
        )
        for scope in sorted(asked)
    ]


def own(bound: Bound[Tool]) -> frozenset[str]:
    """Return the scopes that this tool needs and not every one."""
    return bound.scopes - {CALL_SCOPE}


def shown_tool(tool: Tool) -> ShownTool:
    """Return what the page shows of a tool."""
    hints = tool.hints
    effect = "destructive" if hints.destructive_hint else "writes"
    return ShownTool(
        clean(tool.title or hints.title or tool.name),
        "read-only" if hints.read_only_hint else effect,
    )

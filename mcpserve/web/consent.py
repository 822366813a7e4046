"""What pages show of scopes: their texts, and the tools that they open, each with a box to tick."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from mcpserve.bound import Bound
from mcpserve.oauth.scopes import Scopes
from mcpserve.text import clean
from mcpserve.tools import CALL_SCOPE, Tool


@dataclass(frozen=True)
class ShownTool:
    """A tool by its title, and the most that it may do, by what its author says of it."""

    names: tuple[str, ...]
    """Everything that it may be called by; the box has the first."""
    title: str
    effect: str
    """``read-only``, ``destructive``, or ``writes`` for what is in between."""
    allowed: bool
    repeated: bool
    """Whether its box stands below an earlier scope already."""


@dataclass(frozen=True)
class ShownScope:
    """One line of the question."""

    name: str
    text: str
    tools: tuple[ShownTool, ...]

    @property
    def destructive(self) -> int:
        """How many of its tools may destroy something."""
        return sum(tool.effect == "destructive" for tool in self.tools)

    @property
    def withheld(self) -> int:
        """How many of its tools are not allowed."""
        return sum(not tool.allowed for tool in self.tools)


def shown(
    asked: frozenset[str],
    scopes: Scopes,
    tools: Iterable[Bound[Tool]],
    withheld: frozenset[str],
) -> tuple[ShownScope, ...]:
    """Return what is asked for, each with the tools behind it that could then be called.

    A tool with scopes of its own stands below these, not below the one that all tools need; an open
    one stands nowhere, because nothing of it is granted. Its ``repr`` tells one page from another.
    """
    granted = scopes.effective(asked)
    usable = [bound for bound in tools if not bound.is_open and bound.scopes <= granted]
    lines: list[ShownScope] = []
    for scope in sorted(asked):
        opened = scopes.effective(frozenset({scope}))
        above = {tool.names for line in lines for tool in line.tools}
        below = (bound for bound in usable if opened & (own(bound) or {CALL_SCOPE}))
        lines.append(
            ShownScope(
                scope,
                scopes.texts.get(scope, scope),
                tuple(
                    shown_tool(bound, withheld, repeated=bound.names in above) for bound in below
                ),
            )
        )
    return tuple(lines)


def own(bound: Bound[Tool]) -> frozenset[str]:
    """Return the scopes that this tool needs and not every one."""
    return bound.scopes - {CALL_SCOPE}


def shown_tool(bound: Bound[Tool], withheld: frozenset[str], *, repeated: bool) -> ShownTool:
    """Return what a page shows of a tool."""
    tool, hints = bound.offer, bound.offer.hints
    effect = "destructive" if hints.destructive_hint else "writes"
    return ShownTool(
        bound.names,
        clean(tool.title or hints.title or tool.name),
        "read-only" if hints.read_only_hint else effect,
        allowed=withheld.isdisjoint(bound.names),
        repeated=repeated,
    )


def decided(
    lines: Iterable[ShownScope], ticked: Collection[str], before: frozenset[str]
) -> frozenset[str]:
    """Return the names of the tools that are withheld from now on, by every name they have.

    What was not shown stays as it was ``before``, whatever is ticked.
    """
    tools = [tool for line in lines for tool in line.tools]
    allowed = {name for tool in tools if tool.names[0] in ticked for name in tool.names}
    refused = {name for tool in tools if tool.names[0] not in ticked for name in tool.names}
    return (before - allowed) | refused

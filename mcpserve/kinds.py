"""The kinds of what plugins offer: how each is called, and what makes one of a function."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from mcpserve.prompts import Prompt, prompt_from_function
from mcpserve.resources import Resource
from mcpserve.tools import Function, Offer, Tool, tool_from_function


def refuse_function(function: Function) -> NoReturn:
    """Refuse what does not say its URI."""
    raise TypeError(f"{function!r} is not made with @resource")


@dataclass(frozen=True)
class Kind:
    """One kind of what plugins offer."""

    type: type[Offer]
    settings: str
    """The key of the operator's decisions; the hook is called like it."""
    of_function: Callable[[Function], Offer]

    @property
    def name(self) -> str:
        """A word for one of them."""
        return self.type.kind

    def offers(self, handed: Iterable[Any] | None) -> list[Offer]:
        """Return what a hook handed over. Runs code of the plugin, and raises what that raises."""
        return [
            item if isinstance(item, self.type) else self.of_function(item) for item in handed or ()
        ]


KINDS = (
    Kind(Tool, "tools", tool_from_function),
    Kind(Resource, "resources", refuse_function),
    Kind(Prompt, "prompts", prompt_from_function),
)

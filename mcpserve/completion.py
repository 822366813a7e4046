"""Arguments that are text, as those of resources and prompts are, and how they may go on."""

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal, Self, TypeVar, get_args, get_origin

from mcpserve.tools import Offer, WrongArguments, begins_with_self

Completer = Callable[[str, Mapping[str, str]], Sequence[str] | Awaitable[Sequence[str]]]
"""Gets what has been typed, and the other arguments by name."""

SomeCompleter = TypeVar("SomeCompleter", bound=Completer)


@dataclass(frozen=True, kw_only=True)
class Completable(Offer):
    """An offer whose arguments are text."""

    completers: dict[str, Completer] = field(default_factory=dict, repr=False, compare=False)

    def __get__(self, instance: object | None, owner: type | None = None) -> Self:
        """See :class:`Offer`; what completes its arguments may be a method of the object, too."""
        bound = super().__get__(instance, owner)
        if bound is self:
            return self
        completers = {name: of_object(made, instance) for name, made in self.completers.items()}
        return replace(bound, completers=completers)

    def completes(self, argument: str) -> Callable[[SomeCompleter], SomeCompleter]:
        """Let the decorated function, plain or ``async``, say how this argument may go on.

        It gets what has been typed and the other arguments by name, and returns a list, the best
        first. Raises :class:`ValueError` for an argument that does not exist or has one already.
        """
        if argument not in self.arguments or argument in self.completers:
            problem = "is completed already" if argument in self.arguments else "does not exist"
            raise ValueError(f"{self.kind} {self.name!r}: argument {argument!r} {problem}")

        def register(completer: SomeCompleter) -> SomeCompleter:
            if not takes_two(completer):
                raise TypeError(
                    f"{self.kind} {self.name!r}: what completes {argument!r} must take two "
                    "arguments: what has been typed, and the other arguments by name"
                )
            self.completers[argument] = completer
            return completer

        return register

    @property
    def is_completed(self) -> bool:
        """Whether there is anything to say about any of its arguments."""
        return bool(self.completers) or any(
            choices(given.annotation) for given in self.arguments.values()
        )

    def completer(self, argument: str) -> Completer:
        """Return the author's function, or one that knows the choices that the type leaves.

        Raises :class:`WrongArguments` for an argument that does not exist.
        """
        if argument not in self.arguments:
            raise WrongArguments(f"{self.name}: {argument}: no such argument")
        if argument in self.completers:
            return self.completers[argument]
        known = choices(self.arguments[argument].annotation)

        async def begin_so(value: str, others: Mapping[str, str]) -> Sequence[str]:
            folded = value.casefold()
            return [choice for choice in known if choice.casefold().startswith(folded)]

        return begin_so

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See :class:`Offer`. What looks like JSON is text all the same."""
        return self.metadata.arg_model.model_validate(dict(arguments)).model_dump_one_level()


def takes_two(completer: Callable[..., Any]) -> bool:
    """Whether it can be called with two arguments, beside the ``self`` that it may lack."""
    signature = inspect.signature(completer)
    lacking = begins_with_self(list(signature.parameters.values()))
    try:
        signature.bind(*[None] * (2 + lacking))
    except TypeError:
        return False
    return True


def of_object(completer: Callable[..., Any], instance: object) -> Completer:
    """Return a completer that no longer lacks its ``self``."""
    if not begins_with_self(list(inspect.signature(completer).parameters.values())):
        return completer
    return functools.partial(completer, instance)


def choices(annotation: Any) -> list[str]:
    """Return the texts to which a type limits an argument; none if it does not."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [member.value for member in annotation if isinstance(member.value, str)]
    if get_origin(annotation) is Literal:
        return [value for value in get_args(annotation) if isinstance(value, str)]
    return [choice for part in get_args(annotation) for choice in choices(part)]

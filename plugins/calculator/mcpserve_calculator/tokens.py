"""From text to numbers, names and operators; whatever else there is is refused."""

import re
from dataclasses import dataclass

from mcpserve import ToolError

TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<grouped>[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?)
    | (?P<number>(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?)
    | (?P<name>[lL]\ ?/\ ?100\ ?km\b|°[CF]\b|°|[µμ]?[A-Za-z_][A-Za-z0-9_]*)
    | (?P<greek>[πτ])
    | (?P<power>[²³])
    | (?P<operator>\*\*|//|[-+*/%,()\[\]^×·⋅÷−–])
    """,
    re.VERBOSE,
)

HINTS = {
    "!": "write factorial(n)",
    "√": "write sqrt(x)",
    "=": "give the expression alone, without =",
    "<": "comparisons are not supported",
    ">": "comparisons are not supported",
    **dict.fromkeys("$€£¥", "currencies are not supported: write plain numbers"),
}
"""What to write instead of a character that is not understood."""


@dataclass(frozen=True)
class Token:
    """A number, name or operator, and where it stands."""

    kind: str
    text: str
    position: int
    space: bool
    """Whether there is space before it."""


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text. Raises :class:`ToolError` for what is none."""
    found: list[Token] = []
    arguments: list[bool] = []  # Of each open bracket: do its commas separate arguments?
    position, space = 0, False
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise ToolError(not_arithmetic(text[position], position))
        word, kind = match.group(), match.lastgroup or ""
        before = found[-1].kind if found else ""
        match kind:
            case "space":
                position, space = match.end(), True
                continue
            case "grouped":
                word = ungroup(word, inside_arguments=bool(arguments) and arguments[-1])
                kind = "number"
            case "number":
                word = re.sub(r"^0+(?=[0-9])", "", word)
            case "name":
                word = re.sub("^[µμ]", "u", word)
                word = "L/100km" if "/" in word else word
            case "greek":
                word, kind = {"π": "pi", "τ": "tau"}[word], "name"
            case "power":
                found.append(Token("operator", "^", position, space))
                word, kind = {"²": "2", "³": "3"}[word], "number"
            case "operator" if word in "([":
                arguments.append(word == "[" or before == "name")
            case "operator" if word in ")]":
                del arguments[-1:]
        found.append(Token(kind, word, position, space))
        position, space = match.end(), False
    return found


def ungroup(number: str, *, inside_arguments: bool) -> str:
    """Return a number without its thousands separators, unless it may mean something else."""
    joined = number.replace(",", "")
    if inside_arguments:
        raise ToolError(
            f"{number} may be one number or several arguments: write {joined} for one number, "
            "or a space after each comma"
        )
    if number.count(",") == 1 and "." not in number:
        raise ToolError(
            f"{number} may be {joined} or {number.replace(',', '.')}: write which one it is, "
            "without a thousands separator"
        )
    return joined


def not_arithmetic(character: str, position: int) -> str:
    """Say what a character should have been."""
    hint = HINTS.get(character, "use numbers, + - * / // mod ^ %, units, parentheses and functions")
    return f"not arithmetic: {character!r} (character {position + 1}); {hint}"

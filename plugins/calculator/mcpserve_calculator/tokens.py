"""From text to numbers, names and operators; whatever else there is is refused."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mcpserve import ToolError

# Each alternative is left at its first failure or after one step back: time is linear.
TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<grouped>[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?)
    | (?P<number>(?:[0-9]+(?:_[0-9]+)*(?:\.(?:[0-9]+(?:_[0-9]+)*)?)?|\.[0-9]+(?:_[0-9]+)*)
        (?:[eE][+-]?[0-9]+)?)
    | (?P<words>(?:[sS]quare|sq|[cC]ubic|cu)\ [A-Za-z]+
        | (?:fl\ oz|[fF]luid\ ounces?|[nN]autical\ miles?|[lL]ight\ years?|[mM]etric\ tons?
            |(?:short|long)\ tons?|(?:[iI]mperial|US)\ (?:gallon|pint|cup)s?)\b)
    | (?P<name>[lL]\ ?/\ ?100\ ?km\b|°[CF]\b|°|[µμ]?[A-Za-z_][A-Za-z0-9_]*)
    | (?P<greek>[πτ])
    | (?P<power>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)
    | (?P<operator>\*\*|//|[-+*/%!,()\[\]^×·⋅÷−–])
    """,
    re.VERBOSE,
)

SPELLINGS = {"**": "^", "×": "*", "·": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-"}
"""What people type for an operator, and its usual spelling."""

SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")

HINTS = {
    "√": "write sqrt(x)",
    "=": "give the expression alone, without =",
    "<": "comparisons are not supported",
    ">": "comparisons are not supported",
    **dict.fromkeys("'\"′″", "write ft and in for feet and inches"),
    **dict.fromkeys("$€£¥", "currencies are not supported: write plain numbers"),
}
"""What to write instead of a character that is not understood."""


@dataclass(frozen=True)
class Token:
    """A number, name or operator, and where it stands; the last one of a text is its end."""

    kind: str
    text: str
    """In the usual spelling."""
    position: int
    end: int
    space: bool
    """Whether there is space before it."""


@dataclass
class Cursor:
    """A place between tokens."""

    tokens: Sequence[Token]
    index: int = 0

    def peek(self, ahead: int = 0) -> Token:
        """Return the token that comes next, or one near it; behind the last one its end."""
        return self.tokens[min(self.index + ahead, len(self.tokens) - 1)]

    def take(self) -> Token:
        """Return the token that comes next, and go behind it."""
        token = self.peek()
        self.index += 1
        return token

    @property
    def end(self) -> int:
        """Where the token before this place ends in the text."""
        return self.tokens[self.index - 1].end


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text. Raises :class:`ToolError` for what is none."""
    found: list[Token] = []
    arguments: list[bool] = []  # Of each open bracket: do its commas separate arguments?
    position, space = 0, False
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise ToolError(not_arithmetic(text[position], position))
        word, kind, end = match.group(), match.lastgroup or "", match.end()
        before = found[-1].kind if found else ""
        match kind:
            case "space":
                position, space = end, True
                continue
            case "grouped":
                word = ungroup(word, inside_arguments=bool(arguments) and arguments[-1])
                kind = "number"
            case "number":
                word = word.replace("_", "")
                word = re.sub(r"^0+(?=[0-9])", "", word)
            case "name":
                word = re.sub("^[µμ]", "u", word)
                word = "L/100km" if "/" in word else word
            case "words":
                word, kind = word.replace(" ", "_"), "name"
            case "greek":
                word, kind = {"π": "pi", "τ": "tau"}[word], "name"
            case "power":
                found += raised(word.translate(SUPERSCRIPTS), position, space=space)
                position, space = end, False
                continue
            case "operator":
                word = SPELLINGS.get(word, word)
                if word in "([":
                    arguments.append(word == "[" or before == "name")
                elif word in ")]":
                    del arguments[-1:]
        found.append(Token(kind, word, position, end, space))
        position, space = end, False
    return [*found, Token("end", "", len(text), len(text), space)]


def raised(power: str, position: int, *, space: bool) -> list[Token]:
    """Return a superscript number as tokens; all but the digits have no length."""
    marks = "^-" if power.startswith("-") else "^"
    end = position + len(power)
    return [
        *(Token("operator", mark, position, position, space) for mark in marks),
        Token("number", power.lstrip("-"), position, end, space=False),
    ]


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

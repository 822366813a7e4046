"""From what people type to a syntax tree of plain arithmetic spelling.

Only the characters of arithmetic get as far as Python's parser, which builds a tree and runs
nothing.
"""

import ast
import re
from dataclasses import dataclass

from mcpserve import ToolError

MAX_LENGTH = 1000
"""Longest expression in characters; it bounds the parser's work."""

SPELLINGS = str.maketrans(
    {
        "^": " ** ",
        "×": " * ",
        "·": " * ",
        "⋅": " * ",
        "÷": " / ",
        "−": " - ",
        "–": " - ",
        "π": "pi",
        "τ": "tau",
    }
)
"""What people type, as Python spells it. The spaces keep ``××`` from becoming a power."""

TOKEN = re.compile(
    r"""
    (?P<space>\ )
    | (?P<grouped>[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?)
    | (?P<number>(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<operator>\*\*|//|[-+*/%,()\[\]])
    """,
    re.VERBOSE,
)

HINTS = {
    "!": "write factorial(n)",
    "°": "write sin(radians(x)) for degrees",
    "√": "write sqrt(x)",
    "=": "give the expression alone, without =",
    "<": "comparisons are not supported",
    ">": "comparisons are not supported",
}
"""What to write instead of a character that is not understood."""


@dataclass(frozen=True)
class Expression:
    """An expression that Python's parser accepted; nothing says yet that it is arithmetic."""

    source: str
    """The expression as it is understood, in ASCII, on one line: the tree's columns index it."""
    tree: ast.expr


def read(text: str) -> Expression:
    """Parse an expression. Raises :class:`ToolError` that says what to write instead."""
    if len(text) > MAX_LENGTH:
        raise ToolError(
            f"the expression has {len(text):,} characters, {MAX_LENGTH:,} are allowed: "
            "compute it in parts"
        )
    source = plain(" ".join(text.translate(SPELLINGS).split()))
    if not source:
        raise ToolError("the expression is empty")
    try:
        return Expression(source, ast.parse(source, mode="eval").body)
    except SyntaxError as error:
        raise ToolError(explain(error, source)) from None
    except (RecursionError, MemoryError, SystemError):
        raise ToolError("the expression is nested too deeply: compute it in parts") from None


def plain(text: str) -> str:
    """Return the text with its numbers in Python's spelling; refuse all that is not arithmetic."""
    words = []
    arguments: list[bool] = []  # Of each open bracket: do its commas separate arguments?
    before = ""
    position = 0
    while position < len(text):
        token = TOKEN.match(text, position)
        if token is None:
            raise ToolError(not_arithmetic(text[position]))
        position = token.end()
        word = token.group()
        match token.lastgroup:
            case "grouped":
                word = ungroup(word, inside_arguments=bool(arguments) and arguments[-1])
            case "number":
                check_end(word, text[position:])
                word = re.sub(r"^0+(?=[0-9])", "", word)
            case "operator" if word in "([":
                arguments.append(word == "[" or before == "name")
            case "operator" if word in ")]":
                del arguments[-1:]
        if token.lastgroup != "space":
            before = token.lastgroup or ""
        words.append(word)
    return "".join(words)


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


def check_end(number: str, rest: str) -> None:
    """Refuse ``2pi`` and ``0x1f``: Python would read some of these, and each in its own way."""
    if name := re.match(r"[A-Za-z_][A-Za-z0-9_]*", rest):
        raise ToolError(
            f"not arithmetic: {number}{name.group()}; to multiply write {number} * {name.group()}, "
            "and write numbers in decimal"
        )


def not_arithmetic(character: str) -> str:
    """Say what a character should have been."""
    hint = HINTS.get(character, "use numbers, + - * / // % ^, parentheses and functions only")
    return f"not arithmetic: {character!r}; {hint}"


def explain(error: SyntaxError, source: str) -> str:
    """Say where Python's parser stopped, and what often causes it."""
    rest = source[max((error.offset or 1) - 1, 0) :][:20]
    place = f"at {rest!r}" if rest else "at the end"
    hint = "; % is modulo, write 50 % of 80 as 80 * 50 / 100" if "%" in source else ""
    return f"not arithmetic: {error.msg}, {place} of {source[:60]!r}{hint}"

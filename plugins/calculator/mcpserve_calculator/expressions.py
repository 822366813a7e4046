"""From what people type to a syntax tree of plain arithmetic spelling.

Only the characters of arithmetic get as far as Python's parser, which builds a tree and runs
nothing. Three operators that nobody can type stand for what Python lacks: ``&`` gives a number
its unit, ``|`` converts, ``@`` is "of"; units are names that the expression keeps a table of.
"""

import ast
import keyword
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate

from mcpserve import ToolError
from mcpserve_calculator.definitions import PERCENT, find, unknown_unit
from mcpserve_calculator.functions import CONSTANTS, FUNCTIONS
from mcpserve_calculator.tokens import Token, tokens
from mcpserve_calculator.units import Named, Unit, product

MAX_LENGTH = 1000
"""Longest expression in characters; it bounds the parser's work."""

OPERATORS = {"^": "**", "×": "*", "·": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-", "mod": "%"}
"""What people type, as Python spells it."""

CONVERSIONS = ("to", "in", "as")


@dataclass(frozen=True)
class Expression:
    """An expression that Python's parser accepted; nothing says yet that it is arithmetic."""

    source: str
    """The expression in Python's spelling: the tree's columns index it."""
    shown: str
    """The expression as it is understood, for people."""
    tree: ast.expr
    units: dict[str, Unit]
    text: str
    places: tuple[list[int], list[int]]
    """Where each word begins, in the source and in the text."""

    def place(self, node: ast.expr) -> tuple[int, str]:
        """Return where a node begins in the text, from 1, and its text."""
        start = position(self.places, node.col_offset)
        end = position(self.places, node.end_col_offset or 0)
        return start + 1, self.text[start:end].strip()


def position(places: tuple[list[int], list[int]], column: int) -> int:
    """Return the place in the text of a column of the source."""
    return places[1][max(bisect_right(places[0], column) - 1, 0)]


def read(text: str) -> Expression:
    """Parse an expression. Raises :class:`ToolError` that says what to write instead."""
    if len(text) > MAX_LENGTH:
        raise ToolError(
            f"the expression has {len(text):,} characters, {MAX_LENGTH:,} are allowed: "
            "compute it in parts"
        )
    rewriting = Rewriting(tokens(text))
    rewriting.run()
    source = "".join(rewriting.words)
    if not source:
        raise ToolError("the expression is empty")
    starts = [0, *accumulate(map(len, rewriting.words))]
    places = (starts, [*rewriting.positions, len(text)])
    try:
        tree = ast.parse(source, mode="eval").body
    except SyntaxError as error:
        at = position(places, max((error.offset or 1) - 1, 0))
        raise ToolError(explain(error, text, at)) from None
    except (RecursionError, MemoryError, SystemError):
        raise ToolError("the expression is nested too deeply: compute it in parts") from None
    shown = " ".join("".join(rewriting.shown).split())
    return Expression(source, shown, tree, rewriting.units, text, places)


@dataclass
class Rewriting:
    """One pass over the tokens of an expression."""

    tokens: list[Token]
    words: list[str] = field(default_factory=list)
    """Python's spelling, a word for each token or unit."""
    shown: list[str] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    units: dict[str, Unit] = field(default_factory=dict)
    index: int = 0
    operand: int | None = None
    """The word with which the operand before this token begins, if there is one."""
    quantity: bool = False
    """Whether that operand has a unit."""

    def run(self) -> None:
        """Rewrite all tokens."""
        brackets: list[int] = []
        while token := self.peek():
            operand, after_unit = self.operand, self.quantity
            self.quantity = False
            if token.kind == "name" and operand is not None and token.text in CONVERSIONS:
                self.convert(token)
            elif token.text in ("%", "percent") and operand is not None and self.percent(token):
                self.attach(product([(PERCENT, 1)]), "%")
                self.index += 1
            elif token.kind == "number":
                self.number(token, after_unit=after_unit)
            elif token.kind == "name":
                self.name(token)
            else:
                self.operator(token, brackets)

    def peek(self, ahead: int = 0) -> Token | None:
        """Return the token that comes next, or one after it."""
        index = self.index + ahead
        return self.tokens[index] if index < len(self.tokens) else None

    def emit(self, word: str, token: Token, shown: str | None = None) -> None:
        """Write a word."""
        self.words.append(f" {word}" if token.space and self.words else word)
        self.shown.append((" " if token.space else "") + (word if shown is None else shown))
        self.positions.append(token.position)

    def attach(self, unit: Unit, shown: str) -> None:
        """Give the operand before this token a unit."""
        start = self.operand or 0
        key = f"u{len(self.units)}"
        self.units[key] = unit
        self.words[start] = "(" + self.words[start]
        self.words[-1] += f"&{key})"
        self.shown[-1] += shown
        self.operand, self.quantity = start, True

    def number(self, token: Token, *, after_unit: bool) -> None:
        """Write a number with its unit; ``2 h 30 min`` is a sum, ``1/2 mile`` is half a mile."""
        start = len(self.words)
        compound = self.operand if after_unit else None
        divided = start and self.words[-1].strip() in ("/", "//", "%", "**", "*")
        self.emit(token.text, token)
        self.index += 1
        self.operand = start
        slash, below = self.peek(), self.peek(1)
        if (
            slash and below and slash.text == "/" and below.kind == "number" and not divided
            and not slash.space and not below.space and self.unit_after(2)
        ):  # fmt: skip
            self.emit("/", slash)
            self.emit(below.text, below)
            self.index += 2
            self.shown[start] = self.shown[start].replace(token.text, f"({token.text}")
            self.shown[-1] += ")"
        if self.unit_after(0):
            self.attach_unit()
            if compound is not None:
                self.words[start] = " +" + self.words[start]
                self.words[compound] = "(" + self.words[compound]
                self.words[-1] += ")"
                self.operand = compound
            return
        following = self.peek()
        if following and following.kind == "name":
            check_name(token, following)

    def unit_after(self, ahead: int) -> bool:
        """Whether a unit comes there."""
        token, after = self.peek(ahead), self.peek(ahead + 1)
        if token is None or token.kind != "name" or find(token.text) is None:
            return False
        return not (after and after.text == "(" and token.text in FUNCTIONS)

    def attach_unit(self) -> None:
        """Give the operand the unit that comes next."""
        unit = self.unit()
        glued = unit.symbol.startswith("°") or unit.symbol == "deg"
        self.attach(unit, f" {unit.symbol}" if not glued or len(unit.symbol) > 1 else unit.symbol)

    def unit(self) -> Unit:
        """Take a product of units: ``kg*m/s^2``; a name after ``/`` is below the line."""
        factors = self.factor(1)
        while (sign := self.peek()) and sign.text in ("*", "·", "⋅", "/", "per"):
            side = -1 if sign.text in ("/", "per") else 1
            opening = self.peek(1)
            if self.unit_after(1):
                self.index += 1
                factors += self.factor(side)
            elif opening and opening.text == "(" and (group := self.group(side)):
                factors += group
            else:
                break
        return product(factors)

    def group(self, side: int) -> list[tuple[Named, int]]:
        """Take ``/(kg*K)``, if it is no more than that."""
        start = self.index
        self.index += 2
        factors: list[tuple[Named, int]] = []
        while self.unit_after(0):
            factors += self.factor(side)
            sign = self.peek()
            self.index += 1
            if sign and sign.text == ")":
                return factors
            if sign is None or sign.text not in ("*", "·", "⋅"):
                break
        self.index = start
        return []

    def factor(self, side: int) -> list[tuple[Named, int]]:
        """Take one named unit and its power."""
        token = self.tokens[self.index]
        named = find(token.text)
        self.index += 1
        if named is None:  # Only where a unit must come, and something else does.
            raise ToolError(f"{unknown_unit(token.text)} (at character {token.position + 1})")
        ahead = self.peek()
        if ahead is None or ahead.text not in ("^", "**"):
            return [(named, side)]
        minus = self.peek(1)
        negative = minus is not None and minus.text in ("-", "−")
        digits = self.peek(2 if negative else 1)
        if digits is None or not re.fullmatch("[0-9]{1,3}", digits.text):
            return [(named, side)]
        self.index += 3 if negative else 2
        return [(named, side * (-1 if negative else 1) * int(digits.text))]

    def convert(self, token: Token) -> None:
        """Write a conversion; it comes last in an expression or in parentheses."""
        wanted = self.peek(1)
        if wanted is None or not (wanted.kind == "name" or wanted.text == "%"):
            raise ToolError(
                f"not arithmetic: write a unit after {token.text!r}, as in 5 km {token.text} m "
                f"(at character {token.position + 1})"
            )
        self.emit("|", Token("operator", "|", token.position, space=True), "to")
        self.index += 1
        if wanted.text in ("%", "percent"):
            self.index += 1
            unit = product([(PERCENT, 1)])
        else:
            unit = self.unit()
        key = f"u{len(self.units)}"
        self.units[key] = unit
        self.emit(f"({key})", Token("name", key, wanted.position, space=True), unit.symbol)
        self.operand, self.quantity = len(self.words) - 1, True
        after = self.peek()
        if after and after.text not in (")", "]", ",", *CONVERSIONS):
            raise ToolError(
                "not arithmetic: a conversion comes last, write (5 km to m) + 3 m "
                f"(at character {after.position + 1}: {after.text!r})"
            )

    def name(self, token: Token) -> None:
        """Write a name: a word for an operator, a function, a constant, or a unit."""
        words = {"of": "@", "per": "/", "mod": "%"}
        if self.operand is not None and token.text in words:
            self.emit(f" {words[token.text]} ", token, f"{token.text} ")
            self.index += 1
            self.operand = None
            return
        start = len(self.words)
        if token.text not in CONSTANTS and token.text != "in" and self.unit_after(0):
            self.emit("1", token, "")
            self.operand = start
            self.attach_unit()
            return
        self.emit(token.text, token)
        self.index += 1
        self.operand = None if keyword.iskeyword(token.text) else start

    def operator(self, token: Token, brackets: list[int]) -> None:
        """Write an operator or a bracket; a unit may follow the closing one."""
        before = self.operand
        word = OPERATORS.get(token.text, token.text)
        if token.text == "%":
            self.emit("%", token, "mod" if token.space else " mod ")
        elif word != token.text:
            self.emit(f" {word} ", token)
        else:
            self.emit(word, token)
        self.index += 1
        self.operand = None
        if word in ("(", "["):
            brackets.append(len(self.words) - 1 if before is None else before)
        elif word in (")", "]") and brackets:
            self.operand = brackets.pop()
            following = self.peek()
            if word == ")" and self.unit_after(0) and following and following.text != "in":
                self.attach_unit()

    def percent(self, token: Token) -> bool:
        """Whether a % is a percent sign and no modulo, which has an operand after it."""
        after = self.peek(1)
        if token.text == "percent" or after is None:
            return True
        if after.text in ("+", "-", "−", "–"):
            if not token.space:
                return True
            operand = self.peek(2)
            if after.space and (operand is None or not operand.space):
                return False
            raise ToolError(
                f"% may be percent or modulo (at character {token.position + 1}): write 7% - 3 "
                "for percent, 7 mod -3 for the remainder"
            )
        if after.kind == "name":
            return after.text in ("of", "to", "as", "mod", "per")
        return after.kind != "number" and after.text not in ("(", "[")


def check_name(number: Token, name: Token) -> None:
    """Refuse ``2pi`` and ``5 foo``: what stands behind a number is a unit or an operator."""
    if keyword.iskeyword(name.text) or name.text in (*CONVERSIONS, "of", "mod", "per", "percent"):
        return
    if not name.space or name.text in FUNCTIONS or name.text in CONSTANTS:
        known = name.text in FUNCTIONS or name.text in CONSTANTS
        unit = "" if known else f"; {unknown_unit(name.text)}"
        raise ToolError(
            f"not arithmetic: {number.text[:40]}{name.text[:40]}; to multiply write "
            f"{number.text[:40]} * {name.text[:40]}, and write numbers in decimal{unit}"
        )
    raise ToolError(f"{unknown_unit(name.text)} (at character {name.position + 1})")


def explain(error: SyntaxError, text: str, at: int) -> str:
    """Say where Python's parser stopped."""
    rest = text[at:].strip()[:20]
    place = f"at {rest!r}, character {at + 1}" if rest else "at the end"
    return f"not arithmetic: {error.msg}, {place} of {text.strip()[:60]!r}"

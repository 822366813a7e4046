"""From text to a tree, by precedence climbing (a Pratt parser): every token is taken once.

A number is followed by its unit, and units by what is added to them: ``5 ft 3 in`` is one operand.
"""

from dataclasses import dataclass

from mcpserve import ToolError
from mcpserve_calculator import factors, mistakes
from mcpserve_calculator.definitions import PERCENT, power
from mcpserve_calculator.factors import CONVERSIONS
from mcpserve_calculator.functions import CONSTANTS, FUNCTIONS
from mcpserve_calculator.tokens import Cursor, Token, tokens
from mcpserve_calculator.tree import (
    BINDING,
    SIGN,
    Call,
    Constant,
    Conversion,
    Factorial,
    Literal,
    Measure,
    Negation,
    Node,
    Operation,
    Span,
    spelled,
)
from mcpserve_calculator.units import product

MAX_LENGTH = 1000
"""Longest expression in characters; it bounds the parser's work."""

MAX_NESTING = 200
"""Deepest nesting of parentheses, signs and right sides; three frames of Python's stack each."""

INFIX = {symbol: symbol for symbol in BINDING} | {"%": "mod", "per": "/"}
"""Operators between two operands, and what each is called in the tree."""

FACTORS = ("*", "/", "//", "%", "mod", "per", "^")
"""What a number has before it if it is a factor, so that ``2*1/2 mile`` is read step by step."""

WORDS = (*CONVERSIONS, "of", "mod", "per", "percent")
"""Names that are never an operand."""

PERCENTAGE = product([(PERCENT, 1)])


@dataclass(frozen=True)
class Expression:
    """An expression that was understood."""

    text: str
    tree: Node

    @property
    def shown(self) -> str:
        """The expression as it was understood, for people."""
        return spelled(self.tree)

    def place(self, node: Node) -> tuple[int, str]:
        """Return where a node begins in the text, from 1, and its text."""
        start, end = node.span
        return start + 1, self.text[start:end]


def read(text: str) -> Expression:
    """Parse an expression. Raises :class:`ToolError` that says what to write instead."""
    if len(text) > MAX_LENGTH:
        raise ToolError(
            f"the expression has {len(text):,} characters, {MAX_LENGTH:,} are allowed: "
            "compute it in parts"
        )
    parser = Parser(Cursor(tokens(text)))
    if parser.cursor.peek().kind == "end":
        raise ToolError("the expression is empty")
    tree = parser.expression()
    if parser.cursor.peek().kind != "end":
        raise ToolError(mistakes.unexpected(parser.cursor))
    return Expression(text, tree)


@dataclass
class Parser:
    """One way through the tokens of an expression."""

    cursor: Cursor
    nesting: int = 0

    def expression(self, least: int = 0) -> Node:
        """Take an operand and all operators that bind at least as tightly as this."""
        start = self.cursor.peek().position
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise ToolError(mistakes.too_deep(self.cursor.peek(-1)))
        node = self.operand()
        while (symbol := INFIX.get(self.cursor.peek().text)) and BINDING[symbol][0] >= least:
            self.cursor.take()
            right = self.expression(BINDING[symbol][1])
            node = Operation(symbol, node, right, self.span(start))
        while least == 0 and self.cursor.peek().text in CONVERSIONS:
            node = self.conversion(node, start)
        self.nesting -= 1
        return node

    def span(self, start: int) -> Span:
        """Return the place of a node that ends here."""
        return start, self.cursor.end

    def operand(self) -> Node:
        """Take a number, name, call, group or sign, and what stands right behind it."""
        token = self.cursor.take()
        node: Node
        match token:
            case Token(text="-"):
                node = self.expression(SIGN)
                return Negation(node, self.span(token.position))
            case Token(text="+"):
                return self.expression(SIGN)
            case Token(text="("):
                node = self.expression()
                self.close(token)
            case Token(kind="number"):
                node = self.number(token)
            case Token(text=name) if name in FUNCTIONS and self.cursor.peek().text == "(":
                node = Call(name, self.arguments(), self.span(token.position))
            case Token(kind="name") if token.text not in WORDS:
                node = self.name(token)
            case _:
                raise ToolError(mistakes.missing_operand(self.cursor))
        return self.suffixed(node, token.position)

    def close(self, opening: Token) -> None:
        """Take the closing parenthesis."""
        if self.cursor.peek().kind == "end":
            raise ToolError(mistakes.unclosed(opening))
        if self.cursor.peek().text != {"(": ")", "[": "]"}[opening.text]:
            raise ToolError(mistakes.unexpected(self.cursor))
        self.cursor.take()

    def number(self, token: Token) -> Node:
        """Return a number that was taken; ``1/2 mile``, written like this, is half a mile."""
        number = Literal(token.text, (token.position, token.end))
        slash, below = self.cursor.peek(), self.cursor.peek(1)
        glued = slash.text == "/" and below.kind == "number" and not slash.space | below.space
        if not glued or self.cursor.peek(-2).text in FACTORS or not factors.comes(self.cursor, 2):
            return number
        self.cursor.index += 2
        divisor = Literal(below.text, (below.position, below.end))
        return Operation("/", number, divisor, self.span(token.position))

    def name(self, token: Token) -> Node:
        """Return what a name stands for: a constant, or one of a unit."""
        place = (token.position, token.end)
        if token.text in CONSTANTS and self.cursor.peek().text != "(":
            return Constant(token.text, place)
        if power(token.text) is None or token.text in CONSTANTS:
            raise ToolError(mistakes.unknown_name(token))
        self.cursor.index -= 1
        return Literal("1", place)

    def arguments(self) -> tuple[Node, ...]:
        """Take the arguments of a function; ``sum([1, 2])`` is understood as ``sum(1, 2)``."""
        brackets = [self.cursor.take()]
        if self.cursor.peek().text == "[":
            brackets.append(self.cursor.take())
        found: list[Node] = []
        while self.cursor.peek().text not in (")", "]"):
            if found:
                self.comma(brackets[-1])
            found.append(self.expression())
        for bracket in reversed(brackets):
            self.close(bracket)
        return tuple(found)

    def comma(self, opening: Token) -> None:
        """Take the comma between two arguments."""
        if self.cursor.peek().kind == "end":
            raise ToolError(mistakes.unclosed(opening))
        if self.cursor.peek().text != ",":
            raise ToolError(mistakes.unexpected(self.cursor))
        self.cursor.take()

    def suffixed(self, node: Node, start: int) -> Node:
        """Take what stands right behind an operand: ``!``, ``%`` or a unit."""
        if self.cursor.peek().text == "!":
            self.cursor.take()
            node = Factorial(node, self.span(start))
        if self.cursor.peek().text in ("%", "percent") and self.percent():
            self.cursor.take()
            node = Measure(node, PERCENTAGE, self.span(start))
        elif not self.converts():
            node = self.measured(node, start)
        following = self.cursor.peek()
        if following.text in ("%", "percent") and self.percent():
            raise ToolError(mistakes.unexpected(self.cursor))
        if following.kind == "name" and following.text not in WORDS:
            raise ToolError(mistakes.unexpected(self.cursor))
        return node

    def converts(self) -> bool:
        """Whether a name is the word before a unit to convert to; else ``in`` is an inch."""
        word, target = self.cursor.peek(), self.cursor.peek(1)
        after_number = self.cursor.peek(-1).kind == "number"
        return word.text in CONVERSIONS and target.text in ("in", "as") and not after_number

    def measured(self, node: Node, start: int) -> Node:
        """Take a unit, if there is one, and more numbers with units: ``2 h 30 min`` is a sum."""
        if not factors.comes(self.cursor):
            return node
        unit = factors.unit(self.cursor)
        node = Measure(node, unit, self.span(start))
        while self.cursor.peek().kind == "number":
            token = self.cursor.take()
            number = self.number(token)
            if not factors.comes(self.cursor):
                raise ToolError(mistakes.compound(token))
            unit = factors.unit(self.cursor)
            more = Measure(number, unit, self.span(token.position))
            node = Operation("+", node, more, self.span(start))
        if self.cursor.peek().text == "^":
            raise ToolError(mistakes.power_of_unit(self.cursor.peek()))
        return node

    def percent(self) -> bool:
        """Whether a % is a percent sign and no modulo, which has an operand after it."""
        sign, after, operand = (self.cursor.peek(ahead) for ahead in range(3))
        if sign.text == "percent":
            return True
        if after.text in ("+", "-") and sign.space:
            if after.space and not operand.space and operand.kind != "end":
                return False
            raise ToolError(mistakes.percent_or_modulo(sign))
        if after.kind == "name":
            return after.text in WORDS
        return after.kind != "number" and after.text not in ("(", "[")

    def conversion(self, value: Node, start: int) -> Node:
        """Take a conversion; it comes last in an expression or in parentheses."""
        word, target = self.cursor.take(), self.cursor.peek()
        unit = product([])
        if target.text in ("%", "percent"):
            self.cursor.take()
            unit = PERCENTAGE
        elif target.kind == "name":
            unit = factors.unit(self.cursor)
        if not unit.factors:
            raise ToolError(mistakes.missing_unit(word))
        after = self.cursor.peek()
        if after.kind != "end" and after.text not in (")", "]", ",", *CONVERSIONS):
            raise ToolError(mistakes.conversion_not_last(after))
        return Conversion(value, unit, self.span(start))

"""Walks the tree of an expression; a node that is not listed here is refused.

Depth and total size of the numbers are limited, so that any expression ends soon.
"""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, Overflow, Underflow, localcontext
from difflib import get_close_matches
from fractions import Fraction

from mcpserve import ToolError
from mcpserve_calculator.arithmetic import (
    MAX_BITS,
    MAX_DIGITS,
    WORKING,
    Number,
    add,
    bits,
    divide,
    floor_divide,
    modulo,
    multiply,
    power,
    subtract,
)
from mcpserve_calculator.expressions import Expression
from mcpserve_calculator.functions import CONSTANTS, FUNCTIONS, TOO_LARGE, apply, usage

MAX_DEPTH = 50
"""Deepest nesting of calls, signs and powers; far from what Python's stack can take."""

MAX_WORK = 20 * MAX_BITS
"""Bits of all numbers of an expression together: twenty of the largest are not yet too many."""

OPERATORS: Mapping[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: add,
    ast.Sub: subtract,
    ast.Mult: multiply,
    ast.Div: divide,
    ast.FloorDiv: floor_divide,
    ast.Mod: modulo,
    ast.Pow: power,
}


def evaluate(expression: Expression) -> Number:
    """Return the value. Raises :class:`ToolError` for all that has none."""
    with localcontext(WORKING):
        try:
            return Evaluation(expression.source).value(expression.tree, 0)
        except Overflow:
            raise ToolError(TOO_LARGE) from None
        except Underflow:
            raise ToolError(
                f"the result is closer to zero than 10^-{MAX_DIGITS}: too small to compute"
            ) from None


@dataclass
class Evaluation:
    """One walk through the tree of one expression."""

    source: str
    work: int = 0
    """Bits of all numbers so far."""

    def value(self, node: ast.expr, depth: int) -> Number:
        """Return the value of a node."""
        if depth > MAX_DEPTH:
            raise ToolError("the expression is nested too deeply: compute it in parts")
        match node:
            case ast.BinOp():
                return self.chain(node, depth)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                number = -self.value(operand, depth + 1)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                number = self.value(operand, depth + 1)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                number = self.call(name, arguments, depth)
            case ast.Name(id=name):
                number = constant(name)
            case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
                number = literal(self.text(node))
            case _:
                raise ToolError(refusal(node, self.text(node)))
        return self.weighed(number)

    def chain(self, node: ast.BinOp, depth: int) -> Number:
        """Return the value of a chain such as ``a + b - c``, which nests as deep as it is long."""
        links = []
        first: ast.expr = node
        while isinstance(first, ast.BinOp):
            links.append(first)
            first = first.left
        number = self.value(first, depth + 1)
        for link in reversed(links):
            if type(link.op) not in OPERATORS:
                raise ToolError(refusal(link, self.text(link)))
            right = self.value(link.right, depth + 1)
            number = self.weighed(OPERATORS[type(link.op)](number, right))
        return number

    def call(self, name: str, arguments: list[ast.expr], depth: int) -> Number:
        """Return the value of a call; ``sum([1, 2])`` is understood as ``sum(1, 2)``."""
        if name not in FUNCTIONS:
            raise ToolError(unknown(name))
        match arguments:
            case [ast.List(elts=elements)]:
                arguments = elements
        return apply(name, [self.value(argument, depth + 1) for argument in arguments])

    def weighed(self, number: Number) -> Number:
        """Return the number, unless the expression has done enough."""
        self.work += bits(number)
        if self.work > MAX_WORK:
            raise ToolError("the expression has too many huge numbers: compute it in parts")
        return number

    def text(self, node: ast.expr) -> str:
        """Return the source of a node."""
        return self.source[node.col_offset : node.end_col_offset]


def literal(text: str) -> Fraction:
    """Return the number that was typed, digit by digit."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ToolError(out_of_range(text)) from None
    # Before any digits are made of the exponent; 0e999999 has one, too.
    if abs(number.adjusted()) >= MAX_DIGITS:
        raise ToolError(out_of_range(text))
    return Fraction(number)


def out_of_range(text: str) -> str:
    """Say that a number is too large or too small."""
    return f"{text[:40]} is out of range: exponents must be below {MAX_DIGITS:,}"


def constant(name: str) -> Number:
    """Return the value of a name."""
    if name in CONSTANTS:
        return CONSTANTS[name]()
    if name in FUNCTIONS:
        raise ToolError(f"{name} is a function: write {usage(name)}")
    raise ToolError(unknown(name))


def unknown(name: str) -> str:
    """Say what a name may have been meant to be."""
    if name in CONSTANTS:
        return f"{name} is a number, not a function: write {name} * (…) to multiply"
    known = [*FUNCTIONS, *CONSTANTS]
    if close := get_close_matches(name.lower(), known, n=1):
        return f"unknown name {name[:40]!r}: did you mean {close[0]}?"
    return f"unknown name {name[:40]!r}; known are {', '.join(known)}"


def refusal(node: ast.expr, text: str) -> str:
    """Say why a part of an expression is not arithmetic, and what to write instead."""
    match node:
        case ast.Tuple() | ast.List():
            reason = (
                "commas separate only the arguments of functions; write 1.5 for one and a half, "
                "and no thousands separators"
            )
        case ast.Call(func=ast.Name()):
            reason = "functions take plain numbers only"
        case ast.Call():
            reason = "write * between two factors"
        case _:
            reason = "use numbers, operators and functions only"
    return f"not arithmetic: {text[:40]!r}; {reason}"

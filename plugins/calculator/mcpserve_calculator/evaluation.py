"""Walks the tree of an expression; a node that is not listed here is refused.

Depth and total size of the numbers are limited, so that any expression ends soon.
"""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation, Overflow, Underflow, localcontext
from difflib import get_close_matches
from fractions import Fraction

from mcpserve import ToolError
from mcpserve_calculator import quantities
from mcpserve_calculator.arithmetic import MAX_BITS, MAX_DIGITS, WORKING, bits
from mcpserve_calculator.definitions import REFUSED
from mcpserve_calculator.expressions import Expression
from mcpserve_calculator.functions import CONSTANTS, FUNCTIONS, TOO_LARGE, usage
from mcpserve_calculator.measured import apply
from mcpserve_calculator.quantities import Quantity, Value
from mcpserve_calculator.steps import MAX_STEPS, operand, step

MAX_DEPTH = 50
"""Deepest nesting of calls, signs and powers; far from what Python's stack can take."""

MAX_WORK = 20 * MAX_BITS
"""Bits of all numbers of an expression together: twenty of the largest are not yet too many."""

OPERATORS: Mapping[type[ast.operator], tuple[str, Callable[[Value, Value], Value]]] = {
    ast.Add: ("+", quantities.add),
    ast.Sub: ("-", quantities.subtract),
    ast.Mult: ("*", quantities.multiply),
    ast.Div: ("/", quantities.divide),
    ast.FloorDiv: ("//", quantities.floor_divide),
    ast.Mod: ("mod", quantities.modulo),
    ast.Pow: ("^", quantities.power),
    ast.MatMult: ("of", quantities.share),
}


@dataclass(frozen=True)
class Outcome:
    """The value of an expression, and how it came about."""

    value: Value
    steps: list[str]


def evaluate(expression: Expression) -> Outcome:
    """Return the value. Raises :class:`ToolError` for all that has none, with the place."""
    with localcontext(WORKING):
        evaluation = Evaluation(expression, place=expression.tree)
        try:
            value = evaluation.value(expression.tree, 0)
        except Overflow:
            raise ToolError(evaluation.placed(TOO_LARGE)) from None
        except Underflow:
            raise ToolError(
                f"the result is closer to zero than 10^-{MAX_DIGITS}: too small to compute"
            ) from None
        except ToolError as error:
            raise ToolError(evaluation.placed(str(error))) from None
        if not converts(expression.tree) and isinstance(value, Quantity) and value.percentage:
            value = quantities.plain(value)
        more = evaluation.count - len(evaluation.steps)
        return Outcome(value, evaluation.steps + ([f"… {more} more steps"] if more else []))


def converts(node: ast.expr) -> bool:
    """Whether the expression ends with a conversion, so that percent stay percent."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)


@dataclass
class Evaluation:
    """One walk through the tree of one expression."""

    expression: Expression
    place: ast.expr
    """What is being computed."""
    work: int = 0
    """Bits of all numbers so far."""
    steps: list[str] = field(default_factory=list)
    count: int = 0

    def value(self, node: ast.expr, depth: int) -> Value:
        """Return the value of a node."""
        self.place = node
        if depth > MAX_DEPTH:
            raise ToolError("the expression is nested too deeply: compute it in parts")
        match node:
            case ast.BinOp():
                return self.chain(node, depth)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                value = quantities.negate(self.value(inner, depth + 1))
            case ast.UnaryOp(op=ast.UAdd(), operand=inner):
                value = self.value(inner, depth + 1)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                value = self.call(node, name, arguments=arguments, depth=depth)
            case ast.Name(id=name):
                value = constant(name)
            case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
                value = literal(self.text(node))
            case _:
                raise ToolError(refusal(node, self.expression.place(node)[1]))
        return self.weighed(value)

    def chain(self, node: ast.BinOp, depth: int) -> Value:
        """Return the value of a chain such as ``a + b - c``, which nests as deep as it is long."""
        links = []
        first: ast.expr = node
        while isinstance(first, ast.BinOp):
            links.append(first)
            first = first.left
        value = self.value(first, depth + 1)
        for link in reversed(links):
            value = self.weighed(self.link(link, value, depth=depth))
        return value

    def link(self, node: ast.BinOp, left: Value, *, depth: int) -> Value:
        """Return the value of an operation, whose left side is known."""
        match node:
            case ast.BinOp(op=ast.BitAnd(), right=ast.Name(id=key)):
                if isinstance(left, Quantity):
                    raise ToolError("write one unit after a number")
                return Quantity(left, self.expression.units[key])
            case ast.BinOp(op=ast.BitOr(), right=ast.Name(id=key)):
                unit, self.place = self.expression.units[key], node
                converted = quantities.convert(left, unit)
                self.record(f"{operand(left)} to {unit.symbol}", converted)
                return converted
        if type(node.op) not in OPERATORS:
            raise ToolError(refusal(node, self.expression.place(node)[1]))
        right = self.value(node.right, depth + 1)
        self.place = node
        symbol, calculate = OPERATORS[type(node.op)]
        result = calculate(left, right)
        if self.count < MAX_STEPS:
            whole = isinstance(right, Quantity) and right.percentage and symbol in "+-"
            whole = whole and not (isinstance(left, Quantity) and left.percentage)
            of = f" of {operand(left)}" if whole else ""
            self.record(f"{operand(left)} {symbol} {operand(right)}{of}", result)
        else:
            self.count += 1
        return result

    def call(self, node: ast.Call, name: str, *, arguments: list[ast.expr], depth: int) -> Value:
        """Return the value of a call; ``sum([1, 2])`` is understood as ``sum(1, 2)``."""
        if name not in FUNCTIONS:
            raise ToolError(unknown(name))
        match arguments:
            case [ast.List(elts=elements)]:
                arguments = elements
        values = [self.value(argument, depth + 1) for argument in arguments]
        self.place = node
        result = apply(name, values)
        listed = ", ".join(operand(value) for value in values[:6])
        self.record(f"{name}({listed}{', …' if len(values) > 6 else ''})", result)
        return result

    def record(self, left: str, result: Value) -> None:
        """Write down a step, if there are not too many."""
        self.count += 1
        if len(self.steps) < MAX_STEPS:
            self.steps.append(step(left, result))

    def placed(self, message: str) -> str:
        """Return a message with the place that it is about, unless that is everything."""
        start, text = self.expression.place(self.place)
        if text == self.expression.text.strip() or text[:40] in message:
            return message
        return f"{message} (at character {start}: {text[:40]!r})"

    def weighed(self, value: Value) -> Value:
        """Return the value, unless the expression has done enough."""
        self.work += bits(value.number if isinstance(value, Quantity) else value)
        if self.work > MAX_WORK:
            raise ToolError("the expression has too many huge numbers: compute it in parts")
        return value

    def text(self, node: ast.expr) -> str:
        """Return the source of a node."""
        return self.expression.source[node.col_offset : node.end_col_offset]


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


def constant(name: str) -> Value:
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
    if name.lower() in REFUSED:
        return REFUSED[name.lower()]
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

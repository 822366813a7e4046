"""Walks the tree of an expression.

Depth and total size of the numbers are limited, so that any expression ends soon.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation, Overflow, Underflow, localcontext
from fractions import Fraction

from mcpserve import ToolError
from mcpserve_calculator import quantities
from mcpserve_calculator.arithmetic import MAX_BITS, MAX_DIGITS, TOO_LARGE, WORKING, bits
from mcpserve_calculator.expressions import Expression
from mcpserve_calculator.functions import CONSTANTS
from mcpserve_calculator.measured import apply
from mcpserve_calculator.quantities import Quantity, Value
from mcpserve_calculator.steps import MAX_STEPS, call, operand, operation, step
from mcpserve_calculator.tree import (
    Call,
    Constant,
    Conversion,
    Factorial,
    Literal,
    Measure,
    Negation,
    Node,
    Operation,
    chain,
)

MAX_DEPTH = 50
"""Deepest nesting of calls, signs and powers; far from what Python's stack can take."""

MAX_WORK = 20 * MAX_BITS
"""Bits of all numbers of an expression together: twenty of the largest are not yet too many."""

OPERATORS: Mapping[str, Callable[[Value, Value], Value]] = {
    "+": quantities.add,
    "-": quantities.subtract,
    "*": quantities.multiply,
    "/": quantities.divide,
    "//": quantities.floor_divide,
    "mod": quantities.modulo,
    "^": quantities.power,
    "of": quantities.share,
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
        # Only a conversion at the end asks for percent.
        if (
            isinstance(value, Quantity)
            and value.percentage
            and not ends_with_conversion(expression)
        ):
            value = quantities.plain(value)
        more = evaluation.count - len(evaluation.steps)
        return Outcome(value, evaluation.steps + ([f"… {more} more steps"] if more else []))


def ends_with_conversion(expression: Expression) -> bool:
    """Whether the unit of the value was asked for."""
    return isinstance(expression.tree, Conversion)


@dataclass
class Evaluation:
    """One walk through the tree of one expression."""

    expression: Expression
    place: Node
    """What is being computed."""
    work: int = 0
    """Bits of all numbers so far."""
    steps: list[str] = field(default_factory=list)
    count: int = 0

    def value(self, node: Node, depth: int) -> Value:
        """Return the value of a node."""
        self.place = node
        if depth > MAX_DEPTH:
            raise ToolError("the expression is nested too deeply: compute it in parts")
        match node:
            case Literal(text=text):
                value: Value = literal(text)
            case Constant(name=name):
                value = CONSTANTS[name]()
            case Negation(operand=inner):
                value = quantities.negate(self.value(inner, depth + 1))
            case Factorial(operand=inner):
                value = self.factorial(node, self.value(inner, depth + 1))
            case Measure(number=inner):
                value = self.measured(node, self.value(inner, depth + 1))
            case Call():
                value = self.call(node, [self.value(one, depth + 1) for one in node.arguments])
            case Operation() | Conversion():
                return self.chain(node, depth)
        return self.weighed(value)

    def chain(self, node: Operation | Conversion, depth: int) -> Value:
        """Return the value of a chain such as ``a + b - c``, which nests as deep as it is long."""
        first, links = chain(node)
        value = self.value(first, depth + 1)
        for link in links:
            if isinstance(link, Conversion):
                value = self.converted(link, value)
            else:
                right = self.value(link.right, depth + 1)
                value = self.operated(link, value, right=right)
            value = self.weighed(value)
        return value

    def measured(self, node: Measure, number: Value) -> Value:
        """Return so many of a unit."""
        self.place = node
        if isinstance(number, Quantity):
            raise ToolError("write one unit after a number")
        return Quantity(number, node.unit)

    def converted(self, node: Conversion, value: Value) -> Value:
        """Return a value in another unit."""
        self.place = node
        converted = quantities.convert(value, node.unit)
        self.record(lambda: f"{operand(value)} to {node.unit.symbol}", [value], result=converted)
        return converted

    def operated(self, node: Operation, left: Value, *, right: Value) -> Value:
        """Return the result of an operation on two values."""
        self.place = node
        result = OPERATORS[node.symbol](left, right)
        self.record(lambda: operation(node.symbol, left, right=right), [left, right], result=result)
        return result

    def factorial(self, node: Factorial, value: Value) -> Value:
        """Return the factorial of a value."""
        self.place = node
        result = apply("factorial", [value])
        self.record(lambda: f"{operand(value)}!", [value], result=result)
        return result

    def call(self, node: Call, values: list[Value]) -> Value:
        """Return the result of a function."""
        self.place = node
        result = apply(node.name, values)
        self.record(lambda: call(node.name, values), values, result=result)
        return result

    def record(self, left: Callable[[], str], values: list[Value], *, result: Value) -> None:
        """Write down a step that computes with these values, if there are not too many."""
        self.count += 1
        if len(self.steps) < MAX_STEPS:
            self.steps.append(step(left(), values, result=result))

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

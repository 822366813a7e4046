"""The syntax tree of an expression, and how it is written down for people.

A chain such as ``a + b - c`` nests to the left as deep as it is long, so whoever walks a tree
takes chains in a loop.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mcpserve_calculator.units import Unit

BINDING: Mapping[str, tuple[int, int]] = {
    "+": (10, 11),
    "-": (10, 11),
    "*": (20, 22),
    "/": (20, 22),
    "//": (20, 22),
    "mod": (20, 22),
    "of": (21, 21),
    "^": (40, 30),
}
"""How tightly each operator holds what is left and right of it."""

CONVERSION, SIGN, SUFFIX, ATOM = 0, 30, 50, 60
"""The same for conversions, signs, what stands behind a number, and what needs no parentheses."""

Span = tuple[int, int]
"""Where a node begins and ends in the text."""


@dataclass(frozen=True)
class Literal:
    """A number as it was typed, without thousands separators."""

    text: str
    span: Span


@dataclass(frozen=True)
class Constant:
    """A number with a name."""

    name: str
    span: Span


@dataclass(frozen=True)
class Negation:
    """A minus sign and what it changes."""

    operand: "Node"
    span: Span


@dataclass(frozen=True)
class Factorial:
    """A number and its exclamation mark."""

    operand: "Node"
    span: Span


@dataclass(frozen=True)
class Measure:
    """So many of a unit; percent are one, too."""

    number: "Node"
    unit: Unit
    span: Span


@dataclass(frozen=True)
class Operation:
    """An operator of :data:`BINDING` and its two sides."""

    symbol: str
    left: "Node"
    right: "Node"
    span: Span


@dataclass(frozen=True)
class Call:
    """A function and its arguments."""

    name: str
    arguments: tuple["Node", ...]
    span: Span


@dataclass(frozen=True)
class Conversion:
    """A value that is wanted in another unit."""

    value: "Node"
    unit: Unit
    span: Span


Node = Literal | Constant | Negation | Factorial | Measure | Operation | Call | Conversion


def chain(node: Operation | Conversion) -> tuple["Node", list[Operation | Conversion]]:
    """Return what a chain of operations begins with, and its links from left to right."""
    links: list[Operation | Conversion] = []
    first: Node = node
    while isinstance(first, Operation | Conversion):
        links.append(first)
        first = first.left if isinstance(first, Operation) else first.value
    return first, links[::-1]


def suffix(unit: Unit) -> str:
    """Return a unit as it follows a number."""
    return unit.symbol if unit.symbol in ("%", "°", "") else f" {unit.symbol}"


def level(node: Node) -> int:
    """Return how tightly the outermost operator of a node binds."""
    match node:
        case Operation(symbol=symbol):
            return BINDING[symbol][0]
        case Conversion():
            return CONVERSION
        case Negation():
            return SIGN
        case Measure() | Factorial():
            return SUFFIX
    return ATOM


def spelled(node: Node) -> str:
    """Return a tree as text, with the parentheses that it needs to be read like this again."""
    match node:
        case Literal(text=text):
            return text
        case Constant(name=name):
            return name
        case Negation(operand=operand):
            return f"-{enclosed(operand, SIGN + 1)}"
        case Factorial(operand=operand):
            return f"{enclosed(operand, ATOM)}!"
        case Measure(number=number, unit=unit):
            return f"{enclosed(number, ATOM)}{suffix(unit)}"
        case Call(name=name, arguments=arguments):
            return f"{name}({', '.join(spelled(argument) for argument in arguments)})"
    first, links = chain(node)
    bound, text = level(first), spelled(first)
    for link in links:
        needed = left_side(link)
        text = f"({text})" if bound < needed or (bound == SUFFIX and needed > SIGN) else text
        bound = level(link)
        match link:
            case Conversion(unit=unit):
                text += f" to{' %' if unit.symbol == '%' else suffix(unit)}"
            case Operation(symbol=symbol, right=right):
                word = "**" if symbol == "^" else symbol
                text += f" {word} {enclosed(right, BINDING[symbol][1])}"
    return text


def left_side(link: Operation | Conversion) -> int:
    """Return how tightly the left side of a link must bind to need no parentheses."""
    if isinstance(link, Conversion):
        return CONVERSION
    # What holds its right side less tightly than its left one goes from right to left.
    left, right = BINDING[link.symbol]
    return left if right > left else left + 1


def enclosed(node: Node, least: int) -> str:
    """Return a node as text, in parentheses if it binds less tightly than that."""
    return spelled(node) if level(node) >= least else f"({spelled(node)})"

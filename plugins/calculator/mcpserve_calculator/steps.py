"""The steps of a calculation, as a person would write them down."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from mcpserve_calculator.arithmetic import Number, shown
from mcpserve_calculator.quantities import Quantity, Value
from mcpserve_calculator.tree import suffix

MAX_STEPS = 20
"""Steps that are written down."""

LONGEST = 12
"""Digits of a number in a step that is not rounded there, unless it is whole."""

LARGEST_WHOLE = 10**20

LONGEST_BITS = 200
"""Size of the numbers that are looked at for being written exactly."""


def step(left: str, values: Sequence[Value], *, result: Value) -> str:
    """Return a step such as ``15% of 80 = 12``; with ≈ if a number is rounded here."""
    exact = all(map(written_exactly, (*values, result)))
    return f"{left} {'=' if exact else '≈'} {written(result)}"


def operation(symbol: str, left: Value, *, right: Value) -> str:
    """Return an operation on two values; a percentage that is added tells what it is of."""
    if symbol == "^" and isinstance(left, Quantity):
        return f"({written(left)}) ^ {operand(right)}"
    whole = ""
    if symbol in "+-" and isinstance(right, Quantity) and right.percentage:
        whole = "" if isinstance(left, Quantity) and left.percentage else f" of {operand(left)}"
    return f"{operand(left)} {symbol} {operand(right)}{whole}"


def call(name: str, arguments: Sequence[Value]) -> str:
    """Return a call; of many arguments the first ones."""
    listed = ", ".join(written(argument) for argument in arguments[:6])
    return f"{name}({listed}{', …' if len(arguments) > 6 else ''})"


def written(value: Value) -> str:
    """Return a value briefly."""
    if not isinstance(value, Quantity):
        return brief(value)[0]
    return f"{decimal(value.number)[0]}{suffix(value.unit)}"


def written_exactly(value: Value) -> bool:
    """Whether :func:`written` rounds nothing."""
    return (decimal(value.number) if isinstance(value, Quantity) else brief(value))[1]


def operand(value: Value) -> str:
    """Return a value briefly, in parentheses if it would be misread within an expression."""
    text = written(value)
    number = value.number if isinstance(value, Quantity) else value
    if not isinstance(value, Quantity) and ("/" in text or number < 0):
        return f"({text})"
    if isinstance(value, Quantity) and number < 0:
        return f"({decimal(number)[0]}){suffix(value.unit)}"
    return text


def brief(number: Number) -> tuple[str, bool]:
    """Return a number in a few digits or as a ratio, and whether it is just that."""
    text, exact = decimal(number)
    if exact or isinstance(number, Decimal) or large(number):
        return text, exact
    ratio = f"{number.numerator}/{number.denominator}"
    return (ratio, True) if len(ratio) <= LONGEST else (text, False)


def decimal(number: Number) -> tuple[str, bool]:
    """Return a number in a few digits, whole ones with some more, and whether these are all."""
    if isinstance(number, Decimal):
        return shortened(number), False
    if large(number):
        return shortened(number), False
    if number.denominator == 1 and abs(number) < LARGEST_WHOLE:
        return str(number.numerator), True
    text = shortened(number)
    return text, Fraction(Decimal(text)) == number


def large(number: Fraction) -> bool:
    """Whether a number has too many digits to look at each."""
    return max(number.numerator.bit_length(), number.denominator.bit_length()) > LONGEST_BITS


def shortened(number: Number) -> str:
    """Return a number with at most twelve digits."""
    value = Decimal(shown(number))
    return f"{value:f}" if -7 <= value.adjusted() < LONGEST else f"{value:e}"

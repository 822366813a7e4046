"""The steps of a calculation, as a person would write them down."""

from decimal import Decimal
from fractions import Fraction

from mcpserve_calculator.arithmetic import Number, shown
from mcpserve_calculator.quantities import Quantity, Value
from mcpserve_calculator.units import Unit

MAX_STEPS = 20
"""Steps that are written down."""

LONGEST = 12
"""Digits of a number in a step that is not rounded there."""


def step(left: str, result: Value) -> str:
    """Return a step such as ``15% of 80 = 12``; with ≈ if the result is rounded here."""
    number = result.number if isinstance(result, Quantity) else result
    return f"{left} {'=' if brief(number)[1] else '≈'} {written(result)}"


def written(value: Value) -> str:
    """Return a value briefly."""
    if not isinstance(value, Quantity):
        return brief(value)[0]
    return f"{brief(value.number)[0]}{suffix(value.unit)}"


def operand(value: Value) -> str:
    """Return a value briefly, in parentheses if it would be misread within an expression."""
    text = written(value)
    number = value.number if isinstance(value, Quantity) else value
    if not isinstance(value, Quantity) and ("/" in text or number < 0):
        return f"({text})"
    if isinstance(value, Quantity) and (number < 0 or "/" in brief(number)[0]):
        return f"({brief(number)[0]}){suffix(value.unit)}"
    return text


def suffix(unit: Unit) -> str:
    """Return a unit as it follows a number."""
    return unit.symbol if unit.symbol == "%" else f" {unit.symbol}"


def brief(number: Number) -> tuple[str, bool]:
    """Return a number in a few digits, and whether these are all."""
    value = Decimal(shown(number))
    text = f"{value:f}" if -7 <= value.adjusted() < LONGEST else f"{value:e}"
    if isinstance(number, Decimal):
        return text, False
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > 200:
        return text, False
    if Fraction(Decimal(text)) == number:
        return text, True
    ratio = f"{number.numerator}/{number.denominator}"
    return (ratio, True) if len(ratio) <= LONGEST else (text, False)

"""Values with units, and the arithmetic on them: dimensions first, then numbers.

A percentage is a quantity, too: ``200 + 10%`` is 10% more than 200. Readings of °C and °F are no
amounts: their difference is one, their sum and product are refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from mcpserve import ToolError
from mcpserve_calculator import arithmetic
from mcpserve_calculator.arithmetic import Number
from mcpserve_calculator.definitions import PERCENT, UNITS, of_kind
from mcpserve_calculator.units import ANGLE, KINDS, PLAIN, Unit, inverse, merged, product


@dataclass(frozen=True)
class Quantity:
    """So many of a unit."""

    number: Number
    unit: Unit

    @property
    def percentage(self) -> bool:
        """Whether this is a percentage."""
        return self.unit.single is PERCENT

    @property
    def reading(self) -> bool:
        """Whether this is a point on a scale of temperatures, not an amount."""
        return bool(self.unit.single and self.unit.single.difference)


Value = Number | Quantity


def plain(value: Value) -> Value:
    """Return a quantity without dimension, such as a percentage, as the number that it is."""
    if isinstance(value, Quantity) and value.unit.dimension == PLAIN:
        return arithmetic.multiply(value.number, value.unit.scale)
    return value


def words(value: Value) -> str:
    """Say what a value is counted in."""
    return value.unit.words if isinstance(value, Quantity) else "a plain number"


def convert(value: Value, unit: Unit) -> Quantity:
    """Return the same in another unit; a plain number becomes percent, or is one of radians."""
    if not isinstance(value, Quantity):
        if unit.dimension == ANGLE:
            return convert(Quantity(value, product([(UNITS["rad"], 1)])), unit)
        if unit.dimension == PLAIN:
            return Quantity(arithmetic.divide(value, unit.scale), unit)
    elif value.unit.dimension == unit.dimension:
        return Quantity(between(value, unit), target(value, unit))
    elif (value.unit.fuel or unit.fuel) and inverse(value.unit).dimension == unit.dimension:
        turned = Quantity(arithmetic.divide(Fraction(1), value.number), inverse(value.unit))
        return convert(turned, unit)
    hint = ""
    if isinstance(value, Quantity) and (known := of_kind(value.unit.dimension)):
        hint = f"; units of {KINDS[value.unit.dimension]} are {', '.join(known)}, …"
    raise ToolError(f"cannot convert {words(value)} to {unit.words}{hint}")


def target(value: Quantity, unit: Unit) -> Unit:
    """Return the unit to convert to: a difference of temperatures stays a difference."""
    single, own = unit.single, value.unit.single
    if single and single.difference and own and own.symbol.startswith("delta_"):
        return product([(single.difference, 1)])
    if value.reading and single and single.symbol.startswith("delta_"):
        raise ToolError(f"a temperature is no difference: write °C, °F or K, not {single.symbol}")
    return unit


def between(value: Quantity, unit: Unit) -> Number:
    """Return the number of a quantity in a unit of its dimension."""
    unit = target(value, unit)
    if unit == value.unit:
        return value.number
    source, wanted = value.unit.single, unit.single
    base = arithmetic.multiply(value.number, value.unit.scale)
    if source and source.zero is not None:
        base = arithmetic.add(base, source.zero)
    if wanted and wanted.zero is not None:
        base = arithmetic.subtract(base, wanted.zero)
    return arithmetic.divide(base, unit.scale)


def negate(value: Value) -> Value:
    """Return -value; -5 °C is a reading below zero."""
    return Quantity(-value.number, value.unit) if isinstance(value, Quantity) else -value


def add(a: Value, b: Value) -> Value:
    """Return a + b."""
    return total(a, b, verb="add", calculate=arithmetic.add)


def subtract(a: Value, b: Value) -> Value:
    """Return a - b."""
    return total(a, b, verb="subtract", calculate=arithmetic.subtract)


def total(a: Value, b: Value, *, verb: str, calculate: Callable[[Number, Number], Number]) -> Value:
    """Return a sum or difference in the unit of the left side; a percentage is of that side."""
    if isinstance(b, Quantity) and b.percentage:
        if isinstance(a, Quantity) and a.percentage:
            return Quantity(calculate(a.number, b.number), a.unit)
        share = arithmetic.divide(b.number, Fraction(100))
        return multiply(a, calculate(Fraction(1), share))
    a, b = plain(a), plain(b)
    if not isinstance(a, Quantity) and not isinstance(b, Quantity):
        return calculate(a, b)
    if (
        not isinstance(a, Quantity)
        or not isinstance(b, Quantity)
        or a.unit.dimension != b.unit.dimension
    ):
        raise ToolError(f"cannot {verb} {words(a)} and {words(b)}")
    if b.reading:
        return from_reading(a, b, verb=verb)
    unit = a.unit
    step = unit.single.difference if unit.single else None
    number = between(b, product([(step, 1)]) if step else unit)
    return Quantity(calculate(a.number, number), unit)


def from_reading(a: Quantity, b: Quantity, *, verb: str) -> Quantity:
    """Return a ± b for a temperature b: the difference of two, or one that is a higher."""
    if a.reading and verb == "add":
        raise ToolError("two temperatures have no sum: write a difference, as in 20 °C + 5 K")
    if verb == "add":
        sum_ = add(b, a)
        return sum_ if isinstance(sum_, Quantity) else b
    if not a.reading or a.unit.single is None or a.unit.single.difference is None:
        raise ToolError("cannot subtract a temperature from a difference: convert it to K first")
    difference = arithmetic.subtract(a.number, between(b, a.unit))
    return Quantity(difference, product([(a.unit.single.difference, 1)]))


def amount(value: Value) -> tuple[Number, Unit]:
    """Return number and unit of what can be multiplied."""
    value = plain(value)
    if not isinstance(value, Quantity):
        return value, product([])
    if value.reading:
        raise ToolError(
            f"{value.unit.symbol} is a reading and no amount: write K, "
            f"or delta_deg{value.unit.symbol[-1]} for a difference"
        )
    return value.number, value.unit


def counted(number: Number, unit: Unit) -> Value:
    """Return a quantity, or a plain number where units cancel."""
    return plain(Quantity(number, unit))


def taken_apart(unit: Unit) -> tuple[Number, Unit]:
    """Return a unit as one without names for rates, and the number it takes: mph is ``mi/h``."""
    number: Number = Fraction(1)
    factors = []
    for named, power in unit.factors:
        parts = product((UNITS[name], n) for name, n in named.parts)
        if parts.factors:
            ratio = arithmetic.divide(named.scale, parts.scale)
            number = arithmetic.multiply(number, arithmetic.power(ratio, Fraction(power)))
        factors += [(part, n * power) for part, n in parts.factors] or [(named, power)]
    return number, product(factors)


def multiplied(left: Unit, right: Unit) -> tuple[Number, Unit]:
    """Return the product of two units and the number it takes; mph times hours are miles."""
    factor, unit = merged(left, right)
    if not any(named.parts for named, _ in unit.factors):
        return factor, unit
    (x, left), (y, right) = taken_apart(left), taken_apart(right)
    other, shorter = merged(left, right)
    if len(shorter.factors) >= len(unit.factors):
        return factor, unit
    return arithmetic.multiply(other, arithmetic.multiply(x, y)), shorter


def multiply(a: Value, b: Value) -> Value:
    """Return a * b."""
    (x, left), (y, right) = amount(a), amount(b)
    factor, unit = multiplied(left, right)
    return counted(arithmetic.multiply(arithmetic.multiply(x, y), factor), unit)


def divide(a: Value, b: Value) -> Value:
    """Return a / b."""
    (x, left), (y, right) = amount(a), amount(b)
    factor, unit = multiplied(left, inverse(right))
    return counted(arithmetic.multiply(arithmetic.divide(x, y), factor), unit)


def like(a: Value, b: Value) -> tuple[Number, Number, Unit]:
    """Return the numbers of two amounts in the unit of the first."""
    (x, left), (_, right) = amount(a), amount(b)
    if left.dimension != right.dimension:
        raise ToolError(f"cannot divide {words(a)} by {words(b)} with remainder")
    inner = plain(b)
    return x, between(inner, left) if isinstance(inner, Quantity) else inner, left


def floor_divide(a: Value, b: Value) -> Value:
    """Return how many whole times b fits into a."""
    x, y, _ = like(a, b)
    return arithmetic.floor_divide(x, y)


def modulo(a: Value, b: Value) -> Value:
    """Return what is left of a then."""
    x, y, unit = like(a, b)
    return counted(arithmetic.modulo(x, y), unit)


def share(a: Value, b: Value) -> Value:
    """Return a percentage of b."""
    if not isinstance(a, Quantity) or not a.percentage:
        raise ToolError("of takes a percentage before it: write (15% of 80), or * to multiply")
    return multiply(a, b)


def power(a: Value, b: Value) -> Value:
    """Return a ** b; units take whole powers."""
    exponent = plain(b)
    if isinstance(exponent, Quantity):
        raise ToolError(f"an exponent is a plain number, not {words(exponent)}: write (2^3) km")
    x, unit = amount(a)
    if not unit.factors:
        return arithmetic.power(x, exponent)
    if not isinstance(exponent, Fraction):
        raise ToolError(f"{unit.words} cannot be raised to a rounded power")
    powers = [(named, n * exponent) for named, n in unit.factors]
    if any(n.denominator != 1 for _, n in powers):
        raise ToolError(f"{unit.symbol} to the power {exponent} is no unit: convert it first")
    if exponent and abs(exponent) > 100:
        raise ToolError("units take powers up to 12")
    return counted(arithmetic.power(x, exponent), product((m, n.numerator) for m, n in powers))

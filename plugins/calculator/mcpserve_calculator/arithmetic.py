"""Numbers that know whether they are exact, and the arithmetic on them.

A :class:`Fraction` is exact, a :class:`Decimal` is not. Everything here expects the context
:data:`WORKING`, whose exponents are limited: a result that is too large raises decimal's
``Overflow``. What an exact result would take is estimated before it is computed.
"""

import math
from collections.abc import Callable
from decimal import (
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
    Underflow,
)
from fractions import Fraction

from mcpserve import ToolError

Number = Fraction | Decimal

MAX_DIGITS = 10_000
"""Decimal digits of the largest number."""

MAX_BITS = math.floor(MAX_DIGITS * math.log2(10))

TOO_LARGE = f"the result has more than {MAX_DIGITS:,} digits: too large to compute"

CERTAIN_DIGITS = 60
"""Digits of an inexact number that are relied on. It is computed with twice as many, because
a difference may cancel up to half of them."""

MAX_EXPONENT = Decimal("1e60")
"""Largest exponent of an inexact power, which multiplies the relative error of its base."""

WORKING = Context(
    prec=2 * CERTAIN_DIGITS,
    Emax=MAX_DIGITS - 1,
    Emin=-MAX_DIGITS,
    traps=[DivisionByZero, InvalidOperation, Overflow, Underflow],
)
"""The context of inexact arithmetic."""

CERTAIN = Context(prec=CERTAIN_DIGITS)

TOLERANCE = Decimal((0, (1,), -CERTAIN_DIGITS))
"""Relative size below which a difference of inexact numbers may be a rounding error."""

LARGEST_CANCELLED = Decimal("1e20")
"""Inexact numbers above this are too large for such a difference to be called zero."""

LARGEST_QUOTIENT = Decimal("1e50")
"""Largest quotient of inexact numbers whose remainder is known."""


def bits(number: Number) -> int:
    """Return roughly how much memory a number takes, in bits."""
    if isinstance(number, Decimal):
        return 4 * WORKING.prec
    return number.numerator.bit_length() + number.denominator.bit_length()


def bounded(number: Fraction) -> Number:
    """Return the number; as an inexact one if writing it down would take too many digits."""
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > MAX_BITS:
        return inexact(number)
    return number


def inexact(number: Number) -> Decimal:
    """Return the nearest inexact number."""
    if isinstance(number, Decimal):
        return number
    # Decimal(int) has none of the limits of str(int) and int(str).
    return Decimal(number.numerator) / Decimal(number.denominator)


def shown(number: Number) -> str:
    """Return a number briefly, for a message."""
    return f"{inexact(number).normalize():.12g}"


def without_noise(number: Decimal, scale: Decimal) -> Decimal:
    """Return a difference of numbers of this scale, and zero if it is next to nothing.

    Raises :class:`ToolError` if it is lost in the rounding errors of huge numbers.
    """
    if abs(number) > scale * TOLERANCE:
        return number
    if scale > LARGEST_CANCELLED:
        raise ToolError(
            f"the difference of two rounded numbers as large as {scale:.3g} is not known: "
            "rearrange the expression"
        )
    return Decimal(0)


def add(a: Number, b: Number) -> Number:
    """Return a + b."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return bounded(a + b)
    x, y = inexact(a), inexact(b)
    return without_noise(x + y, max(abs(x), abs(y)))


def subtract(a: Number, b: Number) -> Number:
    """Return a - b."""
    return add(a, -b)


def multiply(a: Number, b: Number) -> Number:
    """Return a * b."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return bounded(a * b)
    return inexact(a) * inexact(b)


def divide(a: Number, b: Number) -> Number:
    """Return a / b."""
    if b == 0:
        raise ToolError("division by zero")
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return bounded(a / b)
    return inexact(a) / inexact(b)


def floor_divide(a: Number, b: Number) -> Number:
    """Return the largest whole number that is not above a / b."""
    return step(math.floor, divide(a, b))


def modulo(a: Number, b: Number) -> Number:
    """Return a - b * (a // b), which has the sign of b."""
    quotient = divide(a, b)
    if isinstance(quotient, Decimal) and abs(quotient) > LARGEST_QUOTIENT:
        raise ToolError(
            f"the remainder of {shown(a)} by {shown(b)} is not known: the number is rounded, and "
            "too large for it"
        )
    return subtract(a, multiply(b, step(math.floor, quotient)))


def step(function: Callable[[Fraction], int | Fraction], number: Number) -> Number:
    """Apply a function that goes in steps, such as ``floor``.

    The result is exact, even of an inexact number, unless that is too close to a step to be on a
    known side of it.
    """
    if isinstance(number, Fraction):
        return bounded(Fraction(function(number)))
    value = Fraction(number)
    error = Fraction(TOLERANCE) * (abs(value) or 1)
    low, high = function(value - error), function(value + error)
    if low == high:
        return bounded(Fraction(low))
    return inexact(Fraction(function(Fraction(CERTAIN.plus(number)))))


def power(base: Number, exponent: Number) -> Number:
    """Return base ** exponent, a real number; x ** 0 is 1 for every x."""
    if exponent == 0:
        return type(exponent)(1)
    if base == 0 and exponent < 0:
        raise ToolError("division by zero: 0 to a negative power")
    if base == 0:
        return base
    if isinstance(exponent, Fraction) and exponent.denominator == 1:
        return whole_power(base, exponent.numerator)
    if base < 0:
        raise ToolError(
            f"{shown(base)} to a power that is not whole is not a real number; cbrt(x) takes "
            "negative numbers"
        )
    if isinstance(exponent, Fraction):
        exact = exact_root(base, exponent.denominator)
        if exact is not None:
            return whole_power(exact, exponent.numerator)
    return inexact_power(base, inexact(exponent))


def whole_power(base: Number, exponent: int) -> Number:
    """Return base ** exponent for a base that is not 0."""
    if isinstance(base, Decimal):
        return inexact_power(base, Decimal(exponent))
    size = max(math.log2(abs(base.numerator)), math.log2(base.denominator))
    if size and abs(exponent) > MAX_BITS / size:
        return inexact_power(base, Decimal(exponent))
    return bounded(base**exponent)


def inexact_power(base: Number, exponent: Decimal) -> Decimal:
    """Return base ** exponent, as long as the error of the base does not outgrow the digits."""
    if abs(exponent) > MAX_EXPONENT:
        raise ToolError(f"the exponent {shown(exponent)} is too large to compute")
    return inexact(base) ** exponent


def root(number: Number, degree: int) -> Number:
    """Return the root of a number that is not negative; exact where the root is rational."""
    if (exact := exact_root(number, degree)) is not None:
        return exact
    return inexact(number).sqrt() if degree == 2 else inexact(number) ** (1 / Decimal(degree))


def exact_root(number: Number, degree: int) -> Fraction | None:
    """Return the root of a number that is not negative, if it is exact and found easily."""
    if isinstance(number, Decimal):
        return None
    if (numerator := whole_root(number.numerator, degree)) is None:
        return None
    denominator = whole_root(number.denominator, degree)
    return None if denominator is None else Fraction(numerator, denominator)


def whole_root(number: int, degree: int) -> int | None:
    """Return the root of a whole number that is not negative, if it is whole and found easily."""
    if number in (0, 1):
        return number
    if degree == 2:
        candidate = math.isqrt(number)
    else:
        # Rounded first, by the plus: decimal takes seconds for a power of ten thousand digits.
        rounded = +Decimal(number)
        candidate = int((rounded ** (1 / Decimal(degree))).to_integral_value())
    return candidate if candidate**degree == number else None


def natural_logarithm(number: Number) -> Decimal:
    """Return the logarithm to base e of a positive number."""
    value = inexact(number).ln()
    return without_noise(value, Decimal(1)) if isinstance(number, Decimal) else value


def logarithm(number: Number, base: Number) -> Number:
    """Return the logarithm of a positive number; exact where it is whole."""
    ratio = inexact(divide(natural_logarithm(number), natural_logarithm(base)))
    if isinstance(number, Decimal) or isinstance(base, Decimal):
        return ratio
    exponent = int(ratio.to_integral_value())
    return Fraction(exponent) if is_power(number, base, exponent) else ratio


def is_power(number: Fraction, base: Fraction, exponent: int) -> bool:
    """Whether number == base ** exponent; never computes a power larger than the number."""
    if exponent < 0:
        number = 1 / number
    size = max(base.numerator.bit_length(), base.denominator.bit_length()) - 1
    if size * abs(exponent) > bits(number):
        return False
    return base ** abs(exponent) == number

"""Exponentials, logarithms, angles and hyperbolas: rounded, and exact where that is known."""

import functools
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from mcpserve import ToolError
from mcpserve_calculator import series
from mcpserve_calculator.arithmetic import (
    Number,
    add,
    divide,
    inexact,
    logarithm,
    multiply,
    natural_logarithm,
    root,
    shown,
    subtract,
    without_noise,
)

Function = Callable[[Number], Number]

ZERO, ONE, TWO, TEN = Fraction(0), Fraction(1), Fraction(2), Fraction(10)


def exact_at(point: Fraction, value: Fraction) -> Callable[[Function], Function]:
    """Let a function that is inexact elsewhere return an exact value at this point."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(x: Number) -> Number:
            return value if isinstance(x, Fraction) and x == point else function(x)

        return wrapper

    return decorate


@exact_at(ZERO, ONE)
def exponential(x: Number) -> Number:
    """Return e to the power of x."""
    return inexact(x).exp()


@exact_at(ONE, ZERO)
def ln(x: Number) -> Number:
    """Return the logarithm to base e."""
    if x <= 0:
        raise ToolError(f"ln: {shown(x)} has no logarithm, only numbers above 0 have one")
    return natural_logarithm(x)


def log(x: Number, base: Number) -> Number:
    """Return the logarithm to a base."""
    if x <= 0:
        raise ToolError(f"log: {shown(x)} has no logarithm, only numbers above 0 have one")
    if base <= 0 or base == 1:
        raise ToolError(f"log: the base must be above 0 and not 1, not {shown(base)}")
    return logarithm(x, base)


def log10(x: Number) -> Number:
    """Return the logarithm to base 10."""
    return log(x, TEN)


def log2(x: Number) -> Number:
    """Return the logarithm to base 2."""
    return log(x, TWO)


# Angles, in radians.


def sine_and_cosine(x: Number) -> tuple[Decimal, Decimal]:
    """Return sin and cos, 0 where only the cut-off digits of pi make them anything else."""
    angle = inexact(x)
    if abs(angle) > series.MAX_ANGLE:
        raise ToolError(f"an angle of {shown(x)} is too large, {series.MAX_ANGLE} is the limit")
    sine, cosine = series.sine_and_cosine(angle)
    scale = min(abs(angle), Decimal(1))  # The sine of a tiny angle is as tiny, and no noise.
    return without_noise(sine, scale), without_noise(cosine, scale)


@exact_at(ZERO, ZERO)
def sin(x: Number) -> Number:
    """Return the sine."""
    return sine_and_cosine(x)[0]


@exact_at(ZERO, ONE)
def cos(x: Number) -> Number:
    """Return the cosine."""
    return sine_and_cosine(x)[1]


@exact_at(ZERO, ZERO)
def tan(x: Number) -> Number:
    """Return the tangent."""
    sine, cosine = sine_and_cosine(x)
    if cosine == 0:
        raise ToolError(f"tan: undefined at {shown(x)}, an odd multiple of pi/2")
    return sine / cosine


def complements(x: Number) -> tuple[Number, Number]:
    """Return 1 - x and 1 + x, for a number that can be a sine or cosine."""
    # By add and subtract: an inexact x that is above 1 by a rounding error is 1.
    below, above = subtract(ONE, x), add(ONE, x)
    if below < 0 or above < 0:
        raise ToolError(f"asin and acos take numbers from -1 to 1, not {shown(x)}")
    return below, above


@exact_at(ZERO, ZERO)
def asin(x: Number) -> Number:
    """Return the angle from -pi/2 to pi/2 with this sine."""
    below, above = complements(x)
    return atan2(x, root(multiply(below, above), 2))


@exact_at(ONE, ZERO)
def acos(x: Number) -> Number:
    """Return the angle from 0 to pi with this cosine."""
    below, above = complements(x)
    return multiply(TWO, atan2(root(below, 2), root(above, 2)))


@exact_at(ZERO, ZERO)
def atan(x: Number) -> Number:
    """Return the angle from -pi/2 to pi/2 with this tangent."""
    return series.arc_tangent(inexact(x))


def atan2(y: Number, x: Number) -> Number:
    """Return the angle from -pi to pi of the point (x, y)."""
    if x == 0 and y == 0:
        raise ToolError("atan2(0, 0) is undefined")
    if x == 0:
        return (series.PI / 2).copy_sign(inexact(y))
    angle = atan(divide(y, x))
    if x > 0:
        return angle
    return add(angle, series.PI if y >= 0 else -series.PI)


@exact_at(ZERO, ZERO)
def degrees(x: Number) -> Number:
    """Convert from radians."""
    return inexact(x) * 180 / series.PI


@exact_at(ZERO, ZERO)
def radians(x: Number) -> Number:
    """Convert from degrees."""
    return inexact(x) * series.PI / 180


# Hyperbolas.


@exact_at(ZERO, ZERO)
def sinh(x: Number) -> Number:
    """Return the hyperbolic sine."""
    return series.hyperbolic_sine_and_cosine(inexact(x))[0]


@exact_at(ZERO, ONE)
def cosh(x: Number) -> Number:
    """Return the hyperbolic cosine."""
    return series.hyperbolic_sine_and_cosine(inexact(x))[1]


@exact_at(ZERO, ZERO)
def tanh(x: Number) -> Number:
    """Return the hyperbolic tangent."""
    value = inexact(x)
    if abs(value) > 1000:  # 1 in every digit that is kept, while sinh and cosh grow.
        return Decimal(1).copy_sign(value)
    sine, cosine = series.hyperbolic_sine_and_cosine(value)
    return sine / cosine

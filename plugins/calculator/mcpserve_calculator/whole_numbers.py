"""Rounding, and the functions of whole numbers: divisors, and ways to choose."""

import math
from decimal import Decimal
from fractions import Fraction

from mcpserve import ToolError
from mcpserve_calculator.arithmetic import (
    MAX_BITS,
    MAX_DIGITS,
    TOO_LARGE,
    Number,
    shown,
    step,
)


def whole(x: Number) -> int:
    """Return a whole number as such."""
    if isinstance(x, Decimal) or x.denominator != 1:
        raise ToolError(f"a whole number is needed, not {shown(x)}: round(x) makes one")
    return x.numerator


def count(x: Number) -> int:
    """Return a whole number that is not negative as such."""
    if x < 0:
        raise ToolError(f"a number that is not negative is needed, not {shown(x)}")
    return whole(x)


def round_(x: Number, digits: Number = Fraction(0)) -> Number:
    """Round to decimal places, halves away from zero as people do."""
    places = whole(digits)
    if abs(places) > MAX_DIGITS:
        raise ToolError(f"round: digits must be from -{MAX_DIGITS} to {MAX_DIGITS}")
    unit = Fraction(10) ** -places

    def nearest(value: Fraction) -> Fraction:
        size = math.floor(abs(value) / unit + Fraction(1, 2)) * unit
        return size if value >= 0 else -size

    return step(nearest, x)


def floor(x: Number) -> Number:
    """Return the largest whole number that is not above x."""
    return step(math.floor, x)


def ceil(x: Number) -> Number:
    """Return the smallest whole number that is not below x."""
    return step(math.ceil, x)


def gcd(*numbers: Number) -> Number:
    """Return the greatest common divisor."""
    return Fraction(math.gcd(*(whole(number) for number in numbers)))


def lcm(*numbers: Number) -> Number:
    """Return the least common multiple."""
    multiple = 1
    for number in numbers:
        multiple = math.lcm(multiple, whole(number))
        if multiple.bit_length() > MAX_BITS:
            raise ToolError(TOO_LARGE)
    return Fraction(multiple)


def factorial(n: Number) -> Number:
    """Return 1 * 2 * … * n."""
    return permutations(n, n)


def permutations(n: Number, k: Number) -> Number:
    """Return in how many ways k of n things can be put in order."""
    all_, chosen = count(n), count(k)
    if chosen > all_:
        return Fraction(0)
    if falling_bits(all_, chosen) > MAX_BITS:
        raise ToolError(TOO_LARGE)
    return Fraction(math.perm(all_, chosen))


def combinations(n: Number, k: Number) -> Number:
    """Return in how many ways k of n things can be chosen."""
    all_, chosen = count(n), count(k)
    if chosen > all_:
        return Fraction(0)
    chosen = min(chosen, all_ - chosen)
    if falling_bits(all_, chosen) - falling_bits(chosen, chosen) > MAX_BITS:
        raise ToolError(TOO_LARGE)
    return Fraction(math.comb(all_, chosen))


def falling_bits(n: int, k: int) -> float:
    """Estimate the size of n * (n - 1) * … of k factors in bits."""
    if n.bit_length() > 50:  # Then lgamma is too coarse, and k either small or far too large.
        return k * n.bit_length()
    return (math.lgamma(n + 1) - math.lgamma(n - k + 1)) / math.log(2)

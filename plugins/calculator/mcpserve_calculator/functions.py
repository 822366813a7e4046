"""The functions and constants of the calculator: what each accepts, and where it is exact."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction

from mcpserve import ToolError
from mcpserve_calculator import series
from mcpserve_calculator.arithmetic import (
    MAX_BITS,
    MAX_DIGITS,
    Number,
    add,
    divide,
    inexact,
    logarithm,
    multiply,
    natural_logarithm,
    root,
    shown,
    step,
    subtract,
    without_noise,
)

Function = Callable[[Number], Number]

ZERO, ONE, TWO, TEN = Fraction(0), Fraction(1), Fraction(2), Fraction(10)

TOO_LARGE = f"the result has more than {MAX_DIGITS:,} digits: too large to compute"


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


def exact_at(point: Fraction, value: Fraction) -> Callable[[Function], Function]:
    """Let a function that is inexact elsewhere return an exact value at this point."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(x: Number) -> Number:
            return value if isinstance(x, Fraction) and x == point else function(x)

        return wrapper

    return decorate


# Rounding.


def round_(x: Number, digits: Number = ZERO) -> Number:
    """Round to decimal places, halves away from zero as people do."""
    places = whole(digits)
    if abs(places) > MAX_DIGITS:
        raise ToolError(f"round: digits must be from -{MAX_DIGITS} to {MAX_DIGITS}")
    unit = TEN**-places

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


def absolute(x: Number) -> Number:
    """Return the size of x."""
    return x if x >= 0 else -x


# Many numbers.


def least(*numbers: Number) -> Number:
    """Return the smallest number."""
    return min(numbers)


def greatest(*numbers: Number) -> Number:
    """Return the largest number."""
    return max(numbers)


def total(*numbers: Number) -> Number:
    """Return the sum."""
    return functools.reduce(add, numbers)


def mean(*numbers: Number) -> Number:
    """Return the arithmetic mean."""
    return divide(total(*numbers), Fraction(len(numbers)))


def median(*numbers: Number) -> Number:
    """Return the middle number, or the mean of the two in the middle."""
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else mean(*ordered[middle - 1 : middle + 1])


def hypot(*numbers: Number) -> Number:
    """Return the square root of the sum of squares."""
    return square_root(total(*(multiply(number, number) for number in numbers)))


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


# Combinatorics.


def factorial(n: Number) -> Number:
    """Return 1 * 2 * … * n."""
    return permutations(n, n)


def permutations(n: Number, k: Number) -> Number:
    """Return in how many ways k of n things can be put in order."""
    all_, chosen = count(n), count(k)
    if chosen > all_:
        return ZERO
    if falling_bits(all_, chosen) > MAX_BITS:
        raise ToolError(TOO_LARGE)
    return Fraction(math.perm(all_, chosen))


def combinations(n: Number, k: Number) -> Number:
    """Return in how many ways k of n things can be chosen."""
    all_, chosen = count(n), count(k)
    if chosen > all_:
        return ZERO
    chosen = min(chosen, all_ - chosen)
    if falling_bits(all_, chosen) - falling_bits(chosen, chosen) > MAX_BITS:
        raise ToolError(TOO_LARGE)
    return Fraction(math.comb(all_, chosen))


def falling_bits(n: int, k: int) -> float:
    """Estimate the size of n * (n - 1) * … of k factors in bits."""
    if n.bit_length() > 50:  # Then lgamma is too coarse, and k either small or far too large.
        return k * n.bit_length()
    return (math.lgamma(n + 1) - math.lgamma(n - k + 1)) / math.log(2)


# Roots, powers and logarithms.


def square_root(x: Number) -> Number:
    """Return the square root."""
    if x < 0:
        raise ToolError(f"sqrt: {shown(x)} is negative, its square root is not a real number")
    return root(x, 2)


def cube_root(x: Number) -> Number:
    """Return the real cube root."""
    return root(x, 3) if x >= 0 else -root(-x, 3)


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


FUNCTIONS: Mapping[str, Callable[..., Number]] = {
    "abs": absolute,
    "acos": acos,
    "asin": asin,
    "atan": atan,
    "atan2": atan2,
    "cbrt": cube_root,
    "ceil": ceil,
    "comb": combinations,
    "cos": cos,
    "cosh": cosh,
    "degrees": degrees,
    "exp": exponential,
    "factorial": factorial,
    "floor": floor,
    "gcd": gcd,
    "hypot": hypot,
    "lcm": lcm,
    "ln": ln,
    "log": log,
    "log10": log10,
    "log2": log2,
    "max": greatest,
    "mean": mean,
    "median": median,
    "min": least,
    "perm": permutations,
    "radians": radians,
    "round": round_,
    "sin": sin,
    "sinh": sinh,
    "sqrt": square_root,
    "sum": total,
    "tan": tan,
    "tanh": tanh,
}

CONSTANTS: Mapping[str, Callable[[], Number]] = {
    "e": lambda: Decimal(1).exp(),
    "pi": lambda: +series.PI,
    "tau": lambda: 2 * series.PI,
}
"""Functions, because their digits are those of the context."""


def apply(name: str, arguments: list[Number]) -> Number:
    """Call a function of :data:`FUNCTIONS`. Raises :class:`ToolError` if it does not take them."""
    function = FUNCTIONS[name]
    parameters = inspect.signature(function).parameters.values()
    many = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    needed = many or sum(parameter.default is parameter.empty for parameter in parameters)
    if len(arguments) < needed or (len(arguments) > len(parameters) and not many):
        raise ToolError(wrong_count(name, len(arguments)))
    return function(*arguments)


def usage(name: str) -> str:
    """Show how a function is called, such as ``log(x, base)``."""
    names = []
    for parameter in inspect.signature(FUNCTIONS[name]).parameters.values():
        many = parameter.kind is parameter.VAR_POSITIONAL
        names.append("a, b, …" if many else parameter.name)
    return f"{name}({', '.join(names)})"


def wrong_count(name: str, given: int) -> str:
    """Say how a function is called."""
    hint = "; use log10(x), ln(x) or log2(x) for one argument" if name == "log" else ""
    return f"{name}: wrong number of arguments ({given}), write {usage(name)}{hint}"

"""The named functions and constants: sums, means and roots here, the rest from their modules."""

import functools
import inspect
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction

from mcpserve import ToolError
from mcpserve_calculator import series, transcendental, whole_numbers
from mcpserve_calculator.arithmetic import Number, add, divide, multiply, root, shown


def absolute(x: Number) -> Number:
    """Return the size of x."""
    return x if x >= 0 else -x


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


def square_root(x: Number) -> Number:
    """Return the square root."""
    if x < 0:
        raise ToolError(f"sqrt: {shown(x)} is negative, its square root is not a real number")
    return root(x, 2)


def cube_root(x: Number) -> Number:
    """Return the real cube root."""
    return root(x, 3) if x >= 0 else -root(-x, 3)


FUNCTIONS: Mapping[str, Callable[..., Number]] = {
    "abs": absolute,
    "acos": transcendental.acos,
    "asin": transcendental.asin,
    "atan": transcendental.atan,
    "atan2": transcendental.atan2,
    "cbrt": cube_root,
    "ceil": whole_numbers.ceil,
    "comb": whole_numbers.combinations,
    "cos": transcendental.cos,
    "cosh": transcendental.cosh,
    "degrees": transcendental.degrees,
    "exp": transcendental.exponential,
    "factorial": whole_numbers.factorial,
    "floor": whole_numbers.floor,
    "gcd": whole_numbers.gcd,
    "hypot": hypot,
    "lcm": whole_numbers.lcm,
    "ln": transcendental.ln,
    "log": transcendental.log,
    "log10": transcendental.log10,
    "log2": transcendental.log2,
    "max": greatest,
    "mean": mean,
    "median": median,
    "min": least,
    "perm": whole_numbers.permutations,
    "radians": transcendental.radians,
    "round": whole_numbers.round_,
    "sin": transcendental.sin,
    "sinh": transcendental.sinh,
    "sqrt": square_root,
    "sum": total,
    "tan": transcendental.tan,
    "tanh": transcendental.tanh,
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

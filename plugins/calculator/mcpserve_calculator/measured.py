"""The functions, on values with units."""

from fractions import Fraction

from mcpserve import ToolError
from mcpserve_calculator import functions
from mcpserve_calculator.arithmetic import Number
from mcpserve_calculator.definitions import UNITS
from mcpserve_calculator.quantities import Quantity, Value, between, plain, power, words
from mcpserve_calculator.units import ANGLE, product

ALIKE = ("min", "max", "sum", "mean", "median", "hypot", "abs", "floor", "ceil")
"""These take values of one kind and return one in the unit of the first."""

ROOTS = {"sqrt": Fraction(1, 2), "cbrt": Fraction(1, 3)}

ANGLES = ("sin", "cos", "tan")


def apply(name: str, arguments: list[Value]) -> Value:
    """Call a function. Raises :class:`ToolError` if it does not take these values."""
    first = arguments[0] if arguments else None
    if isinstance(first, Quantity) and name in ALIKE:
        if first.reading and name in ("sum", "hypot"):
            raise ToolError("temperatures have no sum: convert them to K first")
        numbers = [in_unit(name, first, argument) for argument in arguments]
        return Quantity(functions.apply(name, numbers), first.unit)
    if isinstance(first, Quantity) and name == "round":
        places = [number(name, argument) for argument in arguments[1:]]
        return Quantity(functions.apply(name, [first.number, *places]), first.unit)
    values = [plain(argument) for argument in arguments]
    match values:
        case [Quantity() as value] if name in ROOTS:
            if value.number < 0:
                functions.apply(name, [value.number])
            return power(value, ROOTS[name])
        case [Quantity() as value] if name in ANGLES and value.unit.dimension == ANGLE:
            return functions.apply(name, [between(value, product([(UNITS["rad"], 1)]))])
    return functions.apply(name, [number(name, value) for value in values])


def in_unit(name: str, first: Quantity, argument: Value) -> Number:
    """Return the number of an argument in the unit of the first one."""
    if not isinstance(argument, Quantity) or argument.unit.dimension != first.unit.dimension:
        raise ToolError(f"{name}: cannot mix {words(first)} and {words(argument)}")
    return between(argument, first.unit)


def number(name: str, value: Value) -> Number:
    """Return a plain number as such."""
    value = plain(value)
    if isinstance(value, Quantity):
        raise ToolError(
            f"{name} takes plain numbers, not {words(value)}: divide by 1 {value.unit.symbol}"
        )
    return value

"""Units: what they measure, and the algebra of their products.

A unit is a product of named units to whole powers. Its scale is what one of it is in the base
units metre, kilogram, second, kelvin, bit, degree and ampere.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from mcpserve import ToolError
from mcpserve_calculator.arithmetic import Number, divide, multiply, power

Dimension = tuple[int, ...]
"""Powers of length, mass, time, temperature, data, angle and current."""

PLAIN: Dimension = (0,) * 7
LENGTH: Dimension = (1, 0, 0, 0, 0, 0, 0)
MASS: Dimension = (0, 1, 0, 0, 0, 0, 0)
TIME: Dimension = (0, 0, 1, 0, 0, 0, 0)
TEMPERATURE: Dimension = (0, 0, 0, 1, 0, 0, 0)
DATA: Dimension = (0, 0, 0, 0, 1, 0, 0)
ANGLE: Dimension = (0, 0, 0, 0, 0, 1, 0)
CURRENT: Dimension = (0, 0, 0, 0, 0, 0, 1)

AREA: Dimension = (2, 0, 0, 0, 0, 0, 0)
VOLUME: Dimension = (3, 0, 0, 0, 0, 0, 0)
SPEED: Dimension = (1, 0, -1, 0, 0, 0, 0)
FREQUENCY: Dimension = (0, 0, -1, 0, 0, 0, 0)
FORCE: Dimension = (1, 1, -2, 0, 0, 0, 0)
ENERGY: Dimension = (2, 1, -2, 0, 0, 0, 0)
POWER: Dimension = (2, 1, -3, 0, 0, 0, 0)
PRESSURE: Dimension = (-1, 1, -2, 0, 0, 0, 0)
BANDWIDTH: Dimension = (0, 0, -1, 0, 1, 0, 0)
CHARGE: Dimension = (0, 0, 1, 0, 0, 0, 1)
VOLTAGE: Dimension = (2, 1, -3, 0, 0, 0, -1)
RESISTANCE: Dimension = (2, 1, -3, 0, 0, 0, -2)
DISTANCE_PER_VOLUME: Dimension = (-2, 0, 0, 0, 0, 0, 0)

KINDS = {
    PLAIN: "plain number",
    LENGTH: "length",
    MASS: "mass",
    TIME: "time",
    TEMPERATURE: "temperature",
    DATA: "data",
    ANGLE: "angle",
    CURRENT: "current",
    AREA: "area",
    VOLUME: "volume",
    SPEED: "speed",
    FREQUENCY: "frequency",
    FORCE: "force",
    ENERGY: "energy",
    POWER: "power",
    PRESSURE: "pressure",
    BANDWIDTH: "data rate",
    CHARGE: "charge",
    VOLTAGE: "voltage",
    RESISTANCE: "resistance",
    DISTANCE_PER_VOLUME: "distance per volume",
}
"""What a dimension is called."""

MAX_FACTORS = 8
"""Most named units in one product."""

MAX_POWER = 12
"""Largest power of a named unit; with :data:`MAX_FACTORS` it bounds the digits of a scale."""


@dataclass(frozen=True)
class Named:
    """A unit with a name of its own."""

    symbol: str
    words: str
    """The name in the plural, for messages."""
    scale: Number
    dimension: Dimension
    parts: tuple[tuple[str, int], ...] = ()
    """For a rate or a product with a name of its own, such as mph: the units that it is made of."""
    fuel: bool = False
    """Whether it may be converted to its reciprocal, as miles per gallon to L/100km."""
    zero: Fraction | None = None
    """For a scale of temperatures, such as °C: its zero in kelvin. It has readings, no amounts."""
    difference: "Named | None" = None
    """For such a scale: the unit of differences between its readings."""


@dataclass(frozen=True)
class Unit:
    """A product of named units."""

    factors: tuple[tuple[Named, int], ...]

    @property
    def symbol(self) -> str:
        """The unit as it is written: ``kg*m/s^2``."""
        above = [spelled(named, exponent) for named, exponent in self.factors if exponent > 0]
        below = [(named, -exponent) for named, exponent in self.factors if exponent < 0]
        if not above:
            return "*".join(spelled(named, exponent) for named, exponent in self.factors)
        divisor = "*".join(spelled(named, exponent) for named, exponent in below)
        divisor = f"({divisor})" if len(below) > 1 else divisor
        return "*".join(above) + (f"/{divisor}" if below else "")

    @property
    def words(self) -> str:
        """The unit and what it measures, for a message: ``metres (length)``."""
        single = self.single
        name = single.words if single else self.symbol
        return f"{name} ({KINDS[self.dimension]})" if self.dimension in KINDS else name

    @property
    def dimension(self) -> Dimension:
        """What the unit measures."""
        return tuple(
            sum(named.dimension[base] * exponent for named, exponent in self.factors)
            for base in range(len(PLAIN))
        )

    @property
    def scale(self) -> Number:
        """What one of this unit is in base units."""
        scale: Number = Fraction(1)
        for named, exponent in self.factors:
            scale = multiply(scale, power(named.scale, Fraction(exponent)))
        return scale

    @property
    def single(self) -> Named | None:
        """The named unit, if the unit is just that."""
        match self.factors:
            case [(named, 1)]:
                return named
        return None

    @property
    def fuel(self) -> bool:
        """Whether this is a unit of fuel consumption."""
        return any(named.fuel for named, _ in self.factors)


def product(factors: Iterable[tuple[Named, int]]) -> Unit:
    """Return a product of named units, each once.

    In a product, °C can only mean differences: J/(kg*°C). Raises :class:`ToolError` if it
    is too long.
    """
    powers: dict[Named, int] = {}
    for named, exponent in factors:
        powers[named] = powers.get(named, 0) + exponent
    powers = {named: exponent for named, exponent in powers.items() if exponent}
    if list(powers.values()) != [1]:
        pairs = [(named.difference or named, exponent) for named, exponent in powers.items()]
        if any(named.difference for named in powers):
            return product(pairs)
    if len(powers) > MAX_FACTORS or any(abs(n) > MAX_POWER for n in powers.values()):
        raise ToolError(
            f"a unit has at most {MAX_FACTORS} different factors with powers up to {MAX_POWER}: "
            "compute it in parts"
        )
    # As it is written: what is above the line comes first.
    return Unit(tuple(sorted(powers.items(), key=lambda factor: factor[1] < 0)))


def merged(left: Unit, right: Unit) -> tuple[Number, Unit]:
    """Return the product of two units and the number it takes for that.

    What measures the same is counted in the unit of the left one: ``m*ft`` is 0.3048 ``m^2``.
    """
    number: Number = Fraction(1)
    factors = list(left.factors)
    for named, exponent in right.factors:
        same = next((own for own, _ in left.factors if own.dimension == named.dimension), named)
        if same is not named:
            ratio = divide(named.scale, same.scale)
            number = multiply(number, power(ratio, Fraction(exponent)))
        factors.append((same, exponent))
    return number, product(factors)


def inverse(unit: Unit) -> Unit:
    """Return one divided by the unit."""
    return product((named, -exponent) for named, exponent in unit.factors)


def spelled(named: Named, exponent: int) -> str:
    """Return a power of a unit as it is written."""
    return named.symbol if exponent == 1 else f"{named.symbol}^{exponent}"

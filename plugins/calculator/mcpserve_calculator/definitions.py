"""The table of units, and how a unit is found by what people call it.

Factors are exact by definition, except of the radian. Nothing is guessed: a name that means
several things (``ton``) or nothing fixed (``month``) is refused with the names to use instead.
"""

from collections.abc import Mapping
from decimal import localcontext
from difflib import get_close_matches
from fractions import Fraction

from mcpserve_calculator.arithmetic import WORKING, Number, multiply
from mcpserve_calculator.series import PI
from mcpserve_calculator.units import (
    ANGLE,
    AREA,
    BANDWIDTH,
    CHARGE,
    CURRENT,
    DATA,
    DISTANCE_PER_VOLUME,
    ENERGY,
    FORCE,
    FREQUENCY,
    LENGTH,
    MASS,
    PLAIN,
    POWER,
    PRESSURE,
    RESISTANCE,
    SPEED,
    TEMPERATURE,
    TIME,
    VOLTAGE,
    VOLUME,
    Dimension,
    Named,
)

SMALL = {
    "q": ("quecto", -30), "r": ("ronto", -27), "y": ("yocto", -24), "z": ("zepto", -21),
    "a": ("atto", -18), "f": ("femto", -15), "p": ("pico", -12), "n": ("nano", -9),
    "u": ("micro", -6), "m": ("milli", -3), "c": ("centi", -2), "d": ("deci", -1),
    "da": ("deca", 1), "h": ("hecto", 2),
}  # fmt: skip

LARGE = {
    "k": ("kilo", 3), "M": ("mega", 6), "G": ("giga", 9), "T": ("tera", 12), "P": ("peta", 15),
    "E": ("exa", 18), "Z": ("zetta", 21), "Y": ("yotta", 24), "R": ("ronna", 27),
    "Q": ("quetta", 30),
}  # fmt: skip

BINARY = (
    ("Ki", "kibi"),
    ("Mi", "mebi"),
    ("Gi", "gibi"),
    ("Ti", "tebi"),
    ("Pi", "pebi"),
    ("Ei", "exbi"),
)

DECIMAL_PREFIXES = {symbol: (name, Fraction(10) ** n) for symbol, (name, n) in LARGE.items()}
SI = DECIMAL_PREFIXES | {symbol: (name, Fraction(10) ** n) for symbol, (name, n) in SMALL.items()}
DATA_PREFIXES = DECIMAL_PREFIXES | {
    symbol: (name, Fraction(1024) ** n) for n, (symbol, name) in enumerate(BINARY, start=1)
}

NO_PREFIXES: Mapping[str, tuple[str, Fraction]] = {}

INCH, FOOT, MILE = Fraction("0.0254"), Fraction("0.3048"), Fraction("1609.344")
POUND, GRAVITY = Fraction("0.45359237"), Fraction("9.80665")
GALLON, IMPERIAL_GALLON = 231 * INCH**3, Fraction("0.00454609")
POUND_FORCE = POUND * GRAVITY

with localcontext(WORKING):
    RADIAN = 180 / PI

Prefixes = Mapping[str, tuple[str, Fraction]]

# Symbols; names, the first one for messages; scale; dimension; prefixes. After : the plural.
ROWS: tuple[tuple[str, str, Number | int | str, Dimension, Prefixes], ...] = (
    ("m", "metre meter", 1, LENGTH, SI),
    ("in", "inch:inches", INCH, LENGTH, NO_PREFIXES),
    ("ft", "foot:feet", FOOT, LENGTH, NO_PREFIXES),
    ("yd", "yard", 3 * FOOT, LENGTH, NO_PREFIXES),
    ("mi", "mile", MILE, LENGTH, NO_PREFIXES),
    ("nmi", "nautical_mile", 1852, LENGTH, NO_PREFIXES),
    ("ly", "light_year", 9460730472580800, LENGTH, NO_PREFIXES),
    ("au", "astronomical_unit", 149597870700, LENGTH, NO_PREFIXES),
    ("g", "gram gramme", "0.001", MASS, SI),
    ("t", "tonne metric_ton", 1000, MASS, NO_PREFIXES),
    ("lb lbs", "pound", POUND, MASS, NO_PREFIXES),
    ("oz", "ounce", POUND / 16, MASS, NO_PREFIXES),
    ("st", "stone:stone", 14 * POUND, MASS, NO_PREFIXES),
    ("short_ton", "short_ton", 2000 * POUND, MASS, NO_PREFIXES),
    ("long_ton", "long_ton", 2240 * POUND, MASS, NO_PREFIXES),
    ("s sec", "second", 1, TIME, SI),
    ("min", "minute", 60, TIME, NO_PREFIXES),
    ("h hr hrs", "hour", 3600, TIME, NO_PREFIXES),
    ("d", "day", 86400, TIME, NO_PREFIXES),
    ("wk", "week", 604800, TIME, NO_PREFIXES),
    ("yr", "year", 31557600, TIME, NO_PREFIXES),
    ("K", "kelvin:kelvin", 1, TEMPERATURE, SI),
    ("delta_degC", "celsius_difference", 1, TEMPERATURE, NO_PREFIXES),
    ("delta_degF", "fahrenheit_difference", Fraction(5, 9), TEMPERATURE, NO_PREFIXES),
    ("ha", "hectare", 10_000, AREA, NO_PREFIXES),
    ("acre", "acre", 43560 * FOOT**2, AREA, NO_PREFIXES),
    ("sqft sq_ft", "square_foot:square_feet", FOOT**2, AREA, NO_PREFIXES),
    ("l L", "litre liter", "0.001", VOLUME, SI),
    ("cc", "cubic_centimetre", "0.000001", VOLUME, NO_PREFIXES),
    ("gal", "gallon us_gallon", GALLON, VOLUME, NO_PREFIXES),
    ("qt", "quart us_quart", GALLON / 4, VOLUME, NO_PREFIXES),
    ("pt", "pint us_pint", GALLON / 8, VOLUME, NO_PREFIXES),
    ("cup", "cup us_cup", GALLON / 16, VOLUME, NO_PREFIXES),
    ("floz fl_oz", "fluid_ounce", GALLON / 128, VOLUME, NO_PREFIXES),
    ("tbsp", "tablespoon", GALLON / 256, VOLUME, NO_PREFIXES),
    ("tsp", "teaspoon", GALLON / 768, VOLUME, NO_PREFIXES),
    ("impgal", "imperial_gallon", IMPERIAL_GALLON, VOLUME, NO_PREFIXES),
    ("imppt", "imperial_pint", IMPERIAL_GALLON / 8, VOLUME, NO_PREFIXES),
    ("mph", "mile_per_hour:miles_per_hour", MILE / 3600, SPEED, NO_PREFIXES),
    ("kph kmh", "kilometre_per_hour:kilometres_per_hour", Fraction(5, 18), SPEED, NO_PREFIXES),
    ("kn", "knot", Fraction(1852, 3600), SPEED, NO_PREFIXES),
    ("bit b", "bit", 1, DATA, DATA_PREFIXES),
    ("B", "byte", 8, DATA, DATA_PREFIXES),
    ("bps", "bit_per_second:bits_per_second", 1, BANDWIDTH, DATA_PREFIXES),
    ("J", "joule", 1, ENERGY, SI),
    ("Wh", "watt_hour", 3600, ENERGY, SI),
    ("cal", "calorie", "4.184", ENERGY, SI),
    ("eV", "electronvolt", "1.602176634e-19", ENERGY, SI),
    ("BTU Btu", "british_thermal_unit", "1055.05585262", ENERGY, NO_PREFIXES),
    ("W", "watt", 1, POWER, SI),
    ("hp", "horsepower:horsepower", 550 * FOOT * POUND_FORCE, POWER, NO_PREFIXES),
    ("PS", "metric_horsepower:metric_horsepower", 75 * GRAVITY, POWER, NO_PREFIXES),
    ("Pa", "pascal", 1, PRESSURE, SI),
    ("bar", "bar", 100_000, PRESSURE, SI),
    ("atm", "atmosphere", 101_325, PRESSURE, NO_PREFIXES),
    ("psi", "psi:psi", POUND_FORCE / INCH**2, PRESSURE, NO_PREFIXES),
    ("mmHg", "mmHg:mmHg", "133.322387415", PRESSURE, NO_PREFIXES),
    ("torr", "torr:torr", Fraction(101_325, 760), PRESSURE, NO_PREFIXES),
    ("ppm", "part_per_million:parts_per_million", "0.000001", PLAIN, NO_PREFIXES),
    ("ppb", "part_per_billion:parts_per_billion", "0.000000001", PLAIN, NO_PREFIXES),
    ("deg °", "degree", 1, ANGLE, NO_PREFIXES),
    ("rad", "radian", RADIAN, ANGLE, SI),
    ("grad gon", "gradian", "0.9", ANGLE, NO_PREFIXES),
    ("turn", "turn", 360, ANGLE, NO_PREFIXES),
    ("arcmin", "arcminute", Fraction(1, 60), ANGLE, NO_PREFIXES),
    ("arcsec", "arcsecond", Fraction(1, 3600), ANGLE, NO_PREFIXES),
    ("N", "newton", 1, FORCE, SI),
    ("lbf", "pound_force:pounds_force", POUND_FORCE, FORCE, NO_PREFIXES),
    ("kgf", "kilogram_force:kilograms_force", GRAVITY, FORCE, NO_PREFIXES),
    ("Hz", "hertz:hertz", 1, FREQUENCY, SI),
    ("rpm", "rpm:rpm", Fraction(1, 60), FREQUENCY, NO_PREFIXES),
    ("A", "ampere amp", 1, CURRENT, SI),
    ("Ah", "ampere_hour", 3600, CHARGE, SI),
    ("V", "volt", 1, VOLTAGE, SI),
    ("ohm", "ohm", 1, RESISTANCE, SI),
    ("mpg", "mile_per_gallon:miles_per_gallon", MILE / GALLON, DISTANCE_PER_VOLUME, NO_PREFIXES),
    ("impmpg", "mile_per_imperial_gallon:miles_per_imperial_gallon", MILE / IMPERIAL_GALLON,
     DISTANCE_PER_VOLUME, NO_PREFIXES),
    ("L/100km", "litre_per_100km:litres_per_100km", "0.00000001", AREA, NO_PREFIXES),
)  # fmt: skip

PARTS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "mph": (("mi", 1), ("h", -1)),
    "kph": (("km", 1), ("h", -1)),
    "kn": (("nmi", 1), ("h", -1)),
    "bps": (("bit", 1), ("s", -1)),
    "Wh": (("W", 1), ("h", 1)),
    "Ah": (("A", 1), ("h", 1)),
    "mpg": (("mi", 1), ("gal", -1)),
    "impmpg": (("mi", 1), ("impgal", -1)),
    "L/100km": (("l", 1), ("km", -1)),
    "Hz": (("s", -1),),
    "rpm": (("min", -1),),
}
"""What rates and products are made of, up to a number; a prefix goes to a part above the line."""

FUEL = ("mpg", "impmpg", "L/100km")

PERCENT = Named("%", "percentages", Fraction(1, 100), PLAIN)


def forms(names: str) -> list[tuple[str, str]]:
    """Return each name with its plural, in words."""
    pairs = (name.partition(":")[::2] for name in names.split())
    return [(one, many or f"{one}s") for one, many in pairs]


def made_of(symbol: str, prefix: str = "") -> tuple[tuple[str, int], ...]:
    """Return the parts of a unit, the first one with the prefix if it is above the line."""
    parts = PARTS.get(symbol, ())
    return tuple((prefix + name if n > 0 and name != "h" else name, n) for name, n in parts)


def table() -> dict[str, Named]:
    """Return all units by everything they are called, the names without prefix first."""
    units: dict[str, Named] = {}
    for symbols, names, scale, dimension, _ in ROWS:
        symbol, words = symbols.split()[0], forms(names)[0][1].replace("_", " ")
        exact = scale if not isinstance(scale, int | str) else Fraction(scale)
        named = Named(symbol, words, exact, dimension, made_of(symbol), symbol in FUEL)
        for name in (*symbols.split(), *sum(forms(names), ())):
            units[name] = named
    for symbols, names, scale, dimension, prefixes in ROWS:
        for prefix, (word, size) in prefixes.items():
            exact = multiply(scale if not isinstance(scale, int | str) else Fraction(scale), size)
            own = prefix + symbols.split()[0]
            first = forms(names)[0][1].replace("_", " ")
            made = made_of(symbols.split()[0], prefix)
            named = Named(own, word + first, exact, dimension, made)
            short = [prefix + symbol for symbol in symbols.split() if symbol != "sec"]
            long = [word + name for name in sum(forms(names), ())]
            for name in (*short, *long):
                units.setdefault(name, named)
    units["KB"] = units["kB"]
    celsius = Named("°C", "degrees Celsius", Fraction(1), TEMPERATURE, zero=Fraction("273.15"),
                    difference=units["delta_degC"])  # fmt: skip
    fahrenheit = Named("°F", "degrees Fahrenheit", Fraction(5, 9), TEMPERATURE,
                       zero=Fraction("459.67") * 5 / 9, difference=units["delta_degF"])  # fmt: skip
    for name in ("°C", "degC", "C", "celsius", "Celsius"):
        units[name] = celsius
    for name in ("°F", "degF", "F", "fahrenheit", "Fahrenheit"):
        units[name] = fahrenheit
    return units


UNITS: Mapping[str, Named] = table()

POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
"""Words before a unit of length."""

CURRENCIES = "usd eur gbp jpy chf cny dollar dollars euro euros yen cent cents pounds_sterling"

REFUSED = {
    "ton": "a ton may be t (1000 kg), short_ton or long_ton: write which one",
    "tons": "a ton may be t (1000 kg), short_ton or long_ton: write which one",
    "month": "a month has no fixed length: write days",
    "months": "a month has no fixed length: write days",
    **{name: "currencies are not supported: exchange rates change; multiply by the rate"
       for name in CURRENCIES.split()},
}  # fmt: skip


def find(name: str) -> Named | None:
    """Return the unit of this name; only long names are found whatever their case."""
    return UNITS.get(name) or (UNITS.get(name.lower()) if len(name) > 3 else None)


def power(name: str) -> tuple[Named, int] | None:
    """Return what a name stands for: a unit, or the square or cube of one of length."""
    if named := find(name):
        return named, 1
    word, _, rest = name.lower().partition("_")
    length = find(rest)
    if word not in POWERS or length is None or length.dimension != LENGTH:
        return None
    return length, POWERS[word]


def unknown_unit(name: str) -> str:
    """Say which units a name may have been meant to be."""
    if name.lower() in REFUSED:
        return REFUSED[name.lower()]
    same = [known for known in UNITS if known.lower() == name.lower()]
    close = same or get_close_matches(name[:40], UNITS, n=3, cutoff=0.7)
    hint = f"did you mean {', '.join(close)}?" if close else "write it as m, kg, s, km/h, °C, …"
    return f"unknown unit {name[:40]!r}: {hint}"


def of_kind(dimension: Dimension) -> list[str]:
    """Return a few units of a dimension."""
    return [row[0].split()[0] for row in ROWS if row[3] == dimension][:4]

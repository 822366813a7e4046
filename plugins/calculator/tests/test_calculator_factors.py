"""Factors that law, treaty or standard fix exactly, and the prefixes."""

from fractions import Fraction

import pytest
from mcpserve_calculator.answers import describe
from mcpserve_calculator.definitions import PARTS, UNITS
from mcpserve_calculator.evaluation import evaluate
from mcpserve_calculator.expressions import read
from mcpserve_calculator.units import product


def answer(text):
    understood = read(text)
    return describe(understood.shown, evaluate(understood))


DEFINED = [
    # The international yard and pound agreement of 1959.
    ("in", "mm", "25.4"),
    ("ft", "m", "0.3048"),
    ("yd", "m", "0.9144"),
    ("mi", "m", "1609.344"),
    ("lb", "kg", "0.45359237"),
    ("oz", "g", "28.349523125"),
    ("st", "kg", "6.35029318"),
    ("short_ton", "kg", "907.18474"),
    ("long_ton", "kg", "1016.0469088"),
    ("acre", "m^2", "4046.8564224"),
    ("sqft", "m^2", "0.09290304"),
    ("square mile", "km^2", "2.589988110336"),
    ("cubic foot", "l", "28.316846592"),
    ("mph", "m/s", "0.44704"),
    # Of the US: a gallon is 231 cubic inches. Of the UK: the Weights and Measures Act 1985.
    ("gal", "l", "3.785411784"),
    ("qt", "ml", "946.352946"),
    ("pt", "ml", "473.176473"),
    ("cup", "ml", "236.5882365"),
    ("floz", "ml", "29.5735295625"),
    ("tbsp", "ml", "14.78676478125"),
    ("tsp", "ml", "4.92892159375"),
    ("impgal", "l", "4.54609"),
    ("imppt", "ml", "568.26125"),
    # The SI Brochure and the units accepted for use with it; IAU 2012 B2 and the Julian year.
    ("t", "kg", "1000"),
    ("ha", "m^2", "10000"),
    ("l", "m^3", "0.001"),
    ("min", "s", "60"),
    ("h", "s", "3600"),
    ("d", "s", "86400"),
    ("wk", "d", "7"),
    ("yr", "d", "365.25"),
    ("au", "m", "149597870700"),
    ("ly", "m", "9460730472580800"),
    ("eV", "J", "0.0000000000000000001602176634"),
    ("nmi", "m", "1852"),
    ("kn", "km/h", "1.852"),
    ("bar", "Pa", "100000"),
    ("turn", "deg", "360"),
    ("gon", "deg", "0.9"),
    ("deg", "arcmin", "60"),
    ("arcmin", "arcsec", "60"),
    ("Ah", "A*s", "3600"),
    ("Hz", "s^-1", "1"),
    # Standard gravity, 9.80665 m/s^2 (CGPM 1901), and what is made with it.
    ("kgf", "N", "9.80665"),
    ("lbf", "N", "4.4482216152605"),
    ("hp", "W", "745.69987158227022"),
    ("PS", "W", "735.49875"),
    ("hp", "ft*lbf/s", "550"),
    ("psi", "lbf/in^2", "1"),
    ("atm", "Pa", "101325"),
    ("atm", "torr", "760"),
    ("mmHg", "Pa", "133.322387415"),
    # The thermochemical calorie and the BTU of the International Table.
    ("cal", "J", "4.184"),
    ("BTU", "J", "1055.05585262"),
    ("kWh", "J", "3600000"),
    # IEC 80000-13.
    ("B", "bit", "8"),
    ("kB", "B", "1000"),
    ("KB", "B", "1000"),
    ("KiB", "B", "1024"),
    ("MiB", "KiB", "1024"),
    ("GiB", "B", "1073741824"),
    ("TB", "B", "1000000000000"),
    ("Gbps", "Mbit/s", "1000"),
    ("%", "ppm", "10000"),
    ("ppm", "ppb", "1000"),
    ("impmpg", "mi/impgal", "1"),
    ("100 mpg", "mi/gal", "100"),
]


@pytest.mark.parametrize(("unit", "other", "factor"), DEFINED, ids=[row[0] for row in DEFINED])
def test_a_factor_is_the_one_that_was_defined(unit, other, factor):
    amount = unit if unit[0].isdigit() else f"1{unit}" if unit == "%" else f"1 {unit}"
    found = answer(f"{amount} to {other}")
    assert (Fraction(found.result), found.exact) == (Fraction(factor), True)


TWO_WORDS = [
    ("2 fl oz", "floz"),
    ("2 Nautical miles", "nmi"),
    ("2 light years", "ly"),
    ("2 metric tons", "t"),
    ("2 imperial gallons", "impgal"),
    ("2 US pints", "pt"),
    ("2 sq ft", "sqft"),
    ("2 square feet", "sqft"),
    ("2 sq in", "in^2"),
    ("2 square kilometres", "km^2"),
    ("2 cubic metres", "m^3"),
    ("2 cu cm", "cm^3"),
    ("2 square cm per cubic m", "cm^2/m^3"),
    ("2 fl", "fl"),
    ("2 fl to fl", "fl"),
]


@pytest.mark.parametrize(("text", "unit"), TWO_WORDS)
def test_units_of_two_words_are_understood(text, unit):
    found = answer(text)
    assert (found.result, found.unit) == ("2", unit)


TEMPERATURES = [
    ("0 °C", "K", "273.15"),
    ("0 K", "°F", "-459.67"),
    ("32 °F", "°C", "0"),
    ("212 °F", "°C", "100"),
    ("-40 °F", "°C", "-40"),
    ("98.6 F", "C", "37"),
    ("9 delta_degF", "delta_degC", "5"),
    ("(30 °C - 20 °C)", "delta_degF", "18"),
    ("1 J/(kg*°C)", "J/(kg*K)", "1"),
]


@pytest.mark.parametrize(("reading", "scale", "result"), TEMPERATURES)
def test_temperatures_have_the_right_zero(reading, scale, result):
    found = answer(f"{reading} to {scale}")
    assert (found.result, found.exact) == (result, True)


PREFIXES = list(zip([*"qryzafpnum", "", *"kMGTPEZYRQ"], range(-30, 31, 3), strict=True))


@pytest.mark.parametrize(("symbol", "power"), PREFIXES)
def test_a_prefix_is_a_power_of_ten(symbol, power):
    assert UNITS[f"{symbol}m"].scale == Fraction(10) ** power
    assert UNITS[f"{symbol}W"].scale == Fraction(10) ** power


@pytest.mark.parametrize(("prefix", "power"), [("c", -2), ("d", -1), ("da", 1), ("h", 2)])
def test_a_small_prefix_is_a_power_of_ten(prefix, power):
    assert UNITS[f"{prefix}m"].scale == Fraction(10) ** power


BINARY = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]


@pytest.mark.parametrize("prefix", BINARY)
def test_a_binary_prefix_is_a_power_of_1024(prefix):
    assert UNITS[f"{prefix}B"].scale == 8 * 1024 ** (BINARY.index(prefix) + 1)


def test_the_parts_of_a_unit_measure_the_same():
    for unit in {unit for unit in UNITS.values() if unit.parts}:
        parts = product([(UNITS[name], n) for name, n in unit.parts])
        assert parts.dimension == unit.dimension, unit.symbol
        assert parts.scale == unit.scale or unit.symbol.endswith(("Hz", "L/100km")), unit.symbol


MADE_OF = [
    ("60 mph * 2 h", "120", "mi"),
    ("300 mi / 60 mph", "5", "h"),
    ("500 MB / 20 Mbps", "200", "s"),
    ("20 Mbps * 10 s", "200", "Mbit"),
    ("10 kWh / 5 h", "2", "kW"),
    ("300 km * 8 L/100km", "24", "l"),
    ("300 mi / 30 mpg", "10", "gal"),
    ("3000 rpm * 2 min", "6000", None),
    ("50 kHz * 2 s", "100000", None),
    ("60 mph * 2", "120", "mph"),
    ("18 kWh / 100 km", "0.18", "kWh/km"),
    ("2 m * 3 rad", "6", "m*rad"),
]


@pytest.mark.parametrize(("text", "result", "unit"), MADE_OF)
def test_rates_with_names_of_their_own_cancel_with_what_they_are_made_of(text, result, unit):
    found = answer(text)
    assert (found.result, found.unit, found.exact) == (result, unit, True)


def test_every_unit_with_parts_is_in_the_table():
    assert set(PARTS) <= set(UNITS)

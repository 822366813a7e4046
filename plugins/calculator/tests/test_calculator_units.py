"""Percentages and units: exact values, what is refused, and properties."""

import asyncio
import time
from fractions import Fraction

import mcpserve_calculator
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpserve.testing import load_plugin


async def call(expression):
    async with load_plugin(mcpserve_calculator) as plugin:
        return await plugin.call("calculator", expression=expression)


EXACT = [
    ("200 + 10%", "220", None),
    ("200 - 10%", "180", None),
    ("200 + 10% + 10%", "242", None),
    ("15% of 80", "12", None),
    ("50% * 3", "1.5", None),
    ("20%", "0.2", None),
    ("5% + 10%", "0.15", None),
    ("7 % 3", "1", None),
    ("7 % -3", "-2", None),
    ("7%-3", "-2.93", None),
    ("7 mod 3", "1", None),
    ("3/8 to %", "37.5", "%"),
    ("50 m + 10%", "55", "m"),
    ("1 in to cm", "2.54", "cm"),
    ("1 mile to km", "1.609344", "km"),
    ("1/2 mile to km", "0.804672", "km"),
    ("3 ft + 2 in in cm", "96.52", "cm"),
    ("90 km/h to m/s", "25", "m/s"),
    ("2 h 30 min", "2.5", "h"),
    ("100 km / 50 km/h", "2", "h"),
    ("10 m / 2 s", "5", "m/s"),
    ("1 lb to g", "453.59237", "g"),
    ("1 acre to m^2", "4046.8564224", "m^2"),
    ("1 gal to ml", "3785.411784", "ml"),
    ("1 GiB to MB", "1073.741824", "MB"),
    ("1 kWh to J", "3600000", "J"),
    ("5 kg * 2 m/s^2 to N", "10", "N"),
    ("8 L/100km to L/100km", "8", "L/100km"),
    ("90 deg to turn", "0.25", "turn"),
    ("sqrt(9 m²)", "3", "m"),
    ("-40 °C to °F", "-40", "°F"),
    ("-5 °C to K", "268.15", "K"),
    ("(30 °C - 20 °C) to °F", "18", "delta_degF"),
    ("20 °C + 5 K", "25", "°C"),
    ("mean(20 °C, 30 °C)", "25", "°C"),
]


@pytest.mark.parametrize(("expression", "result", "unit"), EXACT)
async def test_percentages_and_units_are_exact(expression, result, unit):
    found = (await call(expression)).structured_content
    assert (found["result"], found["unit"], found["exact"]) == (result, unit, True)


async def test_radians_are_rounded():
    found = (await call("180 deg to rad")).structured_content
    assert (found["result"], found["exact"]) == ("3.1415926535897932385", False)


async def test_the_steps_can_be_followed():
    found = (await call("15% of 80 + 3 * 2")).structured_content
    assert found["steps"] == ["15% of 80 = 12", "3 * 2 = 6", "12 + 6 = 18"]


async def test_the_steps_are_bounded():
    steps = (await call("1" + "+1" * 400)).structured_content["steps"]
    assert (len(steps), steps[-1]) == (21, "… 380 more steps")


PROBLEMS = [
    ("5 m + 3 s", "cannot add metres (length) and seconds (time)"),
    ("2 * (5 m + 3)", "(at character 6: '5 m + 3')"),
    ("5 km to s", "cannot convert kilometres (length) to seconds (time); units of length are m"),
    ("5 kilometrs to m", "did you mean kilometres"),
    ("5 KM to m", "did you mean km"),
    ("5 USD to EUR", "currencies are not supported"),
    ("$5 * 3", "currencies are not supported"),
    ("1 ton to kg", "short_ton"),
    ("20 °C + 5 °C", "two temperatures have no sum"),
    ("20 °C * 2", "a reading and no amount"),
    ("7 % - 3", "7 mod -3"),
    ("100 / 50% of 80", "of takes a percentage"),
    ("5 km to m + 3 m", "a conversion comes last"),
    ("ln(5 m)", "ln takes plain numbers, not metres (length)"),
    ("5 m^1000000000", "units take powers"),
    ("(5 km)^1000000", "powers up to 12"),
    ("5 m^999", "powers up to 12"),
    ("5 Qm^12 * 5 " + "*".join(["Qg", "Qs", "QK", "QA", "Qbit", "QJ", "QW", "QPa"]), "unit"),
]


@pytest.mark.parametrize(("expression", "problem"), PROBLEMS, ids=[p[0][:20] for p in PROBLEMS])
async def test_a_mistake_with_units_is_explained(expression, problem):
    result = await call(expression)
    assert result.is_error
    assert problem in result.content[0].text


@pytest.mark.parametrize(
    "expression", ["1%" * 500, "1 m " * 250, "2 m*" * 249 + "1", "m/(" * 300, "9e9999 Qm to qm"]
)  # fmt: skip
async def test_hostile_units_end_soon(expression):
    begun = time.monotonic()
    await call(expression)
    assert time.monotonic() - begun < 5


def number(expression):
    found = asyncio.run(call(expression)).structured_content
    return Fraction(found["fraction"] or found["result"])


lengths = st.sampled_from(["m", "km", "in", "ft", "mile", "nmi", "yd", "um"])
amounts = st.decimals(0, 10**6, places=3).map(str)


@settings(deadline=None, max_examples=40)
@given(amounts, lengths, lengths)
def test_a_conversion_and_back_changes_nothing(amount, unit, other):
    assert number(f"{amount} {unit} to {other} to {unit}") == Fraction(amount)


@settings(deadline=None, max_examples=40)
@given(amounts, lengths, amounts, lengths)
def test_a_sum_of_units_does_not_depend_on_the_order(a, unit, b, other):
    left, right = f"{a} {unit}", f"{b} {other}"
    assert number(f"{left} + {right} to m") == number(f"{right} + {left} to m")

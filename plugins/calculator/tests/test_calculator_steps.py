"""The steps of an answer: each can be computed again and has the value that it shows."""

from fractions import Fraction

import pytest
from mcpserve_calculator.answers import describe, sentence
from mcpserve_calculator.evaluation import evaluate
from mcpserve_calculator.expressions import read


def answer(text):
    understood = read(text)
    return describe(understood.shown, evaluate(understood))


def value(text):
    found = answer(text)
    number = Fraction(found.fraction or found.result)
    return (number / 100, None) if found.unit == "%" else (number, found.unit)


STEPS = [
    ("5!", ["5! = 120"]),
    ("200 + 10% + 10%", ["200 + 10% of 200 = 220", "220 + 10% of 220 = 242"]),
    ("1/3 + 1/4", ["1 / 3 = 1/3", "1 / 4 = 0.25", "(1/3) + 0.25 = 7/12"]),
    ("5 ft 11 in to cm", ["5 ft + 11 in ≈ 5.91666666667 ft", "5.91666666667 ft to cm ≈ 180.34 cm"]),
    (
        "2^64 - 1",
        ["2 ^ 64 = 18446744073709551616", "18446744073709551616 - 1 = 18446744073709551615"],
    ),
    ("abs(2 - 5)", ["2 - 5 = -3", "abs(-3) = 3"]),
    ("(2 m + 1 m)^2", ["2 m + 1 m = 3 m", "(3 m) ^ 2 = 9 m^2"]),
    ("30/129 to %", ["30 / 129 = 10/43", "(10/43) to % ≈ 23.2558139535%"]),
]


@pytest.mark.parametrize(("text", "steps"), STEPS)
def test_the_steps_are_written_as_a_person_would(text, steps):
    assert answer(text).steps == steps


COMPUTED = [
    *(text for text, _ in STEPS),
    "250000 * (0.045/12) / (1 - (1 + 0.045/12)^-360)",
    "10% of 20% of 500 - 3",
    "(5% + 10%) * 3",
    "-7 // 2 + 7 mod -3",
    "2^-3^2",
    "-(3 - 5) * -2",
    "20 °C + 5 K to °F",
    "(30 °C - 20 °C) to °F",
    "-(2 + 3) km / (3 m / 2 s)",
    "5 kg * 2 m/s^2 * (1/3) m to J",
    "1 / (2 s) + 3 Hz",
    "90 deg + 1 turn",
    "sin(30 deg) + sqrt(2) * 10^30",
    "max(1/3, -2, sqrt(3)) - mean(1 m, 2 ft) / 1 m",
    "300 km * 8 L/100km to gal",
    "15! / 3!^2 - 10^25",
    "1/1e9 * 3",
    "sum(1, 2, 3) to %",
]


@pytest.mark.parametrize("text", COMPUTED)
def test_each_step_has_the_value_that_it_shows(text):
    found = answer(text)
    assert found.steps
    for step in found.steps:
        exact = " = " in step
        left, right = step.split(" = " if exact else " ≈ ")
        (computed, unit), (shown, same) = value(left), value(right)
        assert unit == same
        assert abs(computed - shown) <= (0 if exact else abs(shown) / 10**10)


@pytest.mark.parametrize("text", COMPUTED)
def test_the_last_step_is_the_result(text):
    found = answer(text)
    last = found.steps[-1].replace("≈", "=").split(" = ")[1]
    shown, unit = value(last)
    number = Fraction(found.fraction or found.result) / (100 if found.unit == "%" else 1)
    assert unit == (None if found.unit == "%" else found.unit)
    assert abs(shown - number) <= abs(number) / 10**10


TEXTS = [
    ("72 kg to lb", "≈ 158.732828773 lb"),
    ("350 °F to °C", "≈ 176.666666667 °C"),
    ("30/129 to %", "≈ 23.2558139535%"),
    ("100 km/h to mph", "≈ 62.1371192237 mph"),
    ("1 hp to W", "745.69987158227022 W"),
    ("7/12", "≈ 0.583333333333 (exactly 7/12)"),
    ("1234567/7654321", "≈ 0.161290204579"),
    ("18% of 64.50", "11.61"),
    ("100 * 100", "10000"),
    ("1e21", "1000000000000000000000"),
    ("400 ppm to %", "0.04%"),
    ("90 arcmin to °", "1.5 deg"),
]


@pytest.mark.parametrize(("text", "shown"), TEXTS)
def test_the_text_is_what_a_person_wants_to_read(text, shown):
    assert sentence(answer(text)) == shown


@pytest.mark.parametrize("text", [*COMPUTED, "1/7", "sqrt(2)", "10^40 + 1/3", "1e-30 * 2"])
def test_what_is_shown_is_read_as_the_same_value(text):
    found = answer(text)
    number = found.fraction or found.result
    known, unit = value(f"({number}) {found.unit or ''}")
    computed, same = value(text)
    assert unit == same
    assert abs(known - computed) <= (0 if number != found.result else abs(computed) / 10**19)

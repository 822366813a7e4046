"""What the calculator answers."""

import re

import mcpserve_calculator
import pytest
from mcpserve_calculator.functions import CONSTANTS, FUNCTIONS

from mcpserve.testing import load_plugin


async def call(expression):
    async with load_plugin(mcpserve_calculator) as plugin:
        return await plugin.call("calculator", expression=expression)


async def answer(expression):
    result = await call(expression)
    assert not result.is_error, result.content[0].text
    return result.structured_content


async def text(expression):
    return (await call(expression)).content[0].text


EXACT = [
    ("0.1 + 0.2", "0.3"),
    ("19.99 * 3", "59.97"),
    ("1/3*3", "1"),
    ("1.10", "1.1"),
    ("1_000 * 007", "7000"),
    (".5 + 5.", "5.5"),
    ("1e3 + 1E-3", "1000.001"),
    ("1e-10", "1e-10"),
    ("123456789012345678901234567890 * 10", "1234567890123456789012345678900"),
    ("2 + 3 * 4", "14"),
    ("(2 + 3) * 4", "20"),
    ("10 - 4 - 3", "3"),
    ("2 ** 3 ** 2", "512"),
    ("2^10", "1024"),
    ("-2^2", "-4"),
    ("2^-2", "0.25"),
    ("+-+5", "-5"),
    ("3×4÷5−1", "1.4"),
    ("6 · 7 ⋅ 2 – 4", "80"),
    ("7 // 2", "3"),
    ("-7 // 2", "-4"),
    ("7 % 3", "1"),
    ("-7 % 3", "2"),
    ("7.5 % 2", "1.5"),
    (" 1 \n + \t 1\u00a0", "2"),
    ("1,234,567 * 2", "2469134"),
    ("max((1,234,567), 2)", "1234567"),
    ("1,234.5 * 2", "2469"),
    ("0^0", "1"),
    ("0^2", "0"),
    ("8^(1/3)", "2"),
    ("(4/25)^1.5", "0.064"),
    ("(-1)^10000000000", "1"),
    ("abs(-3.5)", "3.5"),
    ("round(2.5)", "3"),
    ("round(-2.5)", "-3"),
    ("round(2.675, 2)", "2.68"),
    ("round(1250, -2)", "1300"),
    ("floor(-1.5)", "-2"),
    ("ceil(-1.5)", "-1"),
    ("min(3, 1, 2)", "1"),
    ("max(3, 1, 2)", "3"),
    ("sum(0.1, 0.2, 0.3)", "0.6"),
    ("sum([1, 2, 3])", "6"),
    ("mean(1, 2, 3, 4)", "2.5"),
    ("median(5, 1, 3)", "3"),
    ("median(4, 1, 3, 2)", "2.5"),
    ("sqrt(16)", "4"),
    ("sqrt(0.0625)", "0.25"),
    ("sqrt(0)", "0"),
    ("sqrt(7^400)", str(7**200)),
    ("cbrt(-27)", "-3"),
    ("hypot(3, 4)", "5"),
    ("exp(0)", "1"),
    ("ln(1)", "0"),
    ("log10(1000)", "3"),
    ("log10(0.001)", "-3"),
    ("log2(1/8)", "-3"),
    ("log(81, 3)", "4"),
    ("sin(0)", "0"),
    ("cos(0)", "1"),
    ("acos(1)", "0"),
    ("factorial(0)", "1"),
    ("factorial(20)", "2432902008176640000"),
    ("comb(49, 6)", "13983816"),
    ("comb(3, 5)", "0"),
    ("comb(10^100, 1)", str(10**100)),
    ("perm(5, 2)", "20"),
    ("perm(3, 5)", "0"),
    ("gcd(12, 18, 27)", "3"),
    ("lcm(4, 6, 10)", "60"),
    ("floor(pi)", "3"),
    ("round(pi, 4)", "3.1416"),
    ("min(pi, 3)", "3"),
    ("pi * 2 // 1", "6"),
]


@pytest.mark.parametrize(("expression", "result"), EXACT)
async def test_exact_values_have_all_their_digits(expression, result):
    found = await answer(expression)
    assert (found["result"], found["exact"], found["fraction"]) == (result, True, None)


INEXACT = [
    ("pi", "3.1415926535897932385"),
    ("e", "2.7182818284590452354"),
    ("tau", "6.2831853071795864769"),
    ("2 * π", "6.2831853071795864769"),
    ("sqrt(2)", "1.4142135623730950488"),
    ("2^0.5", "1.4142135623730950488"),
    ("2^pi", "8.8249778270762876239"),
    ("pi^-2", "0.10132118364233777144"),
    ("cbrt(2)", "1.2599210498948731648"),
    ("cbrt(-2)", "-1.2599210498948731648"),
    ("hypot(1, 1)", "1.4142135623730950488"),
    ("exp(1)", "2.7182818284590452354"),
    ("e^2", "7.3890560989306502272"),
    ("ln(10)", "2.302585092994045684"),
    ("log10(2)", "0.30102999566398119521"),
    ("log2(10)", "3.3219280948873623479"),
    ("log(2, 3)", "0.6309297535714574371"),
    ("sin(1)", "0.84147098480789650665"),
    ("cos(1)", "0.5403023058681397174"),
    ("tan(1)", "1.5574077246549022305"),
    ("sin(-1)", "-0.84147098480789650665"),
    ("sin(4)", "-0.75680249530792825137"),
    ("cos(4)", "-0.65364362086361191464"),
    ("sin(10^22)", "-0.85220084976718880177"),
    ("asin(0.5)", "0.52359877559829887308"),
    ("asin(1)", "1.5707963267948966192"),
    ("acos(0.5)", "1.0471975511965977462"),
    ("acos(-1)", "3.1415926535897932385"),
    ("atan(1)", "0.78539816339744830962"),
    ("atan(-10)", "-1.4711276743037345919"),
    ("atan2(1, -1)", "2.3561944901923449288"),
    ("atan2(-1, -1)", "-2.3561944901923449288"),
    ("atan2(-1, 0)", "-1.5707963267948966192"),
    ("sinh(1)", "1.1752011936438014569"),
    ("sinh(-0.5)", "-0.52109530549374736162"),
    ("cosh(1)", "1.5430806348152437785"),
    ("cosh(0.5)", "1.1276259652063807852"),
    ("tanh(1)", "0.76159415595576488812"),
    ("tanh(-9000)", "-1"),
    ("degrees(pi)", "180"),
    ("radians(180)", "3.1415926535897932385"),
    ("sqrt(2) * 10^30", "1.4142135623730950488e+30"),
    ("pi / 10^9", "3.1415926535897932385e-9"),
]


@pytest.mark.parametrize(("expression", "result"), INEXACT)
async def test_irrational_values_have_twenty_correct_digits(expression, result):
    found = await answer(expression)
    assert (found["result"], found["exact"], found["fraction"]) == (result, False, None)


WITHOUT_NOISE = [
    ("sqrt(2)^2", "2"),
    ("sqrt(2)^2 - 2", "0"),
    ("(pi - pi) * -1", "0"),
    ("sin(pi)", "0"),
    ("sin(pi/6)", "0.5"),
    ("cos(pi/2)", "0"),
    ("tan(pi/4)", "1"),
    ("sin(1)^2 + cos(1)^2", "1"),
    ("asin(sin(1)) - 1", "0"),
    ("asin(sin(pi/2)) - pi/2", "0"),
    ("ln(e)", "1"),
    ("ln(ln(e))", "0"),
    ("floor(ln(1000) / ln(10))", "3"),
    ("2 * pi % pi", "0"),
]


@pytest.mark.parametrize(("expression", "result"), WITHOUT_NOISE)
async def test_results_show_no_rounding_noise(expression, result):
    found = await answer(expression)
    assert (found["result"], found["exact"]) == (result, False)


NO_NOISE_AT_ALL = [
    ("sin(1e-300)", "1e-300"),
    ("sinh(1e-30)", "1e-30"),
    ("ln(1 + 1e-50)", "1e-50"),
    ("(10^47 + pi) - 10^47", "3.1415926535897932385"),
]


@pytest.mark.parametrize(("expression", "result"), NO_NOISE_AT_ALL)
async def test_small_results_are_not_taken_for_noise(expression, result):
    assert (await answer(expression))["result"] == result


async def test_an_exact_result_with_too_many_digits_is_rounded():
    found = await answer("(1 + 0.05/365)^(365 * 30)")
    assert (found["result"], found["exact"]) == ("4.4812286885245152478", False)


async def test_an_answer_holds_the_expression_as_it_was_understood():
    found = await answer("2^3 × 1,000,000")
    assert found == {
        "expression": "2 ** 3 * 1000000",
        "result": "8000000",
        "exact": True,
        "fraction": None,
        "unit": None,
        "steps": ["2 ^ 3 = 8", "8 * 1000000 = 8000000"],
        "value": 8000000,
    }


async def test_decimals_that_never_end_come_with_their_fraction():
    found = await answer("2 / 3")
    assert found["result"] == "0.66666666666666666667"
    assert (found["exact"], found["fraction"]) == (True, "2/3")


VALUES = [
    ("2^53 - 1", 9007199254740991),
    ("2^53 + 1", 9007199254740992.0),
    ("-3", -3),
    ("1/4", 0.25),
    ("pi", 3.141592653589793),
    ("10^400", None),
    ("10^-400", None),
    ("sqrt(2) * 10^400", None),
    ("0", 0),
]


@pytest.mark.parametrize(("expression", "value"), VALUES)
async def test_the_json_number_is_never_infinite_nor_a_false_zero(expression, value):
    found = (await answer(expression))["value"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("expression", ["10^9999", "7^11800", "2^-9100", "-(2^33000)"])
async def test_a_result_of_thousands_of_digits_is_whole(expression):
    found = await answer(expression)
    assert found["exact"]
    assert len(re.sub("[^0-9]", "", found["result"])) > 4300


@pytest.mark.parametrize(
    ("expression", "length"), [("1/3^123", 61), ("1/3^122", 61), ("1/3^121", 60), ("-1/3^119", 60)]
)
async def test_a_fraction_that_is_long_is_left_out_and_the_value_is_a_rounded_one(
    expression, length
):
    found = await answer(expression)
    told = found["fraction"]
    assert (told is not None) == found["exact"] == (length <= 60)
    assert told is None or len(told) == length
    assert re.fullmatch(r"-?[0-9]\.[0-9]{15,19}e-[0-9]+", found["result"])


async def test_every_digit_of_a_huge_integer_is_there():
    assert (await answer("10^9999 - 1"))["result"] == "9" * 9999


TEXTS = [
    ("0.1 + 0.2", "0.3"),
    ("1/3", "≈ 0.333333333333 (exactly 1/3)"),
    ("sqrt(2)", "≈ 1.41421356237"),
    ("10^1000", "1" + "0" * 39 + "…" + "0" * 40 + " (1,001 digits)"),
    ("1 / 3^5000", "≈ 2.47586181439e-2386"),
]


@pytest.mark.parametrize(("expression", "shown"), TEXTS)
async def test_the_text_is_short(expression, shown):
    assert await text(expression) == shown


async def test_the_model_is_told_every_function_and_constant():
    async with load_plugin(mcpserve_calculator) as plugin:
        description = plugin.tools.get("calculator").offer.description
    named = set(re.findall(r"[a-z]+[0-9]*", description))
    assert named >= {*FUNCTIONS, *CONSTANTS}


async def test_the_tool_declares_what_it_answers_and_that_it_changes_nothing():
    async with load_plugin(mcpserve_calculator) as plugin:
        definition = plugin.tools.get("calculator").offer.definition
    assert set(definition.input_schema["properties"]) == {"expression"}
    properties = definition.output_schema["properties"]
    names = {"expression", "result", "exact", "fraction", "unit", "steps", "value"}
    assert set(properties) == names
    assert definition.annotations.read_only_hint
    assert definition.annotations.destructive_hint is False
    assert definition.annotations.idempotent_hint is True
    assert definition.annotations.open_world_hint is False

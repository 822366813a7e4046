"""What the calculator refuses, and that nothing makes it hang or crash."""

import asyncio
import string
from fractions import Fraction

import mcpserve_calculator
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcpserve_calculator.functions import CONSTANTS, FUNCTIONS

from mcpserve.testing import load_plugin

HANG = "20s"
"""A guard: everything here takes milliseconds, what takes this long would never end."""


async def call(expression):
    """Return the result, which is neither a crash nor a timeout."""
    async with load_plugin(mcpserve_calculator, timeout=HANG) as plugin:
        result = await plugin.call("calculator", expression=expression)
        assert plugin.calls[0].outcome in ("ok", "error"), result.content[0].text
    return result


async def refusal(expression):
    result = await call(expression)
    assert result.is_error, result.structured_content
    return result.content[0].text


BOMBS = [
    ("9**9**9", "too large"),
    ("10**10**10", "too large"),
    ("9**999999", "too large"),
    ("9**-999999", "too small"),
    ("0.1**100000", "too small"),
    ("10**10000", "too large"),
    ("pi**10**9", "too large"),
    ("(1 + 1e-100)**(10**100)", "exponent 1e+100 is too large"),
    ("1e999999", "out of range"),
    ("1e-999999", "out of range"),
    ("0e999999999999", "out of range"),
    ("1e99999999999999999999999999", "out of range"),
    ("exp(10^9)", "too large"),
    ("exp(-10^9)", "too small"),
    ("cosh(30000)", "too large"),
    ("sin(1e60)", "too large"),
    ("factorial(10**9)", "too large"),
    ("factorial(10^9000)", "too large"),
    ("perm(10^9, 10^8)", "too large"),
    ("comb(10**6, 5*10**5)", "too large"),
    ("comb(10^9000, 10^8999)", "too large"),
    ("lcm(7^11000, 11^9000)", "too large"),
    ("round(pi, 10^9)", "digits must be"),
    ("7^11000 * 7^11000", "too large"),
    ("+".join(["7^11000"] * 100), "too many huge numbers"),
    ("+".join(["cbrt(7^11000)"] * 70), "too many huge numbers"),
    ("+".join(["comb(20000, 10000)"] * 50), "too many huge numbers"),
    ("(" * 10_000 + "1" + ")" * 10_000, "20,001 characters"),
    ("(" * 450 + "1" + ")" * 450, "too many nested parentheses"),
    ("(" * 999, "too many nested parentheses"),
    ("-" * 999 + "1", "nested too deeply"),
    ("-" * 999, "nested too deeply"),
    ("2**" * 333 + "2", "nested too deeply"),
    ("abs(" * 150 + "1" + ")" * 150, "nested too deeply"),
    ("9" * 1_000_000, "1,000,000 characters"),
    ("1+" * 524_288, "characters"),
]


@pytest.mark.parametrize(("expression", "problem"), BOMBS, ids=[bomb[0][:30] for bomb in BOMBS])
async def test_an_expression_that_would_take_forever_is_refused(expression, problem):
    assert problem in await refusal(expression)


HARMLESS = [
    "1" + "+1" * 499,
    "(" * 190 + "1" + ")" * 190,
    "-" * 40 + "1",
    "9" * 1000,
    "cbrt(7^11800)",
]


@pytest.mark.parametrize("expression", HARMLESS, ids=[harmless[:30] for harmless in HARMLESS])
async def test_an_expression_that_only_looks_expensive_is_computed(expression):
    result = await call(expression)
    assert not result.is_error, result.content[0].text


PROBLEMS = [
    ("1/0", "division by zero"),
    ("1 % 0", "division by zero"),
    ("1 // (2 - 2)", "division by zero"),
    ("1 / (pi - pi)", "division by zero"),
    ("0 ^ -1", "division by zero"),
    ("sqrt(-1)", "-1 is negative"),
    ("(-8)^(1/3)", "cbrt(x) takes negative numbers"),
    ("ln(0)", "above 0"),
    ("log(0, 10)", "above 0"),
    ("log10(-1)", "-1 has no logarithm"),
    ("log(2, 1)", "the base must be above 0 and not 1"),
    ("log(0)", "write log(x, base); use log10(x), ln(x) or log2(x)"),
    ("asin(2)", "from -1 to 1, not 2"),
    ("acos(-1.5)", "from -1 to 1, not -1.5"),
    ("tan(pi/2)", "undefined"),
    ("atan2(0, 0)", "undefined"),
    ("factorial(2.5)", "whole number is needed, not 2.5"),
    ("factorial(-1)", "not negative"),
    ("comb(5, 1/2)", "whole number"),
    ("gcd(1.5, 2)", "whole number"),
    ("factorial(sqrt(2)^2)", "round(x) makes one"),
    ("exp(800) % 2", "the number is rounded"),
    ("(10^70 + pi) - 10^70", "rearrange"),
    ("sqr(2)", "did you mean sqrt?"),
    ("Sqrt(4)", "did you mean sqrt?"),
    ("PI", "did you mean pi?"),
    ("nonsense + 1", "known are abs, acos"),
    ("sin", "write sin(x)"),
    ("pi(2)", "write pi * (…)"),
    ("sin()", "write sin(x)"),
    ("sin(1, 2)", "wrong number of arguments (2), write sin(x)"),
    ("round(1, 2, 3)", "write round(x, digits)"),
    ("max()", "write max(a, b, …)"),
    ("", "empty"),
    (" \n ", "empty"),
    ("2 +", "a number is missing after '+', at the end"),
    ("(2", "never closed"),
    ("2 3", "at '3'"),
    ("2pi", "write 2 * pi"),
    ("2(3)", "write * between"),
    ("(1 + 2)(3)", "write * between"),
    ("1 + 1 =", "without ="),
    ("1,234 * 2", "1234 or 1.234"),
    ("1,5 * 2", "commas separate"),
    ("max(1,234)", "a space after each comma"),
    ("sum([1,200, 300])", "a space after each comma"),
    ("1.2.3", "at '.3'"),
    ("0x1f", "in decimal"),
    ("1 @ 2", "not arithmetic: '@'"),
]


@pytest.mark.parametrize(("expression", "problem"), PROBLEMS)
async def test_a_mistake_is_explained(expression, problem):
    assert problem in await refusal(expression)


NO_ARITHMETIC = [
    "__import__('os')",
    "(1).real",
    "pi.__class__",
    "lambda: 1",
    "lambda x: x",
    "'text'",
    '"""text"""',
    'f"{1}"',
    "b'1'",
    "[x for x in (1, 2)]",
    "sum(x for x in (1, 2))",
    "{1: 2}",
    "{1, 2}",
    "[1, 2]",
    "(1, 2)",
    "()",
    "max([1], [2])",
    "x = 5",
    "(x := 5)",
    "round(x=1)",
    "max(*(1, 2))",
    "max(**1)",
    "1 if 2 else 3",
    "1 and 2",
    "not 1",
    "1 < 2",
    "1 is 2",
    "1 in (1, 2)",
    "~1",
    "1 | 2",
    "1 << 2",
    "(1, 2)[0]",
    "True",
    "None",
    "...",
    "1j",
    "await pi",
    "(yield)",
    "1; 2",
    "import os",
    "1 # one",
    "1 \\\n + 1",
    "\x00",
    "\ud800",
    "１ + １",
    "3××4",
]


@pytest.mark.parametrize("expression", NO_ARITHMETIC, ids=ascii)
async def test_all_that_is_not_arithmetic_is_refused(expression):
    assert (await refusal(expression)).startswith("not arithmetic: ")


async def test_calls_at_the_same_time_do_not_mix():
    async with load_plugin(mcpserve_calculator) as plugin:
        results = await asyncio.gather(
            *(plugin.call("calculator", expression=f"sqrt({n})^2 + 1/{n + 1}") for n in range(60))
        )
    values = [result.structured_content["value"] for result in results]
    assert values == pytest.approx([n + 1 / (n + 1) for n in range(60)])


# Random expressions. Hypothesis knows no coroutines, so each example has a loop of its own.


def ask(expression):
    return asyncio.run(call(expression))


def combine(expressions):
    """Make larger expressions; each is its text and its value, None where it has none."""
    return st.one_of(
        st.tuples(expressions, st.sampled_from(["+", "-", "*", "/", "//", "%"]), expressions).map(
            binary
        ),
        st.tuples(expressions, st.integers(-4, 4)).map(powered),
        expressions.map(lambda one: (f"-({one[0]})", None if one[1] is None else -one[1])),
    )


def binary(parts):
    (left, a), operator, (right, b) = parts
    text = f"({left}) {operator} ({right})"
    if a is None or b is None or (b == 0 and operator in ("/", "//", "%")):
        return text, None
    match operator:
        case "+":
            return text, a + b
        case "-":
            return text, a - b
        case "*":
            return text, a * b
        case "/":
            return text, a / b
        case "//":
            return text, Fraction(a // b)
        case _:
            return text, a % b


def powered(parts):
    (base, value), exponent = parts
    text = f"({base})^{exponent}"
    return text, None if value is None or (value == 0 and exponent < 0) else value**exponent


literals = st.decimals(0, 10**6, places=3).map(lambda number: (str(number), Fraction(number)))
rational_expressions = st.recursive(literals, combine, max_leaves=8)


@settings(deadline=None, max_examples=150)
@given(rational_expressions)
def test_rational_arithmetic_agrees_with_fractions(expression):
    source, value = expression
    result = ask(source)
    if value is None:
        assert result.is_error
        return
    found = result.structured_content
    told = Fraction(found["fraction"] or found["result"])
    assert abs(told - value) <= (0 if found["exact"] else abs(value) / 10**19)
    ratio = f"{value.numerator}/{value.denominator}"
    assert found["exact"] or len(ratio) > 60


KEYWORDS = ("lambda", "if", "else", "not", "in", "for", "await", "yield")
NUMBERS = ("1", "23", "0.5", "1e5", "9e9999", "1,234")
words = st.sampled_from(
    [*FUNCTIONS, *CONSTANTS, *KEYWORDS, *NUMBERS, "**", "//", *"+-*/%()[],.^×' =:"]
)
garbage = st.one_of(
    st.text(max_size=50),
    st.text(string.printable, max_size=50),
    st.text("0123456789.eE+-*/%^(), ", max_size=50),
    st.lists(words, max_size=60).map("".join),
)


@settings(deadline=None, max_examples=300)
@given(garbage)
def test_any_text_has_an_answer_or_an_explanation(text):
    result = ask(text)
    assert result.content[0].text


calls = st.recursive(
    st.sampled_from(["0", "1", "0.5", "pi", "e", "1e-9999", "7e9998", "(1/3)", "12345", "-2"]),
    lambda inner: st.one_of(
        st.builds("{}({})".format, st.sampled_from(sorted(FUNCTIONS)), inner),
        st.builds("{}({}, {})".format, st.sampled_from(sorted(FUNCTIONS)), inner, inner),
        st.builds("({}{}{})".format, inner, st.sampled_from("+-*/%^"), inner),
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=300)
@given(calls)
def test_any_call_has_an_answer_or_an_explanation(expression):
    result = ask(expression)
    assert result.content[0].text

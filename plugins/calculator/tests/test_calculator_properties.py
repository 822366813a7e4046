"""Properties of all expressions: exact arithmetic, exact conversions, and no crash for any text."""

import string
import sys
from fractions import Fraction
from pathlib import Path

import mcpserve_calculator
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcpserve_calculator.answers import describe
from mcpserve_calculator.definitions import ROWS, UNITS
from mcpserve_calculator.evaluation import evaluate
from mcpserve_calculator.expressions import MAX_LENGTH, read
from mcpserve_calculator.functions import CONSTANTS, FUNCTIONS

from mcpserve import ToolError

PACKAGE = str(Path(mcpserve_calculator.__file__).parent)


def answer(text):
    understood = read(text)
    return describe(understood.shown, evaluate(understood))


def read_again(text):
    """Return the answer, None where there is none; what was understood gives the same again."""
    try:
        found = answer(text)
    except ToolError:
        return None
    if len(found.expression) <= MAX_LENGTH:
        again = answer(found.expression)
        assert (again.result, again.unit) == (found.result, found.unit)
    return found


def value(found):
    return Fraction(found.fraction or found.result)


def computed(text):
    """Return the value before it is told: there, no fraction is too long."""
    return evaluate(read(text)).value


# Trees of numbers, written with the fewest parentheses, against Python's own fractions.

PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "mod": 2, "neg": 3, "^": 4, "": 5}


def enclosed(node, least):
    text, operator, _ = node
    return text if PRECEDENCE[operator] >= least else f"({text})"


def operation(parts):
    left, operator, right = parts
    level = PRECEDENCE[operator]
    text = f"{enclosed(left, level)} {operator} {enclosed(right, level + 1)}"
    return text, operator, calculated(operator, left[2], right[2])


def calculated(operator, a, b):
    """Return the value, None where there is none."""
    if a is None or b is None or (b == 0 and operator in ("/", "//", "mod")):
        return None
    match operator:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "/":
            return a / b
        case "//":
            return Fraction(a // b)
    return a % b


def power(parts):
    node, exponent = parts
    found = node[2]
    undefined = found is None or (found == 0 and exponent < 0)
    return f"{enclosed(node, 5)}^{exponent}", "^", None if undefined else found**exponent


def negated(node):
    return f"-{enclosed(node, 4)}", "neg", None if node[2] is None else -node[2]


def larger(nodes):
    operators = st.sampled_from(["+", "-", "*", "/", "//", "mod"])
    return st.one_of(
        st.tuples(nodes, operators, nodes).map(operation),
        st.tuples(nodes, st.integers(-3, 3)).map(power),
        nodes.map(negated),
    )


literals = st.decimals(0, 10**6, places=3).map(lambda n: (str(n), "", Fraction(n)))


@settings(deadline=None, max_examples=150)
@given(st.recursive(literals, larger, max_leaves=10))
def test_trees_of_fractions_are_computed_as_python_does(node):
    text, _, expected = node
    if expected is None:
        with pytest.raises(ToolError):
            answer(text)
        return
    assert computed(text) == expected
    found = answer(text)
    if found.exact:
        assert value(found) == expected
    again = answer(found.expression)
    assert (again.expression, computed(found.expression)) == (found.expression, expected)


# Units.

EXACT = sorted(
    {
        unit.symbol
        for unit in UNITS.values()
        if isinstance(unit.scale, Fraction) and not unit.symbol.startswith("delta_")
    }
)
amounts = st.decimals(-(10**6), 10**6, places=3).map(str)
symbols = st.sampled_from([symbol for symbol in EXACT if symbol in UNITS])


def alike(symbol):
    unit = UNITS[symbol]
    return [other for other in EXACT if other in UNITS and UNITS[other].dimension == unit.dimension]


@settings(deadline=None, max_examples=150)
@given(amounts, symbols, st.data())
def test_a_conversion_there_and_back_is_exact(amount, symbol, data):
    other = data.draw(st.sampled_from(alike(symbol)))
    back = answer(f"({amount}) {symbol} to {other} to {symbol}")
    assert back.exact
    assert (value(back), back.unit) == (Fraction(amount), answer(f"1 {symbol}").unit)


@settings(deadline=None, max_examples=100)
@given(amounts, st.sampled_from(["rad", "mrad", "urad"]), st.sampled_from(["deg", "turn", "gon"]))
def test_radians_there_and_back_are_right_to_twenty_digits(amount, unit, other):
    there_and_back = value(answer(f"({amount}) {unit} to {other} to {unit}"))
    assert abs(there_and_back - Fraction(amount)) <= abs(Fraction(amount)) / 10**20


@settings(deadline=None, max_examples=100)
@given(amounts, symbols, amounts, symbols)
def test_only_what_measures_the_same_can_be_added(a, left, b, right):
    text = f"({a}) {left} - ({b}) {right}"
    if UNITS[left].dimension == UNITS[right].dimension:
        assert isinstance(evaluate(read(text)).value.number, Fraction)
    else:
        with pytest.raises(ToolError, match="cannot subtract"):
            answer(text)


products = st.lists(
    st.tuples(symbols.filter(lambda symbol: symbol != "L/100km"), st.integers(-3, 3)),
    min_size=1,
    max_size=4,
).map(lambda factors: "*".join(f"{unit}^{n}" if n else unit for unit, n in factors))


@settings(deadline=None, max_examples=100)
@given(amounts, products, st.sampled_from(["*", "/", "+", "to", "mod", "^"]), products)
def test_products_of_units_have_an_answer_or_an_explanation(amount, left, operator, right):
    other = right if operator == "to" else f"2 {right}"
    read_again(f"{amount} {left} {operator} {other}")


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_unit_is_found_by_its_symbols_and_names(row):
    symbols, names = row[0].split(), row[1].replace(":", " ").split()
    for name in (*symbols, *names):
        assert answer(f"2 {name}").unit == symbols[0]


# Any text.

names = [*FUNCTIONS, *CONSTANTS, "m", "kg", "ft", "in", "h", "°C", "%", "L/100km", "B"]
words = ["to", "in", "as", "of", "per", "mod", "percent", "lambda", "USD", "ton"]
marks = [*"+-*/%!^()[],.²³⁻ ×÷", "**", "//", " ", " "]
numbers = ["1", "2", "0.5", "1,234", "1,234,567", "1e5", "9e9999", "1_0", "007", "1/2"]
texts = st.one_of(
    st.text(max_size=60),
    st.text(string.printable, max_size=60),
    st.lists(st.sampled_from([*names, *words, *marks, *numbers]), max_size=60).map("".join),
    st.lists(st.sampled_from([*names, *words, *marks, *numbers]), max_size=30).map(" ".join),
    st.builds(
        lambda part, n: (part * n)[:1000], st.text("1m(-!%^/, to", max_size=8), st.integers(1, 1000)
    ),
)


@settings(deadline=None, max_examples=300)
@given(texts)
def test_any_text_is_answered_or_refused(text):
    read_again(text)


class Lines:
    """Counts the lines of the package that are executed."""

    def __init__(self):
        self.count = 0

    def trace(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        self.count += event == "line"
        return self.trace


def lines(function, text):
    """Return how many lines a call takes; an answer and a refusal both end it."""
    counter, before = Lines(), sys.gettrace()
    sys.settrace(counter.trace)
    try:
        function(text)
    except ToolError:
        pass
    finally:
        sys.settrace(before)
    return counter.count


LINES_OF_A_CHARACTER = 300
"""Seen are up to 150 for reading."""

LINES_OF_A_MISTAKE = 20_000
"""A message looks for similar names in the table of units, once."""


@settings(deadline=None, max_examples=100)
@given(texts)
def test_reading_takes_steps_in_proportion_to_the_text(text):
    assert lines(read, text) <= LINES_OF_A_MISTAKE + LINES_OF_A_CHARACTER * len(text)


HOSTILE = [
    "1" + "+1" * 499,
    "m/(" * 333,
    "5 m/(" + "m*" * 450 + "1)",
    "(" * 199 + "1" + ")" * 199,
    "1 m " * 250,
    "1%" * 500,
    "1,234" * 200,
    "9" * 1000,
    "1_" * 500,
    "m" * 1000,
    "5 m" + " to m" * 199,
    "2 m*" * 249 + "1",
    "-" * 1000,
    "3!" * 500,
    "2^" * 499 + "2",
    "sum(" + "1," * 490 + "1)",
    "((m)" * 250,
    "abs(" * 199 + "1" + ")" * 199,
    "-(" * 99 + "1" + ")" * 99,
    "5 kg*" * 200,
]


@pytest.mark.parametrize("text", HOSTILE, ids=[text[:12] for text in HOSTILE])
def test_the_longest_text_takes_no_more_steps_for_each_character(text):
    assert lines(read, text) <= LINES_OF_A_MISTAKE + LINES_OF_A_CHARACTER * len(text)


@pytest.mark.parametrize(
    "part", ["sin(1)+", "cbrt(2)*", "tan(3)-", "atan(.9)+", "cosh(2)+", "1/3+"]
)
def test_the_work_of_an_expression_is_bounded(part):
    text = part * (990 // len(part)) + "1"
    assert lines(answer, text) <= 3_000 * len(text)

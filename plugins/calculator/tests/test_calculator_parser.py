"""How an expression is read: what binds tighter, what is refused, and where the mistake is."""

import pytest
from mcpserve_calculator.answers import describe
from mcpserve_calculator.evaluation import evaluate
from mcpserve_calculator.expressions import read

from mcpserve import ToolError


def answer(text):
    understood = read(text)
    return describe(understood.shown, evaluate(understood))


UNDERSTOOD = [
    ("-2^2", "-2 ** 2", "-4"),
    ("(-2)^2", "(-2) ** 2", "4"),
    ("2^-1", "2 ** -1", "0.5"),
    ("2^3^2", "2 ** 3 ** 2", "512"),
    ("(2^3)^2", "(2 ** 3) ** 2", "64"),
    ("2^-1^2", "2 ** -1 ** 2", "0.5"),
    ("-7 // 2", "-7 // 2", "-4"),
    ("-(7 // 2)", "-(7 // 2)", "-3"),
    ("10 - (4 - 3)", "10 - (4 - 3)", "9"),
    ("10 - 4 + 3", "10 - 4 + 3", "9"),
    ("12 / 3 * 2", "12 / 3 * 2", "8"),
    ("12 / (3 * 2)", "12 / (3 * 2)", "2"),
    ("+5 - -3", "5 - -3", "8"),
    ("--5", "-(-5)", "5"),
    ("5!", "5!", "120"),
    ("-3!", "-3!", "-6"),
    ("2^3!", "2 ** 3!", "64"),
    ("3!^2", "(3!) ** 2", "36"),
    ("3! * 2!", "3! * 2!", "12"),
    ("(2 + 1)!", "(2 + 1)!", "6"),
    ("5!%", "(5!)%", "1.2"),
    ("3²", "3 ** 2", "9"),
    ("2¹⁰", "2 ** 10", "1024"),
    ("2⁻¹", "2 ** -1", "0.5"),
    ("-3²", "-3 ** 2", "-9"),
    ("50% of 80", "50% of 80", "40"),
    ("20% of 50% of 200", "20% of 50% of 200", "20"),
    ("100 - 50% of 80 - 10", "100 - 50% of 80 - 10", "50"),
    ("15% of 80 * 2", "15% of 80 * 2", "24"),
    ("10% of 2^3", "10% of 2 ** 3", "0.8"),
    ("100 + 10%", "100 + 10%", "110"),
    ("7%-3", "7% - 3", "-2.93"),
    ("7 % -3", "7 mod -3", "-2"),
    ("10 % 3", "10 mod 3", "1"),
    ("3 km + 200 m in miles", "3 km + 200 m to mi", "1.9883878151594687028"),
    ("5 ft 3 in", "5 ft + 3 in", "5.25"),
    ("5 ft 3 in in cm", "5 ft + 3 in to cm", "160.02"),
    ("-5 ft 3 in", "-(5 ft + 3 in)", "-5.25"),
    ("10.5 m / 5 ft 3 in to %", "10.5 m / (5 ft + 3 in) to %", "656.16797900262467192"),
    ("60 km/h to m/s", "60 km/h to m/s", "16.666666666666666667"),
    ("60 km per hour to m/s", "60 km/h to m/s", "16.666666666666666667"),
    ("1/3", "1 / 3", "0.33333333333333333333"),
    ("1/2 mile to km", "(1 / 2) mi to km", "0.804672"),
    ("2*1/2 mile", "2 * 1 / 2 mi", "1"),
    ("2 / 4 m", "2 / 4 m", "0.5"),
    ("(2 + 3) km", "(2 + 3) km", "5"),
    ("sqrt(9) m", "sqrt(9) m", "3"),
    ("pi rad to deg", "pi rad to deg", "180"),
    ("km to m", "1 km to m", "1000"),
    ("5 m^2", "5 m^2", "5"),
    ("(5 m)^2", "(5 m) ** 2", "25"),
    ("(3 m)^2 in ft^2", "(3 m) ** 2 to ft^2", "96.875193750387500775"),
    ("0.25 in %", "0.25 to %", "25"),
    ("5 in in cm", "5 in to cm", "12.7"),
    ("5 as in s", "5 as to s", "5e-18"),
    ("5 J/(kg*K) * 2 kg", "5 J/(kg*K) * 2 kg", "10"),
    ("20 m / (2 s)", "20 m / 2 s", "10"),
    ("5 km to m to cm", "5 km to m to cm", "500000"),
    ("max(1 km to m, 2 m)", "max(1 km to m, 2 m)", "1000"),
]


@pytest.mark.parametrize(("text", "shown", "result"), UNDERSTOOD)
def test_operators_bind_as_people_expect(text, shown, result):
    found = answer(text)
    assert (found.expression, found.result) == (shown, result)


@pytest.mark.parametrize("text", [text for text, _, _ in UNDERSTOOD])
def test_the_expression_as_it_was_understood_is_read_the_same_again(text):
    once = answer(text)
    again = answer(once.expression)
    assert (again.expression, again.result, again.unit) == (
        once.expression,
        once.result,
        once.unit,
    )


MISTAKES = [
    ("2 + * 3", "a number is missing after '+', at '*' (character 5)"),
    ("* 3", "a number is missing, at '*' (character 1)"),
    ("2 *", "a number is missing after '*', at the end"),
    ("sqrt()", "write sqrt(x)"),
    ("sqrt(2", "'(' (character 5) was never closed"),
    ("sum([1, 2)", "closes none of its kind, at ')' (character 10)"),
    ("max(1, 2,)", "a number is missing after ',', at ')' (character 10)"),
    ("2)", "closes none of its kind, at ')' (character 2)"),
    ("2 (3)", "write * between two factors, or another operator, at '(' (character 3)"),
    ("pi 2", "write * between two factors, or another operator, at '2' (character 4)"),
    ("2 pi", "to multiply write 2 * pi"),
    ("(1 + 2) pi", "at 'pi' (character 9)"),
    ("sin 30", "sin is a function: write sin(x) (at character 1)"),
    ("3!!", "write factorial(factorial(n)) or one !, at '!' (character 3)"),
    ("5 m kg", "write * or / between two units"),
    ("5 ft 3", "a unit after it, at '3' (character 6)"),
    ("5 m^(2)", "write 5 m^2, or (5 m)^2"),
    ("5 m^0", "write 5 m^2, or (5 m)^2"),
    ("5% %", "write one unit after a number, at '%' (character 4)"),
    ("5 m%", "write one unit"),
    ("(5 m) kg", "write one unit"),
    ("5 in cm", "cannot convert a plain number to centimetres (length)"),
    ("5 to m/m", "write a unit after 'to'"),
    ("1 + foo(2)", "unknown name 'foo': did you mean floor? (at character 5)"),
    ("of 3", "a number is missing, at 'of'"),
    ("2 + 1,5", "commas separate"),
    ("[1, 2] + 1", "as in sum([1, 2]), at '['"),
    ("7 % 2 in to cm", "cannot divide a plain number by inches"),
    ("10 + 1/0 * 2", "division by zero (at character 6: '1/0')"),
]


@pytest.mark.parametrize(("text", "problem"), MISTAKES)
def test_a_mistake_tells_its_place_and_what_was_expected(text, problem):
    with pytest.raises(ToolError) as caught:
        answer(text)
    assert problem in str(caught.value)

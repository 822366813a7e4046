"""The plugin: one tool, ``calculator``, that computes what a model should not guess."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from mcpserve import CallToolResult, TextContent, Tool, ToolAnnotations, hookimpl, tool
from mcpserve_calculator.answers import Answer, describe, sentence
from mcpserve_calculator.evaluation import evaluate
from mcpserve_calculator.expressions import MAX_LENGTH, read


# A plain function, so it runs in a thread: a typical expression takes a fraction of a millisecond,
# but the largest ones that are allowed keep a processor busy for some hundred.
@tool(
    annotations=ToolAnnotations(
        title="Calculator",
        read_only_hint=True,
        destructive_hint=False,
        idempotent_hint=True,
        open_world_hint=False,
    )
)
def calculator(
    expression: Annotated[
        str,
        Field(
            description="What to compute, such as `19.99 * 3`, `(1 + 4.5/100)^10` or "
            f"`sqrt(2) / ln(10)`. At most {MAX_LENGTH} characters.",
            examples=["0.1 + 0.2", "200 + 10%", "3 ft + 2 in in cm", "100 km/h to m/s"],
        ),
    ],
) -> Annotated[CallToolResult, Answer]:
    """Compute an arithmetic expression. Use it for every calculation instead of guessing digits.

    Decimals and fractions are exact: 0.1 + 0.2 is 0.3 and 1/3*3 is 1. Roots, logarithms and
    trigonometry are rounded to 20 significant digits; `exact` in the answer tells which it was.

    Percent: 200 + 10% is 220, 15% of 80 is 12, 20% is 0.2, 3/8 to % is 37.5%.
    Units: 5 km to miles, 100 km/h to m/s, 5 ft 3 in to cm, 20 °C to °F, 500 MB / 20 Mbps to min,
    30 mpg to L/100km; SI prefixes; to or in converts. No currencies, no dates.
    Operators: + - * / // (floor) mod ^ or ** (power) ! (factorial), parentheses; always write *.
    Constants: pi, e, tau.
    Functions: abs(x), round(x, digits) (halves away from zero), floor(x), ceil(x), min, max, sum,
    mean, median, sqrt(x), cbrt(x), hypot, exp(x), ln(x), log10(x), log2(x), log(x, base),
    sin(x), cos(x), tan(x), asin(x), acos(x), atan(x), atan2(y, x) (radians; sin(30 deg) works),
    degrees(x), radians(x), sinh(x), cosh(x), tanh(x), factorial(n), comb(n, k), perm(n, k),
    gcd, lcm.
    log needs its base.
    Write numbers with a decimal point and without thousands separators: 1234.5.
    No variables, comparisons, text or code.
    """
    understood = read(expression)
    answer = describe(understood.shown, evaluate(understood))
    return CallToolResult(
        content=[TextContent(type="text", text=sentence(answer))],
        structured_content=answer.model_dump(mode="json"),
    )


@hookimpl
def mcpserve_tools() -> Sequence[Tool]:
    """Return the one tool; there is nothing to configure."""
    return [calculator]

"""What the tool answers: every digit in the structured answer, a readable number in the text."""

import math
from decimal import Context, Decimal, Inexact, localcontext
from fractions import Fraction

from pydantic import BaseModel, Field

from mcpserve_calculator.arithmetic import MAX_DIGITS, Number, inexact
from mcpserve_calculator.evaluation import Outcome
from mcpserve_calculator.quantities import Quantity

SIGNIFICANT_DIGITS = 20
"""Digits of a result that is rounded."""

ROUNDED = Context(prec=SIGNIFICANT_DIGITS)

FULL = Context(prec=MAX_DIGITS, traps=[Inexact])
"""The context in which a division succeeds only if its decimals end."""

SHORT = Context(prec=12)
"""Digits in the text of what is rounded: more than anybody measures."""

LONGEST_RATIO = 60
"""Characters of a fraction in the answer; a longer one would be paid for and not be read."""

LONGEST_FRACTION = 12
"""Characters of a fraction that the text shows."""

LONGEST_TEXT = 200
"""Characters from which on the text shows beginning and end only."""

LARGEST_SAFE = 2**53 - 1
"""Up to here, every reader of JSON gets a whole number right."""


class Answer(BaseModel):
    """The value of an expression."""

    expression: str = Field(description="The expression as it was understood.")
    result: str = Field(
        description="The value in decimal: all digits if it is exact and its decimals end, else "
        f"rounded to {SIGNIFICANT_DIGITS} significant digits."
    )
    exact: bool = Field(
        description="Whether the value is exactly `fraction`, or `result` where there is no "
        "`fraction`. Roots, logarithms, trigonometry, pi and e are rounded, and so are fractions "
        f"of more than {LONGEST_RATIO} characters."
    )
    fraction: str | None = Field(
        description="The exact value in lowest terms, such as 1/3, if its decimals do not end and "
        f"it has at most {LONGEST_RATIO} characters."
    )
    unit: str | None = Field(
        description="The unit of `result`, `fraction` and `value`; null for a plain number."
    )
    steps: list[str] = Field(
        description="How it was computed, step by step; numbers are shortened here."
    )
    value: int | float | None = Field(
        description="The value as a number with about 16 significant digits, so it may be less "
        "precise than `result`; null if it is too large or too small for that."
    )


def describe(expression: str, outcome: Outcome) -> Answer:
    """Return the answer to an expression with this outcome."""
    value = outcome.value
    number = value.number if isinstance(value, Quantity) else value
    full = all_decimals(number) if isinstance(number, Fraction) else None
    result = rounded(number) if full is None else spelled(full)
    fraction = ratio(number) if isinstance(number, Fraction) and full is None else None
    return Answer(
        expression=expression,
        result=result,
        exact=full is not None or fraction is not None,
        fraction=fraction,
        unit=(value.unit.symbol or None) if isinstance(value, Quantity) else None,
        steps=outcome.steps,
        value=json_number(number, result),
    )


def sentence(answer: Answer) -> str:
    """Return the answer for a reader: short, with ≈ before what is rounded."""
    unit = "" if answer.unit is None else suffix(answer.unit)
    if answer.fraction is not None or not answer.exact:
        short = f"≈ {spelled_briefly(answer.result)}{unit}"
        is_shown = answer.fraction and not unit and len(answer.fraction) <= LONGEST_FRACTION
        return f"{short} (exactly {answer.fraction})" if is_shown else short
    if len(answer.result) <= LONGEST_TEXT:
        return answer.result + unit
    digits = sum(character.isdigit() for character in answer.result)
    return f"{answer.result[:40]}…{answer.result[-40:]}{unit} ({digits:,} digits)"


def suffix(unit: str) -> str:
    """Return the name of a unit as it follows a number."""
    return unit if unit in ("%", "°") else f" {unit}"


def spelled_briefly(result: str) -> str:
    """Return a rounded result with fewer digits."""
    with localcontext(SHORT):
        return spelled((+Decimal(result)).normalize(), largest=SIGNIFICANT_DIGITS)


def all_decimals(number: Fraction) -> Decimal | None:
    """Return the number with all its decimals, unless they never end or are too many."""
    with localcontext(FULL):
        try:
            return Decimal(number.numerator) / Decimal(number.denominator)
        except Inexact:
            return None


def rounded(number: Number) -> str:
    """Return the number with its significant digits only."""
    with localcontext(ROUNDED):
        value = +inexact(number)  # Plus rounds, and makes 0 of -0.
        return spelled(value.normalize(), largest=SIGNIFICANT_DIGITS)


def spelled(number: Decimal, *, largest: int = MAX_DIGITS + 1) -> str:
    """Return a number in digits; with an exponent if it is tiny or not below 10^largest."""
    return f"{number:f}" if -7 <= number.adjusted() < largest else f"{number:e}"


def ratio(number: Fraction) -> str | None:
    """Return a fraction as people write it, unless it is long."""
    # Decimal(int) has none of the limits of str(int).
    text = f"{Decimal(number.numerator):f}/{Decimal(number.denominator):f}"
    return text if len(text) <= LONGEST_RATIO else None


def json_number(number: Number, result: str) -> int | float | None:
    """Return the number for JSON, or nothing rather than infinity or a zero that it is not."""
    if isinstance(number, Fraction) and number.denominator == 1 and abs(number) <= LARGEST_SAFE:
        return number.numerator
    value = float(result)
    return None if math.isinf(value) or (value == 0 and number != 0) else value

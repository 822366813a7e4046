"""The functions that :mod:`decimal` lacks, as sums of series in the precision of the context.

Each takes and returns a Decimal and knows nothing of exactness or domains.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Context, Decimal, Underflow, localcontext

PI = Decimal(
    "3.141592653589793238462643383279502884197169399375105820974944592307816406"
    "28620899862803482534211706798214808651328230664709384460955058223172535940"
    "81284811174502841027019385211055596446229489549303819644288109756659334461"
)
"""More digits than any result: the rest is for large angles."""

MAX_ANGLE = Decimal("1e50")
"""Largest angle that :data:`PI` has the digits for."""


@contextmanager
def guarded() -> Iterator[Context]:
    """Enter a context with some more digits, in which tiny terms of a series may vanish."""
    with localcontext() as context:
        context.prec += 10
        context.traps[Underflow] = False
        yield context


def sine_and_cosine(angle: Decimal) -> tuple[Decimal, Decimal]:
    """Return sin and cos of an angle in radians, up to :data:`MAX_ANGLE`."""
    with guarded() as context:
        context.prec += 60
        quarters = (angle / (PI / 2)).to_integral_value()
        rest = angle - quarters * (PI / 2)
    sine, cosine = power_series(rest, first=1, sign=-1), power_series(rest, first=0, sign=-1)
    turned = ((sine, cosine), (cosine, -sine), (-sine, -cosine), (-cosine, sine))
    return turned[int(quarters) % 4]


def hyperbolic_sine_and_cosine(x: Decimal) -> tuple[Decimal, Decimal]:
    """Return sinh and cosh."""
    if abs(x) < 1:  # The difference of two almost equal powers would lose digits.
        return power_series(x, first=1, sign=1), power_series(x, first=0, sign=1)
    with guarded():
        grown = abs(x).exp()
        sine, cosine = (grown - 1 / grown) / 2, (grown + 1 / grown) / 2
    return sine.copy_sign(x), cosine


def arc_tangent(x: Decimal) -> Decimal:
    """Return atan, in radians."""
    if abs(x) > 1:
        return (PI / 2).copy_sign(x) - arc_tangent(1 / x)
    with guarded():
        for _ in range(4):  # Half the angle four times: the series is slow near 1.
            x = x / (1 + (1 + x * x).sqrt())
        total, term, degree = Decimal(0), x, 1
        while total + term / degree != total:
            total += term / degree
            term *= -x * x
            degree += 2
        return total * 16


def power_series(x: Decimal, *, first: int, sign: int) -> Decimal:
    """Return the sum of x^k / k! for k = first, first + 2, … with factors 1, sign, 1, sign …."""
    with guarded():
        total, term, degree = Decimal(0), x if first else Decimal(1), first
        while total + term != total:
            total += term
            degree += 2
            term = term * x * x * sign / (degree * (degree - 1))
        return total

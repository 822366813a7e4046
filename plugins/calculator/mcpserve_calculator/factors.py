"""Reads units: products of names and their powers, such as ``kg*m/s^2`` or ``J/(kg*K)``."""

import re

from mcpserve import ToolError
from mcpserve_calculator.definitions import power, unknown_unit
from mcpserve_calculator.functions import FUNCTIONS
from mcpserve_calculator.tokens import Cursor
from mcpserve_calculator.units import Named, Unit, product

CONVERSIONS = ("to", "in", "as")
"""Words before the unit to convert to; two of them are units as well."""

Factors = list[tuple[Named, int]]


def comes(cursor: Cursor, ahead: int = 0) -> bool:
    """Whether a unit comes next, or that many tokens later; ``min(`` is a function."""
    token, after = cursor.peek(ahead), cursor.peek(ahead + 1)
    if token.kind != "name" or power(token.text) is None:
        return False
    if token.text in CONVERSIONS and converts(cursor, ahead):
        return False
    return after.text != "(" or token.text not in FUNCTIONS


def converts(cursor: Cursor, ahead: int) -> bool:
    """Whether ``in`` is no inch there (``as`` no attosecond): what to convert to comes behind."""
    target, after = cursor.peek(ahead + 1), cursor.peek(ahead + 2)
    if target.text == "%":
        return after.kind == "end" or after.text in (")", "]", ",")
    if target.text in CONVERSIONS:
        return False
    return target.text == "percent" or power(target.text) is not None


def unit(cursor: Cursor) -> Unit:
    """Take a unit; a name after ``/`` is below the line. Raises :class:`ToolError` for none."""
    factors = [factor(cursor, 1)]
    while cursor.peek().text in ("*", "/", "per"):
        side = 1 if cursor.peek().text == "*" else -1
        if comes(cursor, 1):
            cursor.take()
            factors.append(factor(cursor, side))
        elif group := parenthesised(cursor, side):
            factors += group
        else:
            break
    return product(factors)


def parenthesised(cursor: Cursor, side: int) -> Factors:
    """Take ``/(kg*K)``, if it is no more than that; otherwise nothing."""
    start = cursor.index
    cursor.take()
    factors: Factors = []
    separator = "("
    while cursor.peek().text == separator and comes(cursor, 1):
        cursor.take()
        factors.append(factor(cursor, side))
        separator = "*"
    if factors and cursor.peek().text == ")":
        cursor.take()
        return factors
    cursor.index = start
    return []


def factor(cursor: Cursor, side: int) -> tuple[Named, int]:
    """Take one named unit and its power."""
    token = cursor.take()
    found = power(token.text)
    if found is None:
        place = f"(at character {token.position + 1})"
        raise ToolError(f"not arithmetic: {unknown_unit(token.text)} {place}")
    named, own = found
    side *= own
    if cursor.peek().text != "^":
        return named, side
    negative = cursor.peek(1).text == "-"
    digits = cursor.peek(2 if negative else 1).text
    if not re.fullmatch("[1-9][0-9]{0,2}", digits):
        return named, side
    cursor.index += 3 if negative else 2
    return named, side * (-1 if negative else 1) * int(digits)

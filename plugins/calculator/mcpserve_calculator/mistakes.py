"""What the parser says about what it does not understand: where, and what to write instead."""

from difflib import get_close_matches

from mcpserve_calculator.definitions import REFUSED, power, unknown_unit
from mcpserve_calculator.functions import CONSTANTS, FUNCTIONS, usage
from mcpserve_calculator.tokens import Cursor, Token

COMMAS = (
    "commas separate only the arguments of functions; write 1.5 for one and a half, "
    "and no thousands separators"
)


def refused(problem: str, token: Token) -> str:
    """Say what is wrong at a token, which may be the end."""
    if token.kind == "end":
        return f"not arithmetic: {problem}, at the end"
    return f"not arithmetic: {problem}, at {token.text[:40]!r} (character {token.position + 1})"


def too_deep(token: Token) -> str:
    """Say that there is too much nesting."""
    if token.text == "(":
        return "too many nested parentheses: compute it in parts"
    return "the expression is nested too deeply: compute it in parts"


def missing_operand(cursor: Cursor) -> str:
    """Say what is missing where an operand should begin, before the token that was taken."""
    found, before = cursor.peek(-1), cursor.peek(-2)
    if found.text == "[":
        return refused("brackets are for one list in a function, as in sum([1, 2])", found)
    if found.text == "," and before.text not in (",", "("):
        return refused(COMMAS, found)
    after = f" after {before.text!r}" if cursor.index > 1 else ""
    return refused(f"a number is missing{after}", found)


def unexpected(cursor: Cursor) -> str:
    """Say what is wrong with the token that comes where an operator or the end should."""
    before, found = cursor.peek(-1), cursor.peek()
    match found:
        case Token(text="%" | "percent"):
            return refused("write one unit after a number", found)
        case Token(kind="name") if before.kind == "number":
            return after_number(before, found)
        case Token(kind="name") if power(found.text) is not None:
            return refused(
                "write * or / between two units, and to before a unit to convert to", found
            )
        case Token(kind="name" | "number") | Token(text="("):
            return refused("write * between two factors, or another operator", found)
        case Token(text=","):
            return refused(COMMAS, found)
        case Token(text=")" | "]"):
            return refused("this bracket closes none of its kind", found)
        case Token(text="!") if before.text == "!":
            return refused("write factorial(factorial(n)) or one !", found)
    return refused("an operator is missing", found)


def after_number(number: Token, name: Token) -> str:
    """Say why ``2pi`` and ``5 foo`` are not understood."""
    known = name.text in FUNCTIONS or name.text in CONSTANTS
    if name.space and not known:
        return f"not arithmetic: {unknown_unit(name.text)} (at character {name.position + 1})"
    product = f"{number.text[:40]} * {name.text[:40]}"
    unit = "" if known else f"; {unknown_unit(name.text)}"
    return (
        f"not arithmetic: {number.text[:40]}{name.text[:40]}; to multiply write {product}, "
        f"and write numbers in decimal{unit}"
    )


def unclosed(opening: Token) -> str:
    """Say that a bracket has no end."""
    return f"not arithmetic: {opening.text!r} (character {opening.position + 1}) was never closed"


def compound(number: Token) -> str:
    """Say what a number behind a unit needs."""
    return refused("write an operator before this number, or a unit after it", number)


def power_of_unit(sign: Token) -> str:
    """Say what can be the power of a unit."""
    problem = "units take powers up to 12: write 5 m^2, or (5 m)^2 for the power of a quantity"
    return refused(problem, sign)


def percent_or_modulo(sign: Token) -> str:
    """Say how to write what ``7 % - 3`` may mean."""
    return (
        f"% may be percent or modulo (at character {sign.position + 1}): write 7% - 3 "
        "for percent, 7 mod -3 for the remainder"
    )


def missing_unit(word: Token) -> str:
    """Say what belongs behind a ``to``."""
    return (
        f"not arithmetic: write a unit after {word.text!r}, as in 5 km {word.text} m "
        f"(at character {word.position + 1})"
    )


def conversion_not_last(after: Token) -> str:
    """Say that nothing can be computed with a conversion."""
    return (
        "not arithmetic: a conversion comes last, write (5 km to m) + 3 m "
        f"(at character {after.position + 1}: {after.text!r})"
    )


def unknown_name(token: Token) -> str:
    """Say what a name may have been meant to be."""
    return f"not arithmetic: {meaning(token.text)} (at character {token.position + 1})"


def meaning(name: str) -> str:
    """Say how a name can be used, or which one is like it."""
    if name in FUNCTIONS:
        return f"{name} is a function: write {usage(name)}"
    if name in CONSTANTS:
        return f"{name} is a number, not a function: write {name} * (…) to multiply"
    if name.lower() in REFUSED:
        return REFUSED[name.lower()]
    known = [*FUNCTIONS, *CONSTANTS]
    if close := get_close_matches(name.lower(), known, n=1):
        return f"unknown name {name[:40]!r}: did you mean {close[0]}?"
    return f"unknown name {name[:40]!r}; known are {', '.join(known)}"

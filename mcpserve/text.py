"""Text of strangers, made fit to be read by people."""

import re

BLANK = re.compile("[\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]")
"""Letters, as far as Unicode goes, that nobody sees."""
STACKED = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]{2})"
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]+"
)
"""More marks upon one letter than any language has."""


def clean(text: str) -> str:
    """Return a name that cannot pretend: visible, short, and with a letter or digit in it."""
    shown = STACKED.sub(r"\1", BLANK.sub("", printable(text)))[:100].strip()
    return shown if any(character.isalnum() for character in shown) else "unnamed"


def printable(text: str) -> str:
    """Return the text without what a terminal would obey or a reader not see."""
    return "".join(character for character in text if character.isprintable())

"""Text of strangers, made fit to be read by people."""


def clean(text: str) -> str:
    """Return a name that cannot pretend: no invisible or direction-changing characters, short."""
    return printable(text)[:100] or "unnamed"


def printable(text: str) -> str:
    """Return the text without what a terminal would obey or a reader not see."""
    return "".join(character for character in text if character.isprintable())

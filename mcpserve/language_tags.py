"""Language tags (BCP 47, RFC 5646): whatever is none means nothing, and goes no further."""

import re

LONGEST = 35
"""Characters, which RFC 5646 §4.4.1 counts for everything but extensions."""

MOST = 20
"""Languages of a header that are looked at."""

LANGTAG = re.compile(
    r"(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})"  # language
    r"(?:-[a-z]{4})?"  # script
    r"(?:-(?:[a-z]{2}|[0-9]{3}))?"  # region
    r"(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*"  # variants
    r"(?:-[0-9a-wyz](?:-[a-z0-9]{2,8})+)*"  # extensions
    r"(?:-x(?:-[a-z0-9]{1,8})+)?",  # private use
    re.ASCII | re.IGNORECASE,
)
WEIGHTED = re.compile(
    r"[ \t]*([a-z0-9-]+)[ \t]*(?:;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?",
    re.ASCII | re.IGNORECASE,
)


def normal(tag: str) -> str | None:
    """Return a well-formed tag in its usual case, ``zh-Hant-TW``; ``None`` for any other text.

    Upper case is the region alone, RFC 5646 §2.1.1. The few irregular tags of old, and those that
    are of private use altogether, name no language that others know: they are none here.
    """
    if len(tag) > LONGEST or not LANGTAG.fullmatch(tag):
        return None
    first, *others = tag.lower().split("-")
    end = next((at for at, part in enumerate(others) if len(part) == 1), len(others))
    return "-".join([first, *map(cased, others[:end]), *others[end:]])


def cased(part: str) -> str:
    """Return a region in upper case, and a script with its first letter so."""
    if len(part) == 4 and part.isalpha():
        return part.title()
    return part.upper() if len(part) == 2 else part


def preferred(accepted: str) -> str | None:
    """Return what ``Accept-Language`` prefers (RFC 9110 §12.5.4), ``None`` if that is nothing."""
    weights: dict[str, float] = {}
    for each in accepted.split(",", MOST)[:MOST]:
        found = WEIGHTED.fullmatch(each)
        tag = normal(found[1]) if found else None
        if found and tag:
            weights.setdefault(tag, float(found[2] or 1))
    best = max(weights, key=weights.__getitem__, default=None)
    return best if best and weights[best] else None

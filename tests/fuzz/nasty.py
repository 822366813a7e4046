"""What strangers send: strategies that begin with something good and spoil it, and how to run them.

``./dev fuzz`` runs everything here with many more examples than ``./dev test``.
"""

import json
import os
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase, ReadOnlyDatabase

EXAMPLES = int(os.environ.get("MCPSERVE_FUZZ_EXAMPLES", "0"))
FAILURES = DirectoryBasedExampleDatabase(Path(__file__).with_name("failures"))
"""Inputs that failed, by test; one that matters becomes an ``@example`` of its test."""

TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\t",
    "\r\nSet-Cookie: a=b",
    "\x1b[2J",
    "\x7f",
    "\x85",
    "\u2028",
    "\ufeff",
    "\ufeff{}",
    "\u202egpj.exe",
    "\u200b",
    "\ud800",
    "\udfff\ud800",
    "é",
    "e\u0301",
    "\uff0e\uff0e\uff0f",
    "\u212a",
    "\U0001f511\u200d",
    "\U0010ffff",
    "a" * 10_000,
    "%",
    "%zz",
    "%2",
    "%00",
    "%0d%0a",
    "%ff",
    "%c0%80",
    "%ed%a0%80",
    "%25%30%30",
    "+",
    "&a=b",
    "=",
    ";",
    ",",
    "#",
    "?",
    "..",
    "/../",
    "\\",
    "'",
    '"',
    '"><script>alert(1)</script>',
    "{{7*7}}",
    "0",
    "-1",
    "9" * 5000,
    "1e999",
    "NaN",
    "null",
    "true",
    "{}",
    "[" * 2000,
    "٣",
    "²",
)
"""Texts that something somewhere stumbled over once."""

NUMBERS = ("0", "-0", "1e999", "-1e999", "1e-999", "NaN", "Infinity", "9" * 400, "9" * 5000, "1.5")
"""Numbers as JSON may write them, or as some programs do."""

nasty = st.sampled_from(TEXTS) | st.text(max_size=20)
encodable = nasty.filter(lambda text: text == text.encode(errors="replace").decode())


def fuzz(*args: Any, examples: int = 40, **kwargs: Any) -> Callable[[Any], Any]:
    """Give a test this many inputs, or as many as ``./dev fuzz`` asks for, if that is more."""
    quick = not EXAMPLES
    run = settings(
        max_examples=max(examples, EXAMPLES),
        deadline=None,
        database=ReadOnlyDatabase(FAILURES) if quick else FAILURES,
        phases=set(Phase) - {Phase.explain},
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: run(given(*args, **kwargs)(test))


@st.composite
def spoiled(draw: st.DrawFn, good: st.SearchStrategy[str]) -> str:
    """A good text with something nasty at one place, in place of a part, or as it is."""
    text = draw(good)
    first, last = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
    what = draw(st.sampled_from(["as it is", "inserted", "replaced", "repeated", "swapped"]))
    match what:
        case "inserted":
            return text[:first] + draw(nasty) + text[first:]
        case "replaced":
            return text[:first] + draw(nasty) + text[last:]
        case "repeated":
            return text[:last] + text[first:]
        case "swapped":
            return text[:first] + text[first:last].swapcase() + text[last:]
    return text


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([2**63, 10**400, 1e308])
    | nasty,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(nasty, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def spoiled_members(draw: st.DrawFn, *good: dict[str, Any]) -> dict[str, Any]:
    """Good members of an object, some of them left out, changed or nested, and some more."""
    members = dict(draw(st.sampled_from(good)))
    names = sorted({name for some in good for name in some})
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(names) | nasty)
        match draw(st.sampled_from(["gone", "any", "listed", "spoiled", "spoiled item"])):
            case "gone":
                members.pop(name, None)
            case "any":
                members[name] = draw(json_values)
            case "listed":
                members[name] = [members.get(name)] * draw(st.integers(0, 3))
            case "spoiled" if isinstance(members.get(name), str):
                members[name] = draw(spoiled(st.just(members[name])))
            case "spoiled item" if isinstance(members.get(name), list | tuple) and members[name]:
                members[name] = [draw(spoiled(st.just(str(item)))) for item in members[name]]
    return members


@st.composite
def spoiled_json(draw: st.DrawFn, members: st.SearchStrategy[dict[str, Any]]) -> str:
    """An object as JSON, with a member twice, a strange number, or characters too many."""
    text = json.dumps(draw(members), ensure_ascii=draw(st.booleans()))
    more = ",".join(
        f"{json.dumps(name)}:{value}"
        for name, value in draw(
            st.lists(st.tuples(nasty, st.sampled_from(NUMBERS)), min_size=0, max_size=2)
        )
    )
    if more and text != "{}":
        text = f"{text[:-1]},{more}}}"
    match draw(st.sampled_from(["as it is", "as it is", "twice", "deep", "spoiled"])):
        case "twice":
            return text[:-1] + "," + text[1:] if text != "{}" else text
        case "deep":
            depth = draw(st.sampled_from([10, 900, 20_000]))
            return '{"deep":' + "[" * depth + "]" * depth + "," + text[1:]
        case "spoiled":
            return draw(spoiled(st.just(text)))
    return text


def encoded(text: str) -> bytes:
    """Return the UTF-8 of a text, even of one that is none."""
    return text.encode(errors="surrogatepass")


def form_encoded(text: str, how: str) -> str:
    """Return a text as a form has it, in one of several ways that mean the same."""
    raw = encoded(text)
    match how:
        case "plus":
            return quote_plus(raw)
        case "all":
            return "".join(f"%{byte:02x}" for byte in raw)
    return quote(raw, safe="")


HOW = st.sampled_from(["plus", "all", "quote"])


def base64(raw: bytes, padding: str = "=") -> str:
    """Return base64 with another padding."""
    return b64encode(raw).decode().rstrip("=") + padding * (-len(raw) % 3)


def jwt_part(text: str, padding: str = "") -> str:
    """Return a part of a JWT, which has no padding."""
    return urlsafe_b64encode(encoded(text)).decode().rstrip("=") + padding


def check_told(error: Exception) -> None:
    """What is told or logged of a refusal is short and pretends nothing."""
    assert str(error).isprintable()
    assert len(str(error)) < 1000

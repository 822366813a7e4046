"""``mcpserve call --arg NAME=VALUE``: the tool's schema says what a value means."""

import re
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from mcpserve import tool
from mcpserve.arguments import arguments


class Place(BaseModel):
    """Where."""

    name: str


class Color(Enum):
    """Values that are text."""

    RED = "red"


@tool
def take(
    text: str,
    number: int = 0,
    share: float = 0,
    flag: bool = False,
    tags: list[str] | None = None,
    counts: dict[str, int] | None = None,
    place: Place | None = None,
    maybe: str | None = None,
    mixed: int | str = 0,
    color: Color = Color.RED,
    size: Literal["1", "2"] = "1",
    level: Literal[1, 2] = 1,
    day: date | None = None,
    named: Annotated[list[int], Field(description="Numbers")] = [],  # noqa: B006
    anything: Any = None,
) -> str:
    """Take all that there is."""
    return ""


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("text=5", "5"),
        ("text=true", "true"),
        ("text=", ""),
        ("text= a = b ", " a = b "),
        ('text={"a": 1}', '{"a": 1}'),
        ("number=5", 5),
        ("number= -5", -5),
        ("share=0.5", 0.5),
        ("share=5", 5),
        ("flag=true", True),
        ("flag=no", False),
        ("tags=[a, b]", ["a", "b"]),
        ('tags=["a", "2"]', ["a", "2"]),
        ("tags=[2026-01-02]", ["2026-01-02"]),
        ("tags=null", None),
        ("counts={a: 1}", {"a": 1}),
        ('place={"name": "Oslo"}', {"name": "Oslo"}),
        ("maybe=null", "null"),
        ("mixed=5", "5"),
        ("color=red", "red"),
        ("size=2", "2"),
        ("level=2", 2),
        ("day=2026-01-02", "2026-01-02"),
        ("named=[1, 2]", [1, 2]),
        ("anything=[1, {a: b}]", [1, {"a": "b"}]),
        ("anything=: [", ": ["),
    ],
)
def test_a_value_is_what_the_schema_says(given, value):
    assert arguments([given], take) == {given.partition("=")[0]: value}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["number"], "--arg number: must be NAME=VALUE"),
        (["nummer=1"], "--arg nummer: no such argument; take has: text, number, share"),
        (["number=1", "number=2"], "--arg number: is given twice"),
        (["number=five"], "--arg number: must be a whole number, not 'five'"),
        (["number=true"], "--arg number: must be a whole number, not 'true'"),
        (["number=1.5"], "--arg number: must be a whole number"),
        (["flag=1"], "--arg flag: must be true or false, not '1'"),
        (["tags=a"], "--arg tags: must be a list, such as [1, 2] or null, not 'a'"),
        (["tags=[a"], "--arg tags: must be a list"),
        (["place=Oslo"], "--arg place: must be null or an object"),
        (["=1"], "--arg : no such argument"),
    ],
)
def test_what_is_wrong_is_told_by_the_argument(given, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        arguments(given, take)


def test_a_tool_without_arguments_has_none():
    @tool
    def now() -> str:
        """Tell the time."""
        return ""

    assert arguments([], now) == {}
    with pytest.raises(ValueError, match="now has: none"):
        arguments(["a=1"], now)

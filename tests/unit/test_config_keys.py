"""A plugin's own settings, as its JSON Schema has them."""

from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Literal, Union

import pytest
from pydantic import BaseModel, Field, SecretStr
from typing_extensions import TypeAliasType

from mcpserve.config_keys import config_schema, keys, with_defaults

Tree = TypeAliasType("Tree", Union[int, list["Tree"]])  # noqa: UP007 - a name for itself


class Unit(Enum):
    """A choice."""

    C = "c"
    F = "f"


class Limits(BaseModel):
    """A section."""

    most: int = 5
    word: SecretStr = SecretStr("")


class Section(BaseModel):
    """A section with something that it cannot do without."""

    url: str
    limits: Limits = Limits()


class Node(BaseModel):
    """A section that may hold itself."""

    value: int = 0
    inner: Union["Node", None] = None


class Config(BaseModel):
    """All that there is."""

    place: str = Field(description="Where")
    unit: Unit = Unit.C
    days: Literal[1, 2] = 1
    names: list[str] = []
    tree: Tree = 0
    anything: Any = None
    limits: Limits = Limits()
    more: Section | None = None
    node: Node = Node()
    made: Annotated[list[int], Field(default_factory=list)]


SCHEMA = config_schema("sample", Config)
KEYS = {each.key: each for each in keys(SCHEMA)}


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("place", "string"),
        ("unit", "c or f"),
        ("days", "1 or 2"),
        ("names", "array of string"),
        ("anything", "anything"),
        ("limits.most", "integer"),
        ("limits.word", "string"),
        ("more", "object or null"),
        ("more.url", "string"),
        ("more.limits.most", "integer"),
        ("node.value", "integer"),
        ("node.inner", "object or null"),
        ("made", "array of integer"),
    ],
)
def test_the_type_of_a_setting_is_told_in_words(key, kind):
    assert KEYS[key].type == kind


def test_a_type_that_is_made_of_itself_comes_to_an_end():
    assert KEYS["tree"].type.startswith("integer or array of integer or array of")
    assert [key for key in KEYS if key.startswith("node")] == ["node.value", "node.inner"]


def test_what_is_required_secret_and_described_is_known():
    assert [key for key, each in KEYS.items() if each.required] == ["place", "more.url"]
    assert [key for key, each in KEYS.items() if each.secret] == ["limits.word", "more.limits.word"]
    assert KEYS["place"].description == "Where"


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        ({"place": ""}, {"limits": {"most": 5, "word": ""}, "more": None}),
        ({"limits": {"most": 1}}, {"limits": {"most": 1, "word": ""}}),
        ({"limits": None}, {"limits": None}),
        ({"unit": "f", "other": 1}, {"unit": "f", "other": 1, "days": 1}),
    ],
)
def test_defaults_are_filled_in_where_nothing_is_given(given, filled):
    found = with_defaults(given, SCHEMA)
    assert {key: found[key] for key in filled} == filled
    assert found.keys() - given.keys() <= KEYS.keys() | {"limits", "node"}
    assert "made" not in found


def test_a_reference_that_leads_nowhere_harms_nothing():
    broken = {"properties": {"a": {"$ref": "#/$defs/none"}, "b": {"$ref": "#"}}}
    assert [(each.key, each.type) for each in keys(broken)] == [
        ("a", "anything"),
        ("b", "anything"),
    ]
    assert with_defaults({}, broken) == {}


def test_a_model_without_a_schema_has_none():
    class Strange(BaseModel):
        call: Callable[[], None]

    assert config_schema("sample", Strange) is None


def test_a_default_that_json_cannot_say_is_left_out():
    class Strange(BaseModel):
        thing: Any = object()

    (each,) = keys(config_schema("sample", Strange))
    assert (each.key, each.default) == ("thing", None)

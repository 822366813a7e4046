"""A function becomes a tool: name, description and schemas come from the function itself."""

import functools
from dataclasses import dataclass
from typing import Annotated, TypedDict

import pytest
from mcp_types import CallToolResult, TextContent
from pydantic import BaseModel, Field, RootModel

from mcpserve import ToolAnnotations, ToolContext, decisions, tool
from mcpserve.bound import DEFAULT_TIMEOUT, Containment
from mcpserve.settings import OfferSettings, PluginSettings
from mcpserve.tools import CALL_SCOPE


class Place(BaseModel):
    """Where."""

    name: str
    country: str = "NO"


async def forecast(
    place: Annotated[str, Field(description="A city", min_length=2)],
    ctx: ToolContext,
    days: Annotated[int, Field(ge=1, le=7)] = 3,
    tags: list[str] | None = None,
) -> dict[str, int]:
    """Forecast for a city.

    Up to seven days.
    """
    return {place: days}


def test_the_schema_comes_from_the_signature():
    assert tool(forecast).input_schema == {
        "type": "object",
        "title": "forecastArguments",
        "additionalProperties": False,
        "required": ["place"],
        "properties": {
            "place": {
                "type": "string",
                "title": "Place",
                "description": "A city",
                "minLength": 2,
            },
            "days": {"type": "integer", "title": "Days", "default": 3, "minimum": 1, "maximum": 7},
            "tags": {
                "title": "Tags",
                "default": None,
                "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}],
            },
        },
    }


def test_a_tool_without_arguments_takes_none():
    def now() -> str:
        """Tell the time."""
        return ""

    schema = tool(now).input_schema
    assert (schema["properties"], schema["additionalProperties"]) == ({}, False)


def test_name_and_description_are_those_of_the_function():
    made = tool(forecast)
    assert (made.name, made.title) == ("forecast", None)
    assert made.description == "Forecast for a city.\n\nUp to seven days."


@pytest.mark.parametrize(
    "decorate", [lambda **told: tool(**told)(forecast), functools.partial(tool, forecast)]
)
def test_what_the_author_says_comes_before_the_function(decorate):
    made = decorate(
        name="weather",
        title="Weather",
        description="Look outside.",
        scopes=["weather:read"],
        timeout=5,
        annotations=ToolAnnotations(read_only_hint=True),
        meta={"org.example/ui": True},
    )
    assert (made.name, made.title, made.description) == ("weather", "Weather", "Look outside.")
    assert (made.scopes, made.timeout) == (frozenset({"weather:read"}), 5)
    assert made.annotations == ToolAnnotations(read_only_hint=True)
    assert made.definition.meta == {"org.example/ui": True}


def test_a_function_without_docstring_has_no_description():
    def bare() -> str:
        return ""

    assert tool(bare).description is None


def in_text(text: "str", ctx: "ToolContext") -> "str":
    """Have annotations that are text."""
    return text


def test_the_context_is_found_in_annotations_that_are_text():
    made = tool(in_text)
    assert made.context_parameter == "ctx"
    assert list(made.input_schema["properties"]) == ["text"]


class Sheltered(TypedDict):
    """A dictionary with known keys."""

    roof: bool


@dataclass
class Wind:
    """A dataclass."""

    speed: float


@pytest.mark.parametrize(
    ("returned", "properties"),
    [
        (str, ["result"]),
        (int | None, ["result"]),
        (list[Place], ["result"]),
        (tuple[int, str], ["result"]),
        (Place, ["name", "country"]),
        (Wind, ["speed"]),
        (Sheltered, ["roof"]),
        (Annotated[CallToolResult, Place], ["name", "country"]),
    ],
)
def test_the_output_schema_is_an_object_whatever_is_returned(returned, properties):
    def give():
        """Return it."""

    give.__annotations__["return"] = returned
    schema = tool(give).definition.output_schema
    assert schema["type"] == "object"
    assert list(schema["properties"]) == properties


@pytest.mark.parametrize("returned", [CallToolResult, TextContent, list[TextContent]])
def test_content_has_no_output_schema(returned):
    def give():
        """Return it."""

    give.__annotations__["return"] = returned
    assert tool(give).definition.output_schema is None


class Numbers(RootModel[list[int]]):
    """No object."""


@pytest.mark.parametrize("returned", [Numbers, Annotated[CallToolResult, Numbers]])
def test_an_output_that_is_no_object_is_refused(returned):
    # One such tool, and clients of the handshake era could read no list at all.
    def give():
        """Return it."""

    give.__annotations__["return"] = returned
    with pytest.raises(TypeError, match="'give' must return an object"):
        tool(give)


def anything(*values: str) -> str:
    """Take any number."""
    return ""


def named(**values: str) -> str:
    """Take any names."""
    return ""


def placed(value: str, /) -> str:
    """Take a place."""
    return value


@pytest.mark.parametrize("function", [anything, named, placed])
def test_a_parameter_that_cannot_be_named_is_refused(function):
    with pytest.raises(
        TypeError, match=f"tool '{function.__name__}': .*value.* cannot be given by name"
    ):
        tool(function)


def test_an_annotation_that_has_no_schema_is_refused():
    class Opaque:
        """Nothing that JSON knows."""

    def take(value: Opaque) -> str:
        """Take it."""
        return ""

    with pytest.raises(Exception, match="Opaque"):
        tool(take)


@pytest.mark.parametrize(
    ("scopes", "error"),
    [("weather:read", TypeError), (["two words"], ValueError), (['"'], ValueError)],
)
def test_scopes_that_no_token_can_have_are_refused(scopes, error):
    with pytest.raises(error):
        tool(scopes=scopes)(forecast)


def decided(plugin=None, override=None, **told):
    """Return a tool with what its author and the operator decided."""
    return decisions.bind(
        tool(**told)(forecast),
        "weather",
        PluginSettings.model_validate(plugin or {}),
        OfferSettings.model_validate(override or {}),
        containment=Containment.of("plugin", PluginSettings()),
    )


@pytest.mark.parametrize(
    ("author", "plugin", "override", "seconds"),
    [
        (None, None, None, DEFAULT_TIMEOUT),
        (5, None, None, 5),
        (5, "10s", None, 10),
        (60, "10s", None, 10),
        (5, None, "1s", 1),
        (5, "10s", "1m", 60),
    ],
)
def test_the_timeout_of_the_operator_wins(author, plugin, override, seconds):
    made = decided(
        timeout=author,
        plugin={"timeout": plugin} if plugin else {},
        override={"timeout": override} if override else {},
    )
    assert made.timeout == seconds


def test_scopes_add_up():
    made = decided(scopes=["a"], plugin={"scopes": ["b"]}, override={"scopes": ["c"]})
    assert made.scopes == {CALL_SCOPE, "a", "b", "c"}
    assert decided().scopes == {CALL_SCOPE}

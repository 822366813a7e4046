"""What `plugin check` finds in tools, resources, prompts and the config of a plugin."""

from enum import Enum
from types import ModuleType
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from mcpserve import Resource, ToolAnnotations, app_page, hookimpl, prompt, resource, shown_on, tool
from mcpserve.checking import model, offers, rules
from mcpserve.checking.offers import Offered
from mcpserve.registry import Registry
from mcpserve.testing import load_plugin

HINTS = ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=False)
PAGE = app_page("ui://notes/card", "<!doctype html><p>Notes", description="Shows notes.")


def clean(text: Annotated[str, Field(description="What to look for.")]) -> str:
    """Find a note."""
    return text


def hinted(function=clean, **told):
    """Return a tool that is as it should be, but for what is told."""
    return tool(**{"annotations": HINTS} | told)(function)


async def found(*handed, readme="", reaches_out=False):
    """Return what is found in a plugin that offers this."""
    plugin = ModuleType("notes")
    for name, kind in [("tools", "tool"), ("resources", "resource"), ("prompts", "prompt")]:
        some = [offer for offer in handed if offer.kind == kind]
        setattr(plugin, f"mcpserve_{name}", hookimpl(lambda some=some: some))
    async with load_plugin(plugin) as loaded:
        registry = Registry(loaded.tools, loaded.resources, loaded.prompts)
        offered = Offered(registry, readme, reaches_out)
        return [finding for check in offers.CHECKS for finding in check(offered)]


async def test_what_is_as_it_should_be_has_no_finding():
    page_tool = hinted(name="show", meta=shown_on(PAGE))
    assert await found(hinted(), page_tool, PAGE) == []


def undescribed(text: Annotated[str, Field(description="What to look for.")]) -> str:
    return text


def unexplained(text: str) -> str:
    """Find a note."""
    return text


def oddly_called(text: Annotated[str, Field(alias="what?", description="Text.")]) -> str:
    """Find a note."""
    return text


class Colour(Enum):
    RED = "red"


def referring(colour: Annotated[Colour, Field(description="A colour.")]) -> str:
    """Find a note."""
    return colour.name


def large(text: Annotated[str, Field(description="What to look for. " * 700)]) -> str:
    """Find a note."""
    return text


def hints(**changes):
    """Return other hints."""
    return ToolAnnotations(**HINTS.model_dump(exclude_none=True) | changes)


@pytest.mark.parametrize(
    ("offer", "rule", "text"),
    [
        (hinted(name="n" * 41), rules.LONG_TOOL_NAME, f"tool {'n' * 41}: has a long name"),
        (hinted(undescribed), rules.NO_DESCRIPTION, "tool undescribed: has no description"),
        (
            hinted(description="x" * 2049),
            rules.LONG_TEXT,
            "tool clean: its description has 2049 characters",
        ),
        (
            hinted(unexplained),
            rules.NO_ARGUMENT_DESCRIPTION,
            "tool unexplained, argument text: has no description",
        ),
        (
            hinted(oddly_called),
            rules.ARGUMENT_NAME,
            "tool oddly_called, argument what?: has a name that clients refuse",
        ),
        (hinted(large), rules.LARGE_INPUT, "tool large: its input schema has "),
        (hinted(referring), rules.REFERENCES, "tool referring: has an input schema with $ref"),
        (
            hinted(annotations=hints(destructive_hint=True)),
            rules.CONTRADICTION,
            "tool clean: is read-only and destructive",
        ),
        (
            hinted(annotations=hints(open_world_hint=True)),
            rules.NO_WORLD,
            "tool clean: says that it is open to the world",
        ),
        (
            hinted(meta={"openai/toolInvocation/invoked": "x" * 65}),
            rules.LONG_STATUS_TEXT,
            "tool clean: openai/toolInvocation/invoked is too long",
        ),
        (
            hinted(scopes=["notes.read"]),
            rules.SCOPE_UNDOCUMENTED,
            "tool clean: needs the scope notes.read, which the README does not name",
        ),
        (
            resource("notes://all")(lambda: ""),
            rules.NO_DESCRIPTION,
            "resource <lambda>: has no description",
        ),
        (
            prompt(unexplained),
            rules.NO_ARGUMENT_DESCRIPTION,
            "prompt unexplained, argument text: has no description",
        ),
    ],
)
async def test_what_clients_trip_over_is_told_with_its_place(offer, rule, text):
    (finding,) = await found(offer)
    assert finding.rule is rule
    assert finding.text.startswith(text)


@pytest.mark.parametrize("hint", ["read_only_hint", "destructive_hint", "open_world_hint"])
async def test_each_hint_must_be_said(hint):
    given = HINTS.model_dump(exclude_none=True)
    del given[hint]
    (finding,) = await found(hinted(annotations=ToolAnnotations(**given)))
    assert (finding.rule, finding.text) == (rules.HINT, f"tool clean: does not say {hint}")


async def test_without_any_annotations_all_hints_are_missing_in_one_finding():
    (finding,) = await found(tool(clean))
    assert finding.rule is rules.HINT
    assert finding.text == (
        "tool clean: does not say read_only_hint, destructive_hint, open_world_hint"
    )


def yielding(text: Annotated[str, Field(description="What to look for.")]) -> str:
    """Find a note."""
    yield text


async def yielding_async(text: Annotated[str, Field(description="What to look for.")]) -> str:
    """Find a note."""
    yield text


@pytest.mark.parametrize("function", [yielding, yielding_async])
@pytest.mark.parametrize("make", [hinted, prompt])
async def test_a_function_that_yields_is_told(function, make):
    (finding,) = await found(make(function))
    assert finding.rule is rules.GENERATOR
    assert function.__name__ in finding.text


async def test_a_tool_that_reaches_out_may_be_open_to_the_world():
    assert await found(hinted(annotations=hints(open_world_hint=True)), reaches_out=True) == []


async def test_a_scope_may_be_explained_in_the_readme_or_there_may_be_none():
    asking = hinted(scopes=["notes.read"])
    assert await found(asking, readme="The scope `notes.read` lets a client read.") == []
    assert await found(asking, readme=None) == []


async def test_a_result_is_shown_on_a_page_only():
    async def text() -> str:
        """Be text."""
        return ""

    plain: Resource = resource("ui://notes/card", mime_type="text/html")(text)
    shown = hinted(meta={"ui": {"resourceUri": "ui://notes/card"}})
    (finding,) = await found(shown, plain)
    assert finding.rule is rules.NO_PAGE
    assert "ui://notes/card is text/html, not text/html;profile=mcp-app" in finding.text


async def test_a_schema_that_is_no_plain_object_is_told():
    made = hinted()
    made.input_schema["anyOf"] = []
    (finding,) = await found(made)
    assert finding.rule is rules.TOP_LEVEL
    assert finding.text == "tool clean: its input schema has anyOf at the top"


class Section(BaseModel):
    """A section of a config."""

    model_config = ConfigDict(extra="forbid")

    password: SecretStr | None = Field(None, description="Password.")
    token_url: str = Field("", description="Where tokens are had.")
    max_tokens: int = Field(1, description="How many.")


class Fine(BaseModel):
    """A config with nothing to complain about."""

    model_config = ConfigDict(extra="forbid")

    section: Section = Field(Section(), description="A section.")
    required: str = Field(description="No default.")
    several: list[Section] = Field(default_factory=list, description="Sections.")
    days: int = Field(3, ge=1, description="Days.")


class Lax(BaseModel):
    """A section that takes anything."""


class Careless(BaseModel):
    """A config with one of each."""

    section: dict[str, Lax] = Field({}, description="A section.")
    api_key: str | None = Field(None, description="Key.")
    days: int = Field(0, ge=1, description="Days.")
    city: str = "Oslo"


def in_model(looked_at):
    """Return what is found in a model: the codes and places."""
    findings = [finding for check in model.CHECKS for finding in check(looked_at)]
    return {(finding.rule.code, finding.place) for finding in findings}


def test_a_careful_config_has_no_finding():
    assert in_model(Fine) == set()


def test_what_is_careless_in_a_config_is_told_by_its_key():
    assert in_model(Careless) == {
        (rules.EXTRA.code, "config"),
        (rules.EXTRA.code, "config.section"),
        (rules.PLAIN_SECRET.code, "config.api_key"),
        (rules.DEFAULT.code, "config.days"),
        (rules.FIELD_DESCRIPTION.code, "config.city"),
    }

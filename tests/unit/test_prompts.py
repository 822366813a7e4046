"""Prompts as their authors write them, and getting one."""

from enum import Enum
from typing import Annotated, Literal

import pytest
from exchanges import CALLER, bound
from mcp_types import AudioContent, EmbeddedResource, ImageContent, TextResourceContents
from pydantic import Field

from mcpserve import Icon, PromptMessage, ResourceLink, TextContent, ToolContext, ToolError, prompt
from mcpserve.bound import CallFailed, Outcome
from mcpserve.registry import PromptRegistry, UnknownPrompt
from mcpserve.tools import WrongArguments


async def render(made, /, **arguments):
    """Get a prompt."""
    registry = PromptRegistry([bound(made)])
    return await registry.render(made.name, arguments, ToolContext(CALLER))


async def messages(value):
    """Return the messages of a prompt whose function returns this."""
    return (await render(prompt(name="one")(lambda: value))).messages


def test_a_prompt_is_described_by_its_function():
    @prompt(title="Review", icons=[Icon(src="https://x.test/i.png")], meta={"org.example/a": 1})
    def review(
        code: Annotated[str, Field(description="What to review", title="Code")],
        ctx: ToolContext,
        depth: int = 1,
    ) -> str:
        """Review code."""
        return ""

    assert review.definition.model_dump(exclude_none=True, by_alias=True) == {
        "name": "review",
        "title": "Review",
        "description": "Review code.",
        "arguments": [
            {"name": "code", "title": "Code", "description": "What to review", "required": True},
            {"name": "depth", "required": False},
        ],
        "icons": [{"src": "https://x.test/i.png"}],
        "_meta": {"org.example/a": 1},
    }


async def test_text_is_what_the_user_says():
    @prompt
    async def greet(name: str) -> str:
        """Greet."""
        return f"Hello, {name}"

    shown = await render(greet, name="Ada")
    assert shown.messages == [
        PromptMessage(role="user", content=TextContent(type="text", text="Hello, Ada"))
    ]
    assert shown.description == "Greet."


TEXT = TextResourceContents(uri="test://x", text="x")


@pytest.mark.parametrize(
    "content",
    [
        TextContent(type="text", text="x"),
        ImageContent(type="image", data="AAAA", mime_type="image/png"),
        AudioContent(type="audio", data="AAAA", mime_type="audio/wav"),
        EmbeddedResource(type="resource", resource=TEXT),
        ResourceLink(type="resource_link", uri="test://x", name="x"),
    ],
    ids=lambda content: content.type,
)
async def test_content_of_every_kind_may_be_said(content):
    said = PromptMessage(role="user", content=content)
    assert await messages(content) == [said]
    answer = PromptMessage(role="assistant", content=content)
    assert await messages([content, answer]) == [said, answer]
    assert [each.content.text for each in await messages(["a", "b"])] == ["a", "b"]


async def test_a_prompt_may_say_nothing():
    assert await messages([]) == []


@pytest.mark.parametrize("value", [None, 5, {"role": "user"}, [None], object()])
async def test_what_is_no_message_is_a_crash(value, caplog):
    with pytest.raises(CallFailed) as caught:
        await messages(value)
    assert caught.value.outcome is Outcome.CRASH
    assert str(caught.value) == "Error executing prompt one"


class Colour(Enum):
    """Some."""

    RED = "red"


async def test_arguments_are_text_and_become_what_the_function_declares():
    @prompt
    def take(number: int, flag: bool, colour: Colour, text: str | None = None) -> str:
        """Take."""
        return repr((number, flag, colour, text))

    given = {"number": "3", "flag": "true", "colour": "red", "text": "null"}
    (said,) = (await render(take, **given)).messages
    assert said.content.text == repr((3, True, Colour.RED, "null"))


@prompt
def strict(number: int, how: Literal["a", "b"] = "a") -> str:
    """Be strict."""
    return ""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "strict: number: Field required"),
        ({"number": "hunter2"}, "number: Input should be a valid integer"),
        ({"number": "1", "how": "c"}, "how: Input should be 'a' or 'b'"),
        ({"number": "1", "more": "1"}, r"more: no such argument \(arguments: number, how\)"),
        ({"number": "1", "ctx": "1"}, "ctx: no such argument"),
    ],
)
async def test_a_wrong_argument_is_told_by_name(arguments, problem):
    with pytest.raises(WrongArguments, match=problem) as caught:
        await render(strict, **arguments)
    assert "hunter2" not in str(caught.value)


async def test_an_unknown_prompt_is_raised():
    with pytest.raises(UnknownPrompt, match="Unknown prompt: nope"):
        await PromptRegistry([bound(strict)]).render("nope", {}, ToolContext(CALLER))


async def test_a_failure_that_the_author_tells_is_told():
    @prompt
    def fail() -> str:
        """Fail."""
        raise ToolError("not today")

    with pytest.raises(ToolError, match="not today"):
        await render(fail)


@pytest.mark.parametrize("scopes", ["text", ["two words"]])
def test_scopes_that_no_token_can_have_are_refused(scopes):
    with pytest.raises((TypeError, ValueError)):
        prompt(scopes=scopes)(lambda: "")

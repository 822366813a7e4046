"""Halves of surrogate pairs, as in odd file names: no JSON carries them, so clients get U+FFFD."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from exchanges import CALLER, bound, exchange, handshake
from isolated import install
from mcp_types import CallToolResult, TextContent
from pydantic import BaseModel

from mcpserve import ToolContext, ToolError, plugins, prompt, resource, tool
from mcpserve.registry import ToolRegistry
from mcpserve.settings import PluginSettings
from mcpserve.surrogates import encoded, whole

HALF = "a\ud800b"
MENDED = "a\ufffdb"


class Page(BaseModel):
    """Structured output."""

    text: str
    more: dict[str, list[str]] = {}


@dataclass
class Note:
    """Structured output, too."""

    text: str


def as_text() -> str:
    """Return text."""
    return HALF


def as_list() -> list[str]:
    """Return a list."""
    return [HALF]


def as_keys() -> dict[str, str]:
    """Return an object."""
    return {HALF: HALF}


def as_model() -> Page:
    """Return a model."""
    return Page(text=HALF, more={HALF: [HALF]})


def as_dataclass() -> Note:
    """Return a dataclass."""
    return Note(HALF)


def as_anything():
    """Return what has no schema."""
    return {"text": HALF}


def as_result() -> CallToolResult:
    """Return a result."""
    content = [TextContent(text=HALF)]
    return CallToolResult(content=content, structured_content={HALF: [HALF]}, _meta={"a": HALF})


RETURNED = {
    as_text: {"result": MENDED},
    as_list: {"result": [MENDED]},
    as_keys: {MENDED: MENDED},
    as_model: {"text": MENDED, "more": {MENDED: [MENDED]}},
    as_dataclass: {"text": MENDED},
    as_anything: None,
    as_result: {MENDED: [MENDED]},
}


async def called(function):
    """Call a tool as a client does."""
    server = exchange(function)
    params = {"name": function.__name__, "arguments": {}, "_meta": {"progressToken": 1}}
    return await handshake(server, "tools/call", params)


@pytest.mark.parametrize("function", RETURNED)
async def test_a_result_arrives_with_the_character_for_what_is_none(function):
    result = (await called(function)).result
    assert not result.get("isError")
    assert result.get("structuredContent") == RETURNED[function]
    assert MENDED in result["content"][0]["text"]


async def test_an_error_and_what_is_told_before_it_arrive():
    async def refuse(ctx: ToolContext) -> str:
        """Refuse."""
        await ctx.progress(1, message=HALF)
        await ctx.log("info", HALF, **{HALF: HALF})
        raise ToolError(HALF)

    answer = await called(refuse)
    assert answer.result["isError"]
    assert answer.result["content"][0]["text"] == MENDED
    progress, log = (message["params"] for message in answer.sent)
    assert progress["message"] == MENDED
    assert log["data"] == {"message": MENDED, MENDED: MENDED}


async def test_what_is_redacted_arrives_as_well():
    def refuse() -> str:
        """Refuse."""
        raise ToolError(f"secret {HALF}")

    def give() -> str:
        """Give."""
        return f"secret {HALF}"

    for function in (refuse, give):
        offered = bound(function, results={"redact": ["secret"]})
        context = ToolContext(CALLER)
        result = await ToolRegistry([offered]).call(function.__name__, {}, context)
        assert result.content[0].text == f"[redacted] {MENDED}"


async def test_lists_resources_prompts_and_completions_arrive():
    @tool(title=HALF)
    def named() -> str:
        """Do nothing."""
        return ""

    @resource("notes://all")
    def note() -> dict[str, str]:
        """Return a note."""
        return {"text": HALF}

    @prompt
    def review(code: str) -> str:
        """Review."""
        return HALF

    @review.completes("code")
    def codes(value, others):
        return [HALF]

    server = exchange(named, note, review)
    (listed,) = (await handshake(server, "tools/list")).result["tools"]
    assert listed["title"] == MENDED
    read = await handshake(server, "resources/read", {"uri": "notes://all"})
    assert MENDED in read.result["contents"][0]["text"]
    rendered = await handshake(server, "prompts/get", {"name": "review", "arguments": {"code": ""}})
    assert rendered.result["messages"][0]["content"]["text"] == MENDED
    reference = {"type": "ref/prompt", "name": "review"}
    asked = {"ref": reference, "argument": {"name": "code", "value": ""}}
    completed = await handshake(server, "completion/complete", asked)
    assert completed.result["completion"]["values"] == [MENDED]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("\ud83d\ude00", "\U0001f600"),
        ("\ud83d", "\ufffd"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ({"a": ("\udfff", 1, None)}, {"a": ["\ufffd", 1, None]}),
        (frozenset({1}), frozenset({1})),
    ],
)
def test_halves_that_belong_together_are_joined_and_all_else_is_kept(given, expected):
    assert whole(given) == expected


def test_what_needs_no_mending_stays_the_same_object():
    for value in ("Grüße 🌧", 1, None, object()):
        assert whole(value) is value


def test_any_other_failure_to_encode_is_one():
    circle = []
    circle.append(circle)
    for value in (circle, object()):
        with pytest.raises((ValueError, RecursionError)):
            encoded(value)


SOURCE = '''
from mcpserve import *

@hookimpl
def mcpserve_tools():
    @tool(title="a\\ud800b")
    async def give(ctx: ToolContext) -> dict[str, str]:
        """Give."""
        await ctx.progress(1, message="a\\ud800b")
        return {"a\\ud800b": "a\\ud800b"}

    def give_text() -> str:
        """Give."""
        return "a\\ud800b"

    def refuse() -> str:
        """Refuse."""
        raise ToolError("a\\ud800b")

    return [give, give_text, refuse]
'''


async def test_a_worker_answers_as_the_server_does(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, SOURCE)
    chosen = {"apart": PluginSettings(isolation="process", timeout="5s")}
    reported = []

    async def send_progress(progress, total=None, message=None):
        reported.append(message)

    async with AsyncExitStack() as exit_stack:
        tools = (await plugins.load(chosen, exit_stack)).registry.tools
        assert tools.get("give").offer.title == MENDED
        context = ToolContext(CALLER, send_progress)
        given, text, refused = [await tools.call(each.offer.name, {}, context) for each in tools]
    assert given.structured_content == {MENDED: MENDED}
    assert text.structured_content == {"result": MENDED}
    assert (refused.is_error, refused.content[0].text) == (True, MENDED)
    assert reported == [MENDED]

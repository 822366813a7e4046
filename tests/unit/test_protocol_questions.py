"""What may be asked of which client, and what a form may have."""

from typing import Annotated, Literal

import mcp_types
import pytest
from asking import EVERYTHING, ROOT, Amount, accept, asked, call, one_question, told
from exchanges import exchange, handshake
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
)
from pydantic import AwareDatetime, BaseModel, Field, SecretStr

from mcpserve import ToolContext, ToolError, tool

URL_FORM = ElicitRequest(params=ElicitRequestURLParams(message="Log in", url="https://x.test/"))
SAMPLE = {"messages": [SamplingMessage(role="user", content=TextContent(text="Hi"))]}
TOOL = mcp_types.Tool(name="t", input_schema={"type": "object"})
LACKING = {
    "form": (
        ElicitRequest(
            params=ElicitRequestFormParams(
                message="", requested_schema={"type": "object", "properties": {}}
            )
        ),
        {"elicitation": {"url": {}}},
        {"elicitation": {"form": {}}},
    ),
    "page": (URL_FORM, {"elicitation": {}}, {"elicitation": {"url": {}}}),
    "sampling": (
        CreateMessageRequest(params=CreateMessageRequestParams(max_tokens=9, **SAMPLE)),
        {"elicitation": {}, "roots": {}},
        {"sampling": {}},
    ),
    "sampling with tools": (
        CreateMessageRequest(
            params=CreateMessageRequestParams(max_tokens=9, tools=[TOOL], **SAMPLE)
        ),
        {"sampling": {}},
        {"sampling": {"tools": {}}},
    ),
    "roots": (ListRootsRequest(), {"elicitation": {}}, {"roots": {}}),
}


@pytest.mark.parametrize(("asking", "declared", "required"), LACKING.values(), ids=LACKING)
async def test_a_client_is_asked_only_for_what_it_declared(asking, declared, required):
    can = []

    async def ask(thing: str, ctx: ToolContext) -> str:
        """Ask for one thing."""
        can.append(ctx.can_ask(asking))
        await ctx.ask({"a": asking})
        return "answered"

    server = exchange(ask)
    for capabilities in ({}, declared):
        answer = await call(server, capabilities=capabilities)
        assert answer.code == (400, -32021)
        assert answer.body["error"]["data"] == {"requiredCapabilities": required}
    await asked(server, capabilities=EVERYTHING)
    assert can == [False, False, True]


async def test_what_a_client_lacks_is_named_once_for_all_questions():
    async def ask(thing: str, ctx: ToolContext) -> str:
        """Ask for everything."""
        await ctx.ask({"a": URL_FORM, "b": ListRootsRequest()})
        return "answered"

    answer = await call(exchange(ask), capabilities={"elicitation": {}})
    required = {"elicitation": {"url": {}}, "roots": {}}
    assert answer.body["error"]["data"] == {"requiredCapabilities": required}


async def without(thing: str, ctx: ToolContext) -> str:
    """Do without an answer if need be."""
    try:
        return (await ctx.elicit("How many?", Amount)).action
    except ToolError as error:
        return f"{ctx.can_ask()} {error}"


async def test_a_tool_may_do_without_an_answer():
    server = exchange(tool(name="ask")(without))
    assert (await told(server, capabilities={})).startswith("False this client cannot be asked")


async def test_a_client_of_the_handshake_era_cannot_be_asked():
    params = {"name": "ask", "arguments": {"thing": "cake"}, "requestState": "x"}
    answer = await handshake(one_question(), "tools/call", params)
    assert answer.result["isError"]
    assert "cannot be asked anything" in answer.result["content"][0]["text"]
    answer = await handshake(exchange(tool(name="ask")(without)), "tools/call", params)
    assert answer.result["content"][0]["text"].startswith("False this client cannot be asked")


async def test_requests_of_every_kind_go_out_at_once_and_their_answers_come_back():
    async def ask(thing: str, ctx: ToolContext) -> str:
        """Ask for everything."""
        sampling = LACKING["sampling"][0]
        answers = await ctx.ask({"a": URL_FORM, "b": ListRootsRequest(), "c": sampling})
        return f"{answers['a'].action} {answers['b'].roots[0].uri} {answers['c'].content.text}"

    server = exchange(ask)
    texts, state = await asked(server, capabilities=EVERYTHING)
    assert texts == {"a": "Log in", "b": "roots/list", "c": "sampling/createMessage"}
    sampled = {"role": "assistant", "content": {"type": "text", "text": "Hi"}, "model": "m"}
    answers = {"a": {"action": "accept"}, "b": {"roots": [ROOT]}, "c": sampled}
    # Each must be an answer to its own question.
    mixed = {"a": sampled, "b": {"action": "accept"}, "c": {"roots": [ROOT]}}
    again, state = await asked(server, mixed, state, capabilities=EVERYTHING)
    assert again == texts
    assert await told(server, answers, state, capabilities=EVERYTHING) == "accept file:///a Hi"


class Everything(BaseModel):
    """What a form may have."""

    text: Annotated[str, Field(min_length=1, max_length=9)] = "a"
    at: AwareDatetime | None = None
    whole: int = 1
    real: float = 0.5
    sure: bool = False
    size: Literal["s", "m"] = "m"


class Nested(BaseModel):
    """No form."""

    inner: Amount


class Texts(BaseModel):
    """No form."""

    lines: list[str]


class Either(BaseModel):
    """No form."""

    value: int | str


class Password(BaseModel):
    """No form: what is typed there passes through the client."""

    password: SecretStr


async def test_a_form_may_have_texts_numbers_yes_or_no_and_choices():
    async def ask(thing: str, ctx: ToolContext) -> str:
        """Ask for everything."""
        return (await ctx.elicit("All of it", Everything)).data.model_dump_json()

    server = exchange(ask)
    result = (await call(server)).result
    schema = result["inputRequests"]["1"]["params"]["requestedSchema"]
    assert [field["type"] for field in schema["properties"].values()] == [
        *("string", "string", "integer", "number", "boolean", "string")
    ]
    assert "required" not in schema
    content = {"text": "b", "at": "2026-07-28T12:00:00Z", "whole": 2, "real": 1.5, "sure": True}
    content |= {"size": "s"}
    said = await told(server, {"1": accept(**content)}, result["requestState"])
    assert Everything.model_validate_json(said) == Everything(**content)


@pytest.mark.parametrize("model", [Nested, Texts, Either, Password])
@pytest.mark.parametrize("era", [call, handshake])
async def test_what_is_no_form_is_told_before_anybody_is_asked(model, era):
    told = []

    async def ask(thing: str, ctx: ToolContext) -> str:
        """Ask for what cannot be asked."""
        try:
            await ctx.elicit("Your password?", model)
        except TypeError as error:
            told.append(str(error))
        return "told"

    arguments = {"name": "ask", "arguments": {"thing": ""}}
    server = exchange(ask)
    answer = await (call(server) if era is call else handshake(server, "tools/call", arguments))
    assert answer.result["content"][0]["text"] == "told"
    assert told[0].startswith(f"{model.__name__} is no form: only text, numbers,")

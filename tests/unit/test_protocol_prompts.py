"""``prompts/…`` and ``completion/complete`` as a client sees them, in both eras."""

from typing import Literal

import pytest
from exchanges import exchange, handshake, modern
from pydantic import BaseModel

from mcpserve import (
    EmbeddedResource,
    Principal,
    PromptMessage,
    TextContent,
    TextResourceContents,
    ToolContext,
    ToolError,
    prompt,
    resource,
)
from mcpserve.errors import InsufficientScope
from mcpserve.tools import CALL_SCOPE

BOTH = pytest.mark.parametrize("send", [modern, handshake])
NOBODY = Principal("client", "user", frozenset())
DEPLOYER = Principal("client", "user", frozenset({CALL_SCOPE, "deploy"}))


@prompt(title="Review")
def review(code: str, language: Literal["python", "rust"] = "python") -> list[object]:
    """Review code."""
    if code == "bad":
        raise ToolError("nothing to review")
    if code == "crash":
        raise KeyError("secret detail")
    page = TextResourceContents(uri="style://guide", text="…", mime_type="text/plain")
    answer = TextContent(type="text", text="Gladly.")
    return [
        f"{language}: {code}",
        PromptMessage(role="assistant", content=answer),
        EmbeddedResource(type="resource", resource=page),
    ]


@prompt(scopes=["deploy"])
def deploy() -> str:
    """Deploy."""
    return "Deploy."


@resource("style://{part}", scopes=["style"])
def style(part: str) -> str:
    """Part of a guide."""
    return part


@style.completes("part")
async def parts(value, others):
    """Complete."""
    return [f"{value}{number}" for number in range(250)]


SERVER = exchange(review, deploy, style)


@BOTH
async def test_prompts_are_listed_as_far_as_the_scopes_allow(send):
    answer = await send(SERVER, "prompts/list")
    assert answer.result["prompts"] == [
        {
            "name": "review",
            "title": "Review",
            "description": "Review code.",
            "arguments": [
                {"name": "code", "required": True},
                {"name": "language", "required": False},
            ],
        }
    ]
    assert (await send(SERVER, "prompts/list", principal=NOBODY)).result["prompts"] == []


async def test_the_list_may_be_cached_by_its_caller_only_and_a_prompt_not_at_all():
    result = (await modern(SERVER, "prompts/list")).result
    assert (result["cacheScope"], result["ttlMs"]) == ("private", 300_000)
    params = {"name": "review", "arguments": {"code": "x"}}
    assert "ttlMs" not in (await modern(SERVER, "prompts/get", params)).result


@BOTH
async def test_a_prompt_is_got_with_its_messages(send):
    params = {"name": "review", "arguments": {"code": "x", "language": "rust"}}
    answer = await send(SERVER, "prompts/get", params)
    assert answer.status == 200
    assert answer.result["description"] == "Review code."
    page = {"uri": "style://guide", "text": "…", "mimeType": "text/plain"}
    assert answer.result["messages"] == [
        {"role": "user", "content": {"type": "text", "text": "rust: x"}},
        {"role": "assistant", "content": {"type": "text", "text": "Gladly."}},
        {"role": "user", "content": {"type": "resource", "resource": page}},
    ]


@BOTH
@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"name": "nope"}, "Unknown prompt: nope"),
        ({"name": "review"}, "review: code: Field required (arguments: code, language)"),
        (
            {"name": "review", "arguments": {"code": "x", "more": "y"}},
            "review: more: no such argument (arguments: code, language)",
        ),
        ({"name": "review", "arguments": {"code": 5}}, "Invalid request parameters"),
        ({"name": "review", "arguments": ["code"]}, "Invalid request parameters"),
    ],
)
async def test_what_the_client_did_wrong_is_an_invalid_parameter(send, params, text):
    answer = await send(SERVER, "prompts/get", params)
    assert answer.code == (400 if send is modern else 200, -32602)
    assert answer.body["error"]["message"] == text


@BOTH
async def test_failures_are_internal_errors_and_a_crash_keeps_its_details(send):
    for code, text in [("bad", "nothing to review"), ("crash", "Error executing prompt review")]:
        params = {"name": "review", "arguments": {"code": code}}
        answer = await send(SERVER, "prompts/get", params)
        assert answer.body["error"] == {"code": -32603, "message": text}


PROMPT = {"type": "ref/prompt", "name": "review"}
DEPLOY = {"type": "ref/prompt", "name": "deploy"}
STYLE = {"type": "ref/resource", "uri": "style://{part}"}
TYPED = {"argument": {"name": "part", "value": "p"}}


@BOTH
@pytest.mark.parametrize(
    ("method", "params", "scopes"),
    [
        ("prompts/get", {"name": "deploy"}, {CALL_SCOPE, "deploy"}),
        ("completion/complete", {"ref": DEPLOY, **TYPED}, {CALL_SCOPE, "deploy"}),
        ("completion/complete", {"ref": STYLE, **TYPED}, {CALL_SCOPE, "style"}),
    ],
)
async def test_a_missing_scope_is_raised_with_all_that_are_needed(send, method, params, scopes):
    with pytest.raises(InsufficientScope) as caught:
        await send(SERVER, method, params)
    assert caught.value.scopes == scopes


async def complete(send, ref, name, value="", **others):
    """Complete an argument."""
    params = {"ref": ref, "argument": {"name": name, "value": value}}
    context = {"context": {"arguments": others}} if others else {}
    scopes = frozenset({CALL_SCOPE, "style"})
    principal = Principal("client", "user", scopes)
    return await send(SERVER, "completion/complete", params | context, principal=principal)


@BOTH
async def test_an_argument_is_completed(send):
    answer = await complete(send, PROMPT, "language", "P", code="x")
    assert answer.result["completion"] == {"values": ["python"], "total": 1, "hasMore": False}
    assert "ttlMs" not in answer.result
    answer = await complete(send, PROMPT, "code", "x")
    assert answer.result["completion"] == {"values": [], "total": 0, "hasMore": False}


@BOTH
async def test_a_hundred_values_are_sent_at_most(send):
    completion = (await complete(send, STYLE, "part", "p")).result["completion"]
    assert completion["values"] == [f"p{number}" for number in range(100)]
    assert (completion["total"], completion["hasMore"]) == (250, True)


@BOTH
@pytest.mark.parametrize(
    ("ref", "name", "text"),
    [
        ({"type": "ref/prompt", "name": "nope"}, "a", "Unknown prompt: nope"),
        ({"type": "ref/resource", "uri": "x://y"}, "a", "Resource not found: x://y"),
        (PROMPT, "more", "review: more: no such argument"),
        ({"type": "ref/other", "name": "review"}, "code", "Invalid request parameters"),
    ],
)
async def test_a_completion_of_what_is_not_there_is_an_invalid_parameter(send, ref, name, text):
    answer = await complete(send, ref, name)
    assert answer.code == (400 if send is modern else 200, -32602)
    assert answer.body["error"]["message"] == text


@BOTH
@pytest.mark.parametrize(
    ("offers", "declared"),
    [
        ([deploy], {"tools", "prompts"}),
        ([review], {"tools", "prompts", "completions"}),
        ([style], {"tools", "resources", "completions"}),
    ],
)
async def test_only_what_there_is_is_declared(send, offers, declared):
    server = exchange(*offers)
    found = (await modern(server, "server/discover")).result["capabilities"]
    assert found.keys() - {"logging"} == declared
    params = {"ref": DEPLOY, **TYPED}
    answer = await send(server, "completion/complete", params, principal=DEPLOYER)
    assert (answer.body["error"]["code"] == -32601) == ("completions" not in declared)


class Who(BaseModel):
    """A form."""

    name: str


@prompt
async def welcome(ctx: ToolContext) -> str:
    """Ask whom to welcome."""
    answer = await ctx.elicit("Who?", Who)
    return f"Welcome {answer.data.name}"


@resource("who://me")
async def me(ctx: ToolContext) -> str:
    """Ask who that is."""
    answer = await ctx.elicit("Who?", Who)
    return answer.data.name


ABLE = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}


@pytest.mark.parametrize(
    ("method", "params"),
    [("prompts/get", {"name": "welcome"}), ("resources/read", {"uri": "who://me"})],
)
async def test_the_person_may_be_asked_first(method, params):
    server = exchange(welcome, me)
    asked = (await modern(server, method, params | {"_meta": ABLE})).result
    assert asked["resultType"] == "input_required"
    assert "ttlMs" not in asked
    (key,) = asked["inputRequests"]
    answers = {key: {"action": "accept", "content": {"name": "Ada"}}}
    again = params | {
        "_meta": ABLE,
        "inputResponses": answers,
        "requestState": asked["requestState"],
    }
    assert "Ada" in str((await modern(server, method, again)).result)

    assert (await modern(server, method, params)).code == (400, -32021)
    answer = await handshake(server, method, params)
    assert answer.code == (200, -32603)
    assert "cannot be asked" in answer.body["error"]["message"]

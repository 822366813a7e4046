"""``tools/list`` and ``tools/call`` as a client sees them, in both eras."""

import asyncio
import json
import math

import pytest
from exchanges import CALLER, HANDSHAKE, META, exchange, handshake, modern, post, request
from pydantic import BaseModel

from mcpserve import Principal, ToolAnnotations, ToolContext, ToolError, tool
from mcpserve.errors import InsufficientScope
from mcpserve.protocol import Headers
from mcpserve.tools import CALL_SCOPE

BOTH = pytest.mark.parametrize("send", [modern, handshake])


class Sum(BaseModel):
    """The answer of ``add``."""

    total: int


@tool(title="Add", annotations=ToolAnnotations(read_only_hint=True), meta={"org.example/x": 1})
def add(a: int, b: int) -> Sum:
    """Add two numbers."""
    return Sum(total=a + b)


@tool(scopes=["files:write"])
def write() -> str:
    """Need more than others."""
    return "written"


def fail(how: str) -> str:
    """Fail."""
    raise ToolError("no such city") if how == "politely" else KeyError("secret detail")


@tool
async def count(to: int, ctx: ToolContext) -> int:
    """Report every step."""
    for step in range(1, to + 1):
        await ctx.progress(step, to, f"step {step}")
    return to


def with_scopes(*scopes):
    """Return a caller with these scopes beside that of every call."""
    return Principal("client", "user", frozenset({CALL_SCOPE, *scopes}))


def names(answer):
    """Return the names of the listed tools."""
    return [shown["name"] for shown in answer.result["tools"]]


@BOTH
async def test_the_list_is_in_the_order_of_configuration_every_time(send):
    server = exchange(write, fail, add, count)
    everything = with_scopes("files:write")
    for _ in range(3):
        answer = await send(server, "tools/list", principal=everything)
        assert names(answer) == ["write", "fail", "add", "count"]
        assert "nextCursor" not in answer.result


@BOTH
async def test_the_list_holds_what_the_scopes_of_the_token_allow(send):
    server = exchange(write, add)
    assert names(await send(server, "tools/list")) == ["add"]
    nobody = Principal("client", "user", frozenset())
    assert names(await send(server, "tools/list", principal=nobody)) == []


async def test_the_list_may_be_cached_by_its_caller_only():
    result = (await modern(exchange(add), "tools/list")).result
    assert (result["cacheScope"], result["ttlMs"]) == ("private", 300_000)


@BOTH
async def test_a_tool_is_shown_as_its_author_wrote_it(send):
    (shown,) = (await send(exchange(add), "tools/list")).result["tools"]
    assert (shown["name"], shown["title"]) == ("add", "Add")
    assert shown["description"] == "Add two numbers."
    assert shown["annotations"]["readOnlyHint"] is True
    assert shown["_meta"]["org.example/x"] == 1
    assert shown["inputSchema"]["required"] == ["a", "b"]
    assert shown["outputSchema"]["properties"]["total"]["type"] == "integer"
    assert set(shown) == {
        *("name", "title", "description", "annotations", "_meta", "inputSchema", "outputSchema"),
        "securitySchemes",
    }


@BOTH
@pytest.mark.parametrize("cursor", ["", "2", "eyJ9"])
async def test_any_cursor_is_unknown_because_there_is_one_page(send, cursor):
    answer = await send(exchange(add), "tools/list", {"cursor": cursor})
    assert answer.body["error"]["code"] == -32602
    assert answer.status == (400 if send is modern else 200)


@BOTH
async def test_a_call_returns_text_and_structure(send):
    answer = await send(exchange(add), "tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
    assert answer.status == 200
    assert answer.result["structuredContent"] == {"total": 3}
    assert [block["type"] for block in answer.result["content"]] == ["text"]
    assert answer.result["isError"] is False


async def test_results_of_the_modern_era_say_that_they_are_complete_and_whose_they_are():
    call = {"name": "add", "arguments": {"a": 1, "b": 2}}
    result = (await modern(exchange(add), "tools/call", call)).result
    assert result["resultType"] == "complete"
    assert result["_meta"][f"{META}serverInfo"]["name"] == "tests"
    assert "ttlMs" not in result
    result = (await handshake(exchange(add), "tools/call", call)).result
    assert set(result) == {"content", "structuredContent", "isError"}


@BOTH
async def test_an_unknown_tool_is_an_error_of_the_protocol(send):
    answer = await send(exchange(add), "tools/call", {"name": "subtract"})
    assert answer.body["error"] == {"code": -32602, "message": "Unknown tool: subtract"}
    assert answer.status == (400 if send is modern else 200)


@BOTH
async def test_a_missing_scope_is_raised_with_all_that_the_call_needs(send):
    with pytest.raises(InsufficientScope) as caught:
        await send(exchange(write), "tools/call", {"name": "write"})
    assert caught.value.scopes == {CALL_SCOPE, "files:write"}
    answer = await send(
        exchange(write), "tools/call", {"name": "write"}, principal=with_scopes("files:write")
    )
    assert answer.result["structuredContent"] == {"result": "written"}


@BOTH
@pytest.mark.parametrize("arguments", [[], "text", 5, True])
async def test_arguments_that_are_no_object_are_an_error_of_the_protocol(send, arguments):
    answer = await send(exchange(add), "tools/call", {"name": "add", "arguments": arguments})
    assert answer.body["error"]["code"] == -32602


@BOTH
@pytest.mark.parametrize("name", [None, 5, ["add"], {}])
async def test_a_name_that_is_no_text_is_an_error_of_the_protocol(send, name):
    lines = [("MCP-Protocol-Version", HANDSHAKE)]
    answer = await post(exchange(add), request("tools/call", {"name": name}), lines)
    assert answer.code == (200, -32602)


@BOTH
@pytest.mark.parametrize("arguments", [{}, {"a": 1}, {"a": "x", "b": 2}, {"a": 1, "b": 2, "c": 3}])
async def test_wrong_arguments_are_for_the_model_to_correct(send, arguments):
    answer = await send(exchange(add), "tools/call", {"name": "add", "arguments": arguments})
    assert answer.status == 200
    assert answer.result["isError"] is True


@BOTH
async def test_a_failure_is_for_the_model_and_a_crash_keeps_its_details(send):
    answer = await send(
        exchange(fail), "tools/call", {"name": "fail", "arguments": {"how": "politely"}}
    )
    assert answer.status == 200
    assert answer.result["isError"] is True
    assert answer.result["content"] == [{"type": "text", "text": "no such city"}]
    answer = await send(exchange(fail), "tools/call", {"name": "fail", "arguments": {"how": ""}})
    assert answer.result["content"] == [{"type": "text", "text": "Error executing tool fail"}]


@BOTH
@pytest.mark.parametrize("token", ["abc", 7, 0, ""])
async def test_progress_is_sent_under_the_token_of_the_request(send, token):
    params = {"name": "count", "arguments": {"to": 2}, "_meta": {"progressToken": token}}
    answer = await send(exchange(count), "tools/call", params)
    assert answer.result["structuredContent"] == {"result": 2}
    assert answer.sent == [
        {
            "jsonrpc": "2.0",
            "method": "notifications/progress",
            "params": {
                "progressToken": token,
                "progress": step,
                "total": 2,
                "message": f"step {step}",
            },
        }
        for step in (1, 2)
    ]


@BOTH
async def test_without_a_token_no_progress_is_sent(send):
    params = {"name": "count", "arguments": {"to": 2}}
    answer = await send(exchange(count), "tools/call", params)
    assert answer.sent == []


@BOTH
async def test_progress_that_is_no_more_than_before_is_not_sent(send):
    async def go(ctx: ToolContext) -> str:
        """Go back and forth."""
        for step in (-1, -1, -2, 0, 0.5, 0.5, 0, 1):
            await ctx.progress(step)
        return ""

    params = {"name": "go", "_meta": {"progressToken": 1}}
    answer = await send(exchange(go), "tools/call", params)
    assert [message["params"]["progress"] for message in answer.sent] == [-1, 0, 0.5, 1]


async def test_progress_ends_with_the_answer():
    left = []

    async def leave(ctx: ToolContext) -> str:
        """Leave something running."""

        async def report():
            await asyncio.sleep(0)
            await ctx.progress(2)

        left.append(asyncio.create_task(report()))
        return "done"

    params = {"name": "leave", "_meta": {"progressToken": 1}}
    answer = await modern(exchange(leave), "tools/call", params)
    await left[0]
    assert answer.sent == []


@pytest.mark.parametrize(("progress", "total"), [(math.nan, None), (1, math.inf)])
async def test_progress_that_json_cannot_carry_is_a_crash(progress, total):
    async def report(ctx: ToolContext) -> str:
        """Report nonsense."""
        await ctx.progress(progress, total)
        return "done"

    params = {"name": "report", "_meta": {"progressToken": 1}}
    answer = await modern(exchange(report), "tools/call", params)
    assert answer.result["isError"] is True
    assert answer.sent == []


@BOTH
@pytest.mark.parametrize("value", ["\u2028 \x85 \U0001f600", [[[]]], {"a": None}])
async def test_any_value_of_json_arrives(send, value):
    async def give() -> dict[str, object]:
        """Return it."""
        return {"value": value}

    answer = await send(exchange(give), "tools/call", {"name": "give"})
    assert answer.result["structuredContent"] == {"value": value}


async def test_a_number_arrives_that_python_would_not_write():
    async def factorial() -> int:
        """Return more digits than int() takes."""
        return 10**5000

    async def nothing(message):
        pytest.fail("nothing to report")

    call = json.dumps(request("tools/call", {"name": "factorial"})).encode()
    reply = await exchange(factorial)(CALLER, Headers.of([]), call, nothing)
    assert reply.status == 200
    assert b"1" + b"0" * 5000 in reply.body


async def test_a_caller_is_known_to_the_tool():
    seen = []

    def look(ctx: ToolContext) -> str:
        """Look who calls."""
        seen.append(ctx.principal)
        return ""

    await modern(exchange(look), "tools/call", {"name": "look"})
    assert seen == [CALLER]

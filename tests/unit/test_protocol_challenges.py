"""A call that lacks a scope: HTTP 403, or a result that carries the challenge."""

import pytest
from exchanges import CALLER, META, exchange, handshake, modern, post, request

from mcpserve import Principal, prompt, resource, tool
from mcpserve.errors import InsufficientScope
from mcpserve.tools import CALL_SCOPE

AGENTS = ["openai-mcp/1.0.0", "openai-mcp/1.0.0 (Codex)", "openai-mcp", "openai-mcp (+https://x)"]
STRANGERS = ["", "openai-mcpx/1.0", "my openai-mcp/1.0", "Claude-User", "OpenAI/1"]
CALL = {"name": "write"}
NEEDED = ["files.write", CALL_SCOPE]


@pytest.fixture
def written():
    """What the tool has done."""
    return []


@pytest.fixture
def endpoint(written):
    """Return an endpoint with a tool that needs more than the caller has."""

    @tool(scopes=["files.write"])
    def write() -> str:
        """Write."""
        written.append(1)
        return "written"

    return lambda form="auto": exchange(write, challenge_form=form)


def named(name):
    """Return parameters of a call by a client of this name."""
    return CALL | {"_meta": {f"{META}clientInfo": {"name": name, "version": "1"}}}


async def old(server, agent, params=CALL, principal=CALLER):
    """Call in the handshake era."""
    lines = [("MCP-Protocol-Version", "2025-11-25"), ("User-Agent", agent)]
    return await post(server, request("tools/call", params), lines, principal)


async def new(server, agent, params=CALL, principal=CALLER):
    """Call in the modern era."""
    return await modern(server, "tools/call", params, [("User-Agent", agent)], principal)


both = pytest.mark.parametrize("call", [old, new])


def check_refusal(answer):
    """Check that a result tells what is missing."""
    assert answer.status == 200
    assert answer.result["isError"] is True
    (text,) = answer.result["content"]
    assert text["text"].endswith(" ".join(NEEDED))
    (challenge,) = answer.result["_meta"]["mcp/www_authenticate"]
    assert challenge.startswith("Bearer insufficient_scope")
    assert "structuredContent" not in answer.result


@both
@pytest.mark.parametrize("agent", AGENTS)
async def test_chatgpt_is_told_in_the_result_and_nothing_is_done(endpoint, written, call, agent):
    check_refusal(await call(endpoint(), agent))
    assert written == []


async def test_chatgpt_is_also_known_by_what_it_calls_itself(endpoint):
    answer = await new(endpoint(), "python-httpx", named("openai-mcp"))
    check_refusal(answer)
    assert answer.result["resultType"] == "complete"
    with pytest.raises(InsufficientScope):
        await new(endpoint(), "python-httpx", named("openai-mcp-2"))


@pytest.mark.parametrize("info", ["openai-mcp", ["openai-mcp"], None, {"name": ["openai-mcp"]}])
async def test_a_client_that_says_nonsense_of_itself_is_not_chatgpt(endpoint, info):
    params = CALL | {"_meta": {f"{META}clientInfo": info}}
    with pytest.raises(InsufficientScope):
        await new(endpoint(), "python-httpx", params)


@both
@pytest.mark.parametrize("agent", STRANGERS)
async def test_others_are_told_by_http(endpoint, written, call, agent):
    with pytest.raises(InsufficientScope) as caught:
        await call(endpoint(), agent)
    assert caught.value.scopes == set(NEEDED)
    assert written == []


@both
async def test_the_operator_may_choose_one_form_for_all(endpoint, call):
    check_refusal(await call(endpoint("tool"), "Claude-User"))
    with pytest.raises(InsufficientScope):
        await call(endpoint("http"), "openai-mcp/1.0.0")


@both
async def test_with_the_scope_the_form_makes_no_difference(endpoint, written, call):
    admin = Principal("client", "user", frozenset(NEEDED))
    for form in ("auto", "http", "tool"):
        answer = await call(endpoint(form), "openai-mcp/1.0.0", principal=admin)
        assert answer.result["isError"] is False
        assert "mcp/www_authenticate" not in answer.result.get("_meta", {})
    assert len(written) == 3


@both
async def test_an_unknown_tool_is_the_same_error_for_everybody(endpoint, call):
    answer = await call(endpoint("tool"), "openai-mcp/1.0.0", {"name": "nothing"})
    assert answer.body["error"]["code"] == -32602


@pytest.mark.parametrize("send", [modern, handshake])
@pytest.mark.parametrize(
    ("method", "params"),
    [("prompts/get", {"name": "guarded"}), ("resources/read", {"uri": "test://guarded"})],
)
async def test_only_tools_have_results_that_can_tell_it(send, method, params):
    guarded = (
        prompt(name="guarded", scopes=["files.write"])(lambda: ""),
        resource("test://guarded", name="guarded", scopes=["files.write"])(lambda: ""),
    )
    with pytest.raises(InsufficientScope):
        await send(exchange(*guarded, challenge_form="tool"), method, params)

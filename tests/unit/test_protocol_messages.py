"""What counts as a JSON-RPC message, and that nothing which arrives does any harm."""

import asyncio
import json

import pytest
from exchanges import (
    CALLER,
    HANDSHAKE,
    META,
    MODERN,
    UNKNOWN,
    enveloped,
    exchange,
    handshake,
    modern,
    modern_headers,
    post,
    request,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcpserve import ToolContext, ToolError, tool
from mcpserve.errors import InsufficientScope
from mcpserve.protocol import Headers, Reply

PARSE_ERROR = (400, -32700)
INVALID_REQUEST = (400, -32600)
ACCEPTED = (202, None)


async def add(a: int, b: float = 0, note: str = "", *, ctx: ToolContext) -> str:
    """Add two numbers."""
    await ctx.progress(1)
    if b == 1:
        raise ToolError("one is too much")
    return f"{a + b}{note}"


@tool(scopes=["secret"])
def hidden() -> str:
    """Need more than others."""
    return ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{} {}",
        b"null x",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"jsonrpc": "2.0", "id": NaN, "method": "ping"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": Infinity}}',
        b'{"jsonrpc": "2.0", "id": "\\ud800", "method": "ping"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"\\udc00": 1}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": ' + b"[" * 10_000,
        b'{"a":' * 300 + b"1" + b"}" * 300,
        b'{"jsonrpc": "2.0", "id": ' + b"9" * 5_000 + b', "method": "ping"}',
    ],
)
async def test_what_is_no_json_is_refused_without_an_id(body):
    answer = await post(exchange(), body)
    assert answer.code == PARSE_ERROR
    assert "id" not in answer.body


@pytest.mark.parametrize(
    "body", [[], [request("ping")], [request("ping")] * 2, "ping", 5, None, True]
)
async def test_anything_but_one_object_is_refused(body):
    # Batches are gone since 2025-06-18, and nobody is told of 2025-03-26 that had them.
    answer = await post(exchange(), body)
    assert answer.code == INVALID_REQUEST
    assert "id" not in answer.body


@pytest.mark.parametrize("request_id", [None, True, False, 1.5, 1.0, [], {}, "ü" * 257])
async def test_an_id_is_text_or_a_whole_number(request_id):
    answer = await post(exchange(), request("ping", id=request_id))
    assert answer.code == INVALID_REQUEST
    assert "id" not in answer.body


@pytest.mark.parametrize("request_id", [0, -1, 2**53 + 1, 10**3000, "", "1", "ü" * 256, "\x00"])
async def test_an_id_comes_back_as_it_was(request_id):
    answer = await post(exchange(), request("ping", id=request_id))
    assert answer.body == {"jsonrpc": "2.0", "id": request_id, "result": {}}


@pytest.mark.parametrize(
    "changes",
    [
        {"jsonrpc": "1.0"},
        {"jsonrpc": 2},
        {"jsonrpc": None},
        {"method": None},
        {"method": 5},
        {"params": []},
        {"params": "text"},
    ],
)
async def test_a_malformed_request_is_refused_under_its_id(changes):
    answer = await post(exchange(), request("ping", id="seven") | changes)
    assert answer.code == INVALID_REQUEST
    assert answer.body["id"] == "seven"


@pytest.mark.parametrize("send", [modern, handshake])
async def test_a_progress_token_comes_back_with_each_report_and_so_is_short(send):
    server = exchange(tool(add))
    for token, status in (("ü" * 256, 200), ("ü" * 257, 400), (10**300, 400)):
        params = {"name": "add", "arguments": {"a": 1}, "_meta": {"progressToken": token}}
        answer = await send(server, "tools/call", params)
        assert answer.status == status
        if status == 400:
            assert answer.body["error"]["code"] == -32602


async def test_a_notification_is_accepted_in_either_era_and_unanswered():
    for method in ("notifications/initialized", "notifications/cancelled", "no/such/thing"):
        message = {"jsonrpc": "2.0", "method": method, "params": {"requestId": 1}}
        for headers in ([], [("MCP-Protocol-Version", HANDSHAKE)], modern_headers("other")):
            answer = await post(exchange(), message, headers)
            assert (answer.code, answer.body) == (ACCEPTED, None)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"jsonrpc": "2.0"},
        {"method": "notifications/initialized"},
        {"jsonrpc": "1.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/initialized", "params": []},
        {"jsonrpc": "2.0", "error": {"code": 1, "message": "no"}},
    ],
)
async def test_a_malformed_notification_is_refused_without_an_id(message):
    answer = await post(exchange(), message)
    assert answer.code == INVALID_REQUEST
    assert "id" not in answer.body


@pytest.mark.parametrize("outcome", [{"result": {}}, {"error": {"code": -32601, "message": "no"}}])
async def test_a_response_is_accepted_in_the_handshake_era_only(outcome):
    message = {"jsonrpc": "2.0", "id": 1} | outcome
    for headers in ([], [("MCP-Protocol-Version", HANDSHAKE)]):
        assert (await post(exchange(), message, headers)).code == ACCEPTED
    assert (await post(exchange(), message, modern_headers("any"))).code == INVALID_REQUEST


async def test_what_looks_like_a_response_and_calls_a_method_is_a_request():
    answer = await post(exchange(), request("ping", result={}, error={}))
    assert answer.result == {}


@pytest.mark.parametrize("send", [modern, handshake])
async def test_a_failure_outside_of_the_tool_is_told_without_details(send, caplog):
    @tool(meta={"secret": object()})
    def half() -> str:
        """Have what no JSON can carry."""
        return ""

    answer = await send(exchange(half), "tools/list")
    assert answer.code == (200, -32603)
    assert answer.body["error"] == {"code": -32603, "message": "Internal server error"}
    assert "serving tools/list failed" in caplog.text
    assert "Traceback" in caplog.text


async def test_cancelling_reaches_the_tool_and_is_no_answer():
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        """Take long."""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    call = asyncio.create_task(handshake(exchange(slow), "tools/call", {"name": "slow"}))
    await started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert cancelled.is_set()


# Whatever arrives, the endpoint answers.
TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
VERSIONS = st.sampled_from([MODERN, HANDSHAKE, "2025-03-26", UNKNOWN, "", None])
METHODS = ["initialize", "ping", "server/discover", "tools/list", "tools/call", "nope"]
METAS = st.fixed_dictionaries(
    {},
    optional={
        f"{META}protocolVersion": VERSIONS | JSON,
        f"{META}clientCapabilities": st.just({}) | JSON,
        f"{META}clientInfo": JSON,
        f"{META}logLevel": JSON,
        "progressToken": JSON,
    },
)
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["add", "hidden", "nope"]) | JSON,
        "arguments": st.fixed_dictionaries({}, optional={"a": JSON, "b": JSON}) | JSON,
        "cursor": JSON,
        "protocolVersion": VERSIONS | JSON,
        "_meta": METAS | JSON,
    },
)
MESSAGES = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | JSON},
    optional={
        "id": st.integers() | JSON,
        "method": st.sampled_from(METHODS) | JSON,
        "params": PARAMS | JSON,
        "result": JSON,
        "error": JSON,
    },
)
NAMES = ["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Param-A", "X-Other"]
VALUES = st.sampled_from([MODERN, HANDSHAKE, *METHODS, "add"]) | TEXT
HEADERS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=4)


SERVER = exchange(add, hidden)
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def serve(body, headers):
    """Return the reply, ``None`` for a 403; fails if anything else is raised or is no JSON."""

    async def notify(message):
        json.loads(message)

    try:
        reply = asyncio.run(SERVER(CALLER, Headers.of(headers), body, notify))
    except InsufficientScope:
        return None
    assert isinstance(reply, Reply)
    if reply.body is not None:
        json.loads(reply.body, parse_constant=pytest.fail)
    return reply


@given(st.binary(max_size=64), HEADERS)
@settings(UNHURRIED, max_examples=50)
def test_no_bytes_do_any_harm(body, headers):
    serve(body, headers)


@given(MESSAGES | JSON, HEADERS)
@settings(UNHURRIED, max_examples=150)
def test_no_json_does_any_harm(message, headers):
    serve(json.dumps(message).encode(), headers)


@given(st.sampled_from(METHODS), PARAMS, st.sampled_from(["add", "hidden"]))
@settings(UNHURRIED, max_examples=100)
def test_no_parameters_of_a_good_envelope_do_any_harm(method, params, name):
    message = request(method, enveloped({**params, "name": name, "_meta": {}}))
    reply = serve(json.dumps(message).encode(), modern_headers(method, name))
    assert reply is None or reply.status in {200, 400, 404}

"""``resources/…`` as a client sees them, in both eras."""

import asyncio
import base64

import pytest
from exchanges import (
    CALLER,
    HANDSHAKE,
    META,
    enveloped,
    exchange,
    handshake,
    modern,
    modern_headers,
    post,
    request,
)

from mcpserve import Principal, ResourceNotFound, ToolContext, ToolError, resource, tool
from mcpserve.errors import InsufficientScope
from mcpserve.tools import CALL_SCOPE

BOTH = pytest.mark.parametrize("send", [modern, handshake])
NOBODY = Principal("client", "user", frozenset())


@resource("weather://{city}/now", title="Weather", mime_type="text/plain")
async def now(city: str, ctx: ToolContext) -> str:
    """Weather in a city."""
    await ctx.progress(1, 2)
    if city == "Atlantis":
        raise ResourceNotFound("no such city")
    if city == "Storm":
        raise ToolError("the station does not answer")
    if city == "Crash":
        raise KeyError("secret detail")
    return f"sun over {city}"


@resource("weather://help", mime_type="text/html")
def guide() -> bytes:
    """How to read it."""
    return b"<p>"


@resource("weather://secret", scopes=["weather:secret"])
def secret() -> str:
    """For some."""
    return "hail"


@tool
def forecast() -> str:
    """Forecast."""
    return "rain"


SERVER = exchange(forecast, now, guide, secret)


async def read(send, uri, **more):
    """Read a URI."""
    return await send(SERVER, "resources/read", {"uri": uri, **more})


@BOTH
async def test_resources_and_templates_are_listed_apart(send):
    answer = await send(SERVER, "resources/list")
    assert [shown["uri"] for shown in answer.result["resources"]] == ["weather://help"]
    assert answer.result["resources"][0]["mimeType"] == "text/html"
    answer = await send(SERVER, "resources/templates/list")
    assert answer.result["resourceTemplates"] == [
        {
            "name": "now",
            "title": "Weather",
            "description": "Weather in a city.",
            "uriTemplate": "weather://{city}/now",
            "mimeType": "text/plain",
        }
    ]


@BOTH
async def test_the_lists_hold_what_the_scopes_of_the_token_allow(send):
    more = Principal("client", "user", CALLER.scopes | {"weather:secret"})
    shown = (await send(SERVER, "resources/list", principal=more)).result["resources"]
    assert [each["name"] for each in shown] == ["guide", "secret"]
    assert (await send(SERVER, "resources/list", principal=NOBODY)).result["resources"] == []
    answer = await send(SERVER, "resources/templates/list", principal=NOBODY)
    assert answer.result["resourceTemplates"] == []


@pytest.mark.parametrize(
    ("method", "ttl"),
    [("resources/list", 300_000), ("resources/templates/list", 300_000), ("resources/read", 0)],
)
async def test_answers_may_be_cached_by_their_caller_only(method, ttl):
    params = {"uri": "weather://help"} if method == "resources/read" else {}
    result = (await modern(SERVER, method, params)).result
    assert (result["cacheScope"], result["ttlMs"]) == ("private", ttl)
    assert result["resultType"] == "complete"
    assert f"{META}serverInfo" in result["_meta"]
    result = (await handshake(SERVER, method, params)).result
    assert not {"cacheScope", "ttlMs", "resultType", "_meta"} & set(result)


@BOTH
async def test_a_resource_is_read(send):
    answer = await read(send, "weather://Oslo/now")
    assert answer.status == 200
    assert answer.result["contents"] == [
        {"uri": "weather://Oslo/now", "mimeType": "text/plain", "text": "sun over Oslo"}
    ]
    (blob,) = (await read(send, "weather://help")).result["contents"]
    assert base64.b64decode(blob["blob"]) == b"<p>"


@BOTH
async def test_reading_may_report_progress(send):
    answer = await read(send, "weather://Oslo/now", _meta={"progressToken": 7})
    assert [message["params"] for message in answer.sent] == [
        {"progressToken": 7, "progress": 1, "total": 2}
    ]


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("weather://nothing/there/at/all", "Resource not found: weather://nothing/there/at/all"),
        ("weather://Atlantis/now", "no such city: weather://Atlantis/now"),
        ("weather://%2E%2E/now", "Resource not found: weather://%2E%2E/now"),
        ("not a uri", "Resource not found: not a uri"),
    ],
)
async def test_what_is_not_there_has_the_code_of_its_era(uri, text):
    answer = await read(modern, uri)
    assert answer.status == 400
    assert answer.body["error"] == {"code": -32602, "message": text, "data": {"uri": uri}}
    answer = await read(handshake, uri)
    assert answer.status == 200
    assert answer.body["error"] == {"code": -32002, "message": text, "data": {"uri": uri}}


@BOTH
@pytest.mark.parametrize("params", [{}, {"uri": 5}, {"uri": None}, {"uri": ["weather://help"]}])
async def test_a_uri_that_is_no_text_is_an_invalid_parameter(send, params):
    headers = modern_headers("resources/read")
    body = request("resources/read", enveloped(params))
    if send is handshake:
        headers, body = [("MCP-Protocol-Version", HANDSHAKE)], request("resources/read", params)
    answer = await post(SERVER, body, headers)
    assert answer.body["error"]["code"] in {-32602, -32020}
    assert answer.status == (400 if send is modern else 200)


async def test_the_name_header_must_repeat_the_uri():
    body = request("resources/read", enveloped({"uri": "weather://help"}))
    for name in (None, "weather://Oslo/now"):
        answer = await post(SERVER, body, modern_headers("resources/read", name))
        assert answer.code == (400, -32020)
    encoded = base64.b64encode(b"weather://help").decode()
    answer = await post(SERVER, body, modern_headers("resources/read", f"=?base64?{encoded}?="))
    assert answer.status == 200


@BOTH
async def test_failures_are_internal_errors_and_a_crash_keeps_its_details(send, caplog):
    answer = await read(send, "weather://Storm/now")
    assert answer.body["error"] == {"code": -32603, "message": "the station does not answer"}
    answer = await read(send, "weather://Crash/now")
    assert answer.body["error"] == {"code": -32603, "message": "Error executing resource now"}
    assert answer.status == 200
    assert "secret detail" in caplog.text


@BOTH
async def test_a_resource_that_takes_too_long_is_stopped(send):
    @resource("test://slow", timeout=0.02)
    async def slow() -> str:
        """Take long."""
        await asyncio.Event().wait()
        return ""

    answer = await send(exchange(slow), "resources/read", {"uri": "test://slow"})
    error = {"code": -32603, "message": "slow did not answer within 0.02 s"}
    assert answer.body["error"] == error


@BOTH
async def test_a_missing_scope_is_raised_with_all_that_are_needed(send):
    for uri, scopes in [
        ("weather://secret", {CALL_SCOPE, "weather:secret"}),
        ("weather://Oslo/now", {CALL_SCOPE}),
    ]:
        with pytest.raises(InsufficientScope) as caught:
            await send(SERVER, "resources/read", {"uri": uri}, principal=NOBODY)
        assert caught.value.scopes == scopes
        assert "this resource needs" in caught.value.description


@pytest.mark.parametrize(
    ("offers", "declared"),
    [
        ([forecast], {"tools"}),
        ([now], {"tools", "resources"}),
        ([forecast, guide], {"tools", "resources"}),
    ],
)
async def test_only_what_there_is_is_declared(offers, declared):
    server = exchange(*offers)
    found = (await modern(server, "server/discover")).result["capabilities"]
    assert found.keys() - {"logging"} == declared
    assert found.get("resources", {}) in ({}, {"listChanged": False, "subscribe": False})
    client = {"protocolVersion": HANDSHAKE, "capabilities": {}}
    hello = client | {"clientInfo": {"name": "tests", "version": "1"}}
    found = (await handshake(server, "initialize", hello)).result["capabilities"]
    assert found.keys() - {"logging"} == declared


@pytest.mark.parametrize(
    "method", ["resources/list", "resources/templates/list", "resources/read", "prompts/list"]
)
async def test_what_is_not_declared_is_not_there(method):
    params = {"uri": "test://x"} if method == "resources/read" else {}
    assert (await modern(exchange(forecast), method, params)).code == (404, -32601)
    assert (await handshake(exchange(forecast), method, params)).code == (200, -32601)


@BOTH
@pytest.mark.parametrize("method", ["resources/subscribe", "resources/unsubscribe"])
async def test_nobody_can_subscribe(send, method):
    answer = await send(SERVER, method, {"uri": "weather://help"})
    assert answer.body["error"]["code"] == -32601

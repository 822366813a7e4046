"""Which era a request is served in, and in which order it is refused."""

import pytest
from exchanges import (
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

HEADER_MISMATCH = (400, -32020)
UNSUPPORTED_VERSION = (400, -32022)
NO_ENVELOPE = (400, -32602)
NO_METHOD = (404, -32601)
SERVED = (200, None)
HANDSHAKES = ["2025-03-26", "2025-06-18", "2025-11-25"]


def echo(text: str) -> str:
    """Say the same."""
    return text


def opening(version, **changes):
    """Return the parameters of ``initialize``."""
    client = {"capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}
    return {"protocolVersion": version} | client | changes


def lines(header, method, name=None):
    """Return the headers of a modern client, with this version or none."""
    return [
        (line, header if line == "MCP-Protocol-Version" else value)
        for line, value in modern_headers(method, name)
        if header is not None or line != "MCP-Protocol-Version"
    ]


# The table of eras: the version of the header, that of the body, and what comes of it.
@pytest.mark.parametrize(
    ("header", "body", "expected", "era"),
    [
        (None, MODERN, HEADER_MISMATCH, None),
        (HANDSHAKE, MODERN, HEADER_MISMATCH, None),
        (UNKNOWN, MODERN, HEADER_MISMATCH, None),
        (MODERN, HANDSHAKE, HEADER_MISMATCH, None),
        (MODERN, UNKNOWN, HEADER_MISMATCH, None),
        (None, UNKNOWN, HEADER_MISMATCH, None),
        (MODERN, 5, HEADER_MISMATCH, None),
        (MODERN, [], HEADER_MISMATCH, None),
        (MODERN, MODERN, SERVED, "modern"),
        (UNKNOWN, UNKNOWN, UNSUPPORTED_VERSION, None),
        ("", "", UNSUPPORTED_VERSION, None),
        (MODERN, None, NO_ENVELOPE, None),
        (UNKNOWN, None, UNSUPPORTED_VERSION, None),
        ("2025-11-25, 2025-11-25", None, UNSUPPORTED_VERSION, None),
        (None, None, SERVED, "handshake"),
        *((version, version, SERVED, "handshake") for version in HANDSHAKES),
        *((version, None, SERVED, "handshake") for version in HANDSHAKES),
    ],
)
async def test_the_versions_of_header_and_body_decide_the_era(header, body, expected, era):
    params = {} if body is None else enveloped(version=body)
    answer = await post(exchange(echo), request("tools/list", params), lines(header, "tools/list"))
    assert answer.code == expected
    assert answer.body["id"] == 1
    if era:
        assert ("resultType" in answer.result) == (era == "modern")


@pytest.mark.parametrize("header", [None, "2025-06-18", HANDSHAKE, MODERN, UNKNOWN])
async def test_initialize_without_an_envelope_is_a_handshake_whatever_the_header_says(header):
    message = request("initialize", opening("2025-06-18"))
    answer = await post(exchange(echo), message, lines(header, "initialize"))
    assert answer.status == 200
    assert answer.result["protocolVersion"] == "2025-06-18"


@pytest.mark.parametrize("asked", HANDSHAKES)
async def test_initialize_agrees_to_a_version_that_is_then_served(asked):
    server = exchange(echo)
    agreed = await handshake(server, "initialize", opening(asked))
    assert agreed.result["protocolVersion"] == asked
    assert (await handshake(server, "tools/list", version=asked)).status == 200


@pytest.mark.parametrize("asked", [MODERN, UNKNOWN, "1.0"])
async def test_initialize_negotiates_any_other_version_down(asked):
    answer = await handshake(exchange(echo), "initialize", opening(asked))
    assert answer.result == {
        "protocolVersion": HANDSHAKE,
        "capabilities": {"logging": {}, "tools": {"listChanged": False}},
        "serverInfo": {"name": "tests", "version": answer.result["serverInfo"]["version"]},
        "instructions": "Be nice.",
    }


async def test_an_unsupported_version_is_answered_with_the_supported_ones():
    server = exchange(echo)
    discovered = (await modern(server, "server/discover")).result["supportedVersions"]
    for params in ({}, enveloped(version=UNKNOWN)):
        message = request("tools/list", params)
        answer = await post(server, message, lines(UNKNOWN, "tools/list"))
        assert answer.body["error"]["data"] == {"supported": discovered, "requested": UNKNOWN}
    assert discovered == [MODERN, HANDSHAKE, "2025-06-18"]


@pytest.mark.parametrize(
    "method",
    ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"],
)
async def test_methods_of_the_handshake_do_not_exist_in_the_modern_era(method):
    answer = await modern(exchange(echo), method, opening(HANDSHAKE, level="info", uri="a:b"))
    assert answer.code == NO_METHOD


@pytest.mark.parametrize(
    "method",
    [
        "subscriptions/listen",  # a server that announces no changes has none to listen to
        "resources/list",
        "resources/read",
        "prompts/list",
        "prompts/get",
        "completion/complete",
        "tasks/get",
        "no/such/method",
        "",
    ],
)
async def test_an_unknown_method_is_404_in_the_modern_era_and_200_before(method):
    assert (await modern(exchange(echo), method)).code == NO_METHOD
    # There 404 would mean that a session is lost.
    assert (await handshake(exchange(echo), method)).code == (200, -32601)


async def test_ping_is_answered_in_the_handshake_era():
    assert (await handshake(exchange(echo), "ping")).result == {}


async def test_server_discover_is_unknown_in_the_handshake_era():
    assert (await handshake(exchange(echo), "server/discover")).code == (200, -32601)


async def test_server_discover_tells_what_there_is_and_how_long_that_holds():
    result = (await modern(exchange(echo), "server/discover")).result
    assert result["resultType"] == "complete"
    assert result["capabilities"] == {"logging": {}, "tools": {"listChanged": False}}
    assert (result["ttlMs"], result["cacheScope"]) == (3_600_000, "public")
    assert result["instructions"] == "Be nice."
    assert result["_meta"][f"{META}serverInfo"]["name"] == "tests"


# The ladder: each request breaks one rung, or this one and the next. The first one answers.
NOT_JSON = b'{"jsonrpc": "2.0", '
NO_REQUEST = {"jsonrpc": "1.0", "id": 1, "method": "nope", "params": {}}
NO_CAPABILITIES = enveloped()
del NO_CAPABILITIES["_meta"][f"{META}clientCapabilities"]
NO_NAME = modern_headers("tools/call")
CALL = {"name": "missing"}


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        pytest.param(NOT_JSON, (), (400, -32700), id="JSON"),
        pytest.param([NO_REQUEST], (), (400, -32600), id="one object"),
        pytest.param(NO_REQUEST, (), (400, -32600), id="JSON-RPC"),
        pytest.param(
            NO_REQUEST, lines(MODERN, "nope"), (400, -32600), id="JSON-RPC before the envelope"
        ),
        pytest.param(
            request(params=NO_CAPABILITIES),
            lines(MODERN, "tools/list"),
            NO_ENVELOPE,
            id="envelope",
        ),
        pytest.param(
            request(params=NO_CAPABILITIES),
            lines(UNKNOWN, "tools/list"),
            NO_ENVELOPE,
            id="envelope before version header",
        ),
        pytest.param(
            request(params=enveloped(version=UNKNOWN)),
            lines(MODERN, "tools/list"),
            HEADER_MISMATCH,
            id="version header before version",
        ),
        pytest.param(
            request(params=enveloped(version=UNKNOWN)),
            [("MCP-Protocol-Version", UNKNOWN)],
            UNSUPPORTED_VERSION,
            id="version before method header",
        ),
        pytest.param(
            request("nope", enveloped()),
            [("MCP-Protocol-Version", MODERN)],
            HEADER_MISMATCH,
            id="method header before method",
        ),
        pytest.param(
            request("tools/call", enveloped(CALL)),
            NO_NAME,
            HEADER_MISMATCH,
            id="name header before the tool",
        ),
        pytest.param(
            request("prompts/get", enveloped({"name": 5})),
            [*modern_headers("prompts/get"), ("Mcp-Name", "5")],
            HEADER_MISMATCH,
            id="name header before the method",
        ),
        pytest.param(
            request("resources/list", enveloped({"cursor": 5})),
            modern_headers("resources/list"),
            NO_METHOD,
            id="method before parameters",
        ),
        pytest.param(
            request("tools/call", enveloped({"name": "missing", "arguments": []})),
            modern_headers("tools/call", "missing"),
            (400, -32602),
            id="parameters",
        ),
    ],
)
async def test_the_first_rung_that_fails_answers(body, headers, expected):
    assert (await post(exchange(echo), body, headers)).code == expected


@pytest.mark.parametrize("key", ["protocolVersion", "clientCapabilities"])
async def test_a_missing_part_of_the_envelope_is_named(key):
    params = enveloped()
    del params["_meta"][META + key]
    answer = await post(exchange(echo), request(params=params), modern_headers("tools/list"))
    assert answer.code == NO_ENVELOPE
    assert META + key in answer.body["error"]["message"]


@pytest.mark.parametrize("value", [None, "all", [], 5])
async def test_client_capabilities_that_are_no_object_are_refused(value):
    params = enveloped({"_meta": {f"{META}clientCapabilities": value}})
    answer = await post(exchange(echo), request(params=params), modern_headers("tools/list"))
    assert answer.code == NO_ENVELOPE


async def test_the_client_need_not_name_itself():
    params = enveloped()
    del params["_meta"][f"{META}clientInfo"]
    answer = await post(exchange(echo), request(params=params), modern_headers("tools/list"))
    assert answer.code == SERVED


@pytest.mark.parametrize("meta", [None, {}, [], "text", 5])
async def test_a_meta_without_a_version_counts_as_none(meta):
    message = request(params={"_meta": meta})
    answer = await post(exchange(echo), message, modern_headers("tools/list"))
    assert answer.code == NO_ENVELOPE

"""What ``/mcp`` answers to messages that it does not serve: code, status and data in each era.

Whose version or headers are wrong is in ``test_mcp_refused_headers.py``.
"""

import json

from e2e.refusing import (
    INTERNAL,
    MALFORMED,
    MISMATCH,
    NO_MESSAGE,
    NO_METHOD,
    NOT_JSON,
    SERVED,
    WRONG,
    differing,
)
from exchanges import HANDSHAKE, enveloped, modern_headers, request, target

VERSION = "MCP-Protocol-Version"
DISCOVER = "server/discover"
NOT_HERE = {"uri": "desk://nothing"}
REQUIRED = {"requiredCapabilities": {"elicitation": {"form": {}}}}
PING = request("ping")
NOTE = {"jsonrpc": "2.0", "method": "notifications/initialized"}
SPEAKING = {
    "handshake": [(VERSION, HANDSHAKE)],
    "modern": modern_headers("ping"),
    "no version": [],
}


def both(rows):
    """Return each row for a client of either era."""
    made = {}
    for name, (method, params, modern, *handshake) in rows.items():
        lines = modern_headers(method, target(params) if isinstance(target(params), str) else None)
        made[f"{name}, modern"] = (request(method, enveloped(params)), lines, modern)
        message = request(method, params)
        # There an error of the protocol is HTTP 200: 404 would mean that a session is lost.
        expected = handshake[0] if handshake else (200, *modern[1:])
        made[f"{name}, handshake"] = (message, [(VERSION, HANDSHAKE)], expected)
    return made


METHODS = {
    "unknown method": ("nope", {}, (*NO_METHOD, "nope")),
    "method in another case": ("Tools/List", {}, (*NO_METHOD, "Tools/List")),
    "no method": ("", {}, (*NO_METHOD, "")),
    "a method of nobody's": ("rpc.discover", {}, (*NO_METHOD, "rpc.discover")),
    "a notification that has an id": (
        "notifications/initialized",
        {},
        (*NO_METHOD, "notifications/initialized"),
    ),
    "a method of clients": ("sampling/createMessage", {}, (*NO_METHOD, "sampling/createMessage")),
    "tasks": ("tasks/get", {"taskId": "1"}, (*NO_METHOD, "tasks/get")),
    "completion of nothing": (
        "completion/complete",
        {"ref": {"type": "ref/prompt", "name": "write"}, "argument": {"name": "to", "value": ""}},
        (*NO_METHOD, "completion/complete"),
    ),
    "subscriptions": ("subscriptions/listen", {}, (*NO_METHOD, "subscriptions/listen")),
    "subscribing": (
        "resources/subscribe",
        {"uri": "desk://a"},
        (*NO_METHOD, "resources/subscribe"),
    ),
    "ping": ("ping", {}, (*NO_METHOD, "ping"), SERVED),
    "level": (
        "logging/setLevel",
        {"level": "info"},
        (*NO_METHOD, "logging/setLevel"),
        SERVED,
    ),
    "discover": (DISCOVER, {}, SERVED, (200, -32601, DISCOVER)),
}

PARAMETERS = {
    "unknown tool": ("tools/call", {"name": "nope", "arguments": {}}, WRONG),
    "tool in another case": ("tools/call", {"name": "Echo", "arguments": {}}, WRONG),
    "tool without a name": ("tools/call", {"arguments": {}}, MALFORMED),
    "tool with a number for a name": ("tools/call", {"name": 5}, MISMATCH, (200, -32602, "")),
    "arguments as a list": ("tools/call", {"name": "echo", "arguments": ["a"]}, MALFORMED),
    "arguments as text": ("tools/call", {"name": "echo", "arguments": "a"}, MALFORMED),
    "wrong arguments": ("tools/call", {"name": "echo", "arguments": {"text": 5}}, SERVED),
    "unknown arguments": ("tools/call", {"name": "echo", "arguments": {"x": 5}}, SERVED),
    "unknown cursor": ("tools/list", {"cursor": "x"}, WRONG),
    "cursor that is a number": ("tools/list", {"cursor": 5}, MALFORMED),
    "resource that is not there": (
        "resources/read",
        NOT_HERE,
        (*WRONG, NOT_HERE),
        (200, -32002, NOT_HERE),
    ),
    "resource that nobody has": (
        "resources/read",
        {"uri": "no:thing"},
        (*WRONG, {"uri": "no:thing"}),
        (200, -32002, {"uri": "no:thing"}),
    ),
    "resource without a name": ("resources/read", {}, MALFORMED),
    "broken resource": ("resources/read", {"uri": "desk://broken"}, INTERNAL),
    "crash of a resource": ("resources/read", {"uri": "desk://crash"}, INTERNAL),
    "unknown prompt": ("prompts/get", {"name": "nope"}, WRONG),
    "prompt without its argument": ("prompts/get", {"name": "write"}, WRONG),
    "prompt with another argument": (
        "prompts/get",
        {"name": "write", "arguments": {"to": "a", "x": ""}},
        WRONG,
    ),
    "prompt with a number": ("prompts/get", {"name": "write", "arguments": {"to": 5}}, MALFORMED),
    "nobody to ask": ("tools/call", {"name": "ask"}, (400, -32021, REQUIRED), SERVED),
    "state of nobody's": (
        "tools/call",
        {"name": "ask", "requestState": "x"},
        WRONG,
        SERVED,
    ),
}


# Not one JSON-RPC request or notification: the same in either era.
MALFORMED_MESSAGES = {
    "nothing": (b"", NOT_JSON),
    "half of it": (b'{"jsonrpc": "2.0",', NOT_JSON),
    "two of them": (b"{} {}", NOT_JSON),
    "latin-1": (b'{"jsonrpc": "2.0", "id": "\xe9", "method": "ping"}', NOT_JSON),
    "a mark of byte order": (b"\xef\xbb\xbf" + json.dumps(PING).encode(), NOT_JSON),
    "NaN": (b'{"jsonrpc": "2.0", "id": NaN, "method": "ping"}', NOT_JSON),
    "half of a pair": (b'{"jsonrpc": "2.0", "id": "\\ud800", "method": "ping"}', NOT_JSON),
    "too deep": (b"[" * 100_000, NOT_JSON),
    "a form": (b"jsonrpc=2.0&id=1&method=ping", NOT_JSON),
    "a batch": ([PING, PING], NO_MESSAGE),
    "an empty batch": ([], NO_MESSAGE),
    "text": ("ping", NO_MESSAGE),
    "a number": (1, NO_MESSAGE),
    "null": (None, NO_MESSAGE),
    "an empty object": ({}, NO_MESSAGE),
    "no version of JSON-RPC": ({"id": 1, "method": "ping"}, NO_MESSAGE),
    "JSON-RPC 1.0": (PING | {"jsonrpc": "1.0"}, NO_MESSAGE),
    "JSON-RPC as a number": (PING | {"jsonrpc": 2.0}, NO_MESSAGE),
    "null for an id": (PING | {"id": None}, NO_MESSAGE),
    "a fraction for an id": (PING | {"id": 1.5}, NO_MESSAGE),
    "true for an id": (PING | {"id": True}, NO_MESSAGE),
    "a list for an id": (PING | {"id": [1]}, NO_MESSAGE),
    "an object for an id": (PING | {"id": {}}, NO_MESSAGE),
    "nothing but an id": ({"jsonrpc": "2.0", "id": 1}, NO_MESSAGE),
    "no text for a method": (PING | {"method": 5}, NO_MESSAGE),
    "null for a method": (PING | {"method": None}, NO_MESSAGE),
    "parameters by position": (PING | {"params": [1]}, NO_MESSAGE),
    "parameters as text": (PING | {"params": "a"}, NO_MESSAGE),
    "a notification of no method": ({"jsonrpc": "2.0", "params": {}}, NO_MESSAGE),
    "a notification of JSON-RPC 1.0": (NOTE | {"jsonrpc": "1.0"}, NO_MESSAGE),
    "a notification by position": (NOTE | {"params": []}, NO_MESSAGE),
}


async def test_methods(dsn):
    assert await differing(dsn, both(METHODS)) == {}


async def test_parameters(dsn):
    assert await differing(dsn, both(PARAMETERS)) == {}


async def test_messages(dsn):
    rows = {
        f"{name}, {era}": (body, headers, expected)
        for name, (body, expected) in MALFORMED_MESSAGES.items()
        for era, headers in SPEAKING.items()
    }
    assert await differing(dsn, rows) == {}

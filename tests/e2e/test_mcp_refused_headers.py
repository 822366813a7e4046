"""What ``/mcp`` answers where versions disagree and headers do not repeat the body, row by row."""

from e2e.refusing import (
    ACCEPTED,
    MALFORMED,
    MISMATCH,
    NO_MESSAGE,
    NO_METHOD,
    SERVED,
    WRONG,
    differing,
)
from exchanges import HANDSHAKE, META, MODERN, UNKNOWN, enveloped, modern_headers, request

VERSION = "MCP-Protocol-Version"
TOLD = [MODERN, HANDSHAKE, "2025-06-18"]
LIST = request("tools/list", enveloped())
NOTE = {"jsonrpc": "2.0", "method": "notifications/initialized"}
RESPONSE = {"jsonrpc": "2.0", "id": 1, "result": {}}


def unsupported(version=UNKNOWN):
    """Return what a version gets that is not served (MCP 2026-07-28, versioning)."""
    return (400, -32022, {"supported": TOLD, "requested": version})


def lines(version, method="tools/list", name=None):
    """Return the headers of a modern client with another version, ``None`` for none."""
    headers = [("Mcp-Method", method)] + ([("Mcp-Name", name)] if name else [])
    return headers if version is None else [(VERSION, version), *headers]


def opening(version):
    """Return a handshake's first message."""
    client = {"capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}
    return request("initialize", {"protocolVersion": version} | client)


def listing(version, **meta):
    """Return a request that names this version in its envelope; ``None`` leaves a member out."""
    params = enveloped(version=version)
    changed = params["_meta"] | {META + name: value for name, value in meta.items()}
    kept = {name: value for name, value in changed.items() if value is not None}
    return request("tools/list", params | {"_meta": kept})


# What header and envelope say of the version.
ERAS = {
    "both modern": (LIST, lines(MODERN), SERVED),
    "only in the envelope": (LIST, lines(None), MISMATCH),
    "modern in the envelope, handshake in the header": (LIST, lines(HANDSHAKE), MISMATCH),
    "modern in the envelope, unknown in the header": (LIST, lines(UNKNOWN), MISMATCH),
    "unknown in the envelope, modern in the header": (listing(UNKNOWN), lines(MODERN), MISMATCH),
    "a number in the envelope": (listing(5), lines(MODERN), MISMATCH),
    "both unknown": (listing(UNKNOWN), lines(UNKNOWN), unsupported()),
    "both empty": (listing(""), lines(""), unsupported("")),
    "both a handshake": (listing(HANDSHAKE), lines(HANDSHAKE), SERVED),
    "no envelope, modern": (request(), lines(MODERN), WRONG),
    "no envelope, handshake": (request(), lines(HANDSHAKE), SERVED),
    "no envelope, 2025-06-18": (request(), lines("2025-06-18"), SERVED),
    "no envelope, 2025-03-26": (request(), lines("2025-03-26"), SERVED),
    "no envelope, unknown": (request(), lines(UNKNOWN), unsupported()),
    "no envelope, the draft": (request(), lines("DRAFT-2026-v1"), unsupported("DRAFT-2026-v1")),
    "no envelope, no header": (request(), lines(None), SERVED),
    "no envelope, two versions in one": (
        request(),
        lines(f"{MODERN}, {HANDSHAKE}"),
        unsupported(f"{MODERN}, {HANDSHAKE}"),
    ),
    "empty parameters, modern": (request(params={}), lines(MODERN), WRONG),
    "an empty envelope, modern": (request(params={"_meta": {}}), lines(MODERN), WRONG),
    "an envelope that is none": (request(params={"_meta": "a"}), lines(MODERN), WRONG),
    "no capabilities": (listing(MODERN, clientCapabilities=None), lines(MODERN), WRONG),
    "capabilities as a list": (listing(MODERN, clientCapabilities=[]), lines(MODERN), MALFORMED),
    "no client": (listing(MODERN, clientInfo=None), lines(MODERN), SERVED),
    "a client without a name": (listing(MODERN, clientInfo={}), lines(MODERN), MALFORMED),
    "a level that there is not": (listing(MODERN, logLevel="loud"), lines(MODERN), MALFORMED),
    "opening": (opening(HANDSHAKE), [], SERVED),
    "opening with a modern header": (opening(HANDSHAKE), lines(MODERN, "initialize"), SERVED),
    "opening with an unknown header": (opening(UNKNOWN), lines(UNKNOWN, "initialize"), SERVED),
    "opening without parameters": (request("initialize"), [], (200, -32602, "")),
    "opening inside of an envelope": (
        request("initialize", enveloped()),
        lines(MODERN, "initialize"),
        (*NO_METHOD, "initialize"),
    ),
    "a notification without a version": (NOTE, [], ACCEPTED),
    "a notification, handshake": (NOTE, lines(HANDSHAKE), ACCEPTED),
    "a notification, modern": (NOTE, [(VERSION, MODERN)], ACCEPTED),
    "a notification of nobody's": (NOTE | {"method": "nope"}, lines(MODERN), ACCEPTED),
    "a notification, unknown": (NOTE, [(VERSION, UNKNOWN)], unsupported()),
    "a response": (RESPONSE, lines(HANDSHAKE), ACCEPTED),
    "a response without a version": (RESPONSE, [], ACCEPTED),
    "a response, modern": (RESPONSE, lines(MODERN), NO_MESSAGE),
    "a response, unknown": (RESPONSE, [(VERSION, UNKNOWN)], NO_MESSAGE),
}

CALL = request("tools/call", enveloped({"name": "echo", "arguments": {}}))
FIND = request("tools/call", enveloped({"name": "find", "arguments": {"region": "größe"}}))
READ = request("resources/read", enveloped({"uri": "desk://nothing"}))
GET = request("prompts/get", enveloped({"name": "write", "arguments": {"to": "you"}}))
GOOD = modern_headers("tools/call", "echo")
FINDING = modern_headers("tools/call", "find")

# Headers that repeat a part of the body, as they come through HTTP.
HEADERS = {
    "all of them": (CALL, GOOD, SERVED),
    "names in upper case": (CALL, [(name.upper(), value) for name, value in GOOD], SERVED),
    "spaces around": (CALL, [(name, f"  {value}\t ") for name, value in GOOD], SERVED),
    "no version": (CALL, GOOD[1:], MISMATCH),
    "no method": (CALL, [GOOD[0], GOOD[2]], MISMATCH),
    "no name": (CALL, GOOD[:2], MISMATCH),
    "no name of a prompt": (GET, modern_headers("prompts/get"), MISMATCH),
    "another name of a prompt": (GET, modern_headers("prompts/get", "Write"), MISMATCH),
    "the name of a prompt": (GET, modern_headers("prompts/get", "write"), SERVED),
    "no uri": (READ, modern_headers("resources/read"), MISMATCH),
    "another uri": (READ, modern_headers("resources/read", "desk://other"), MISMATCH),
    "another method": (CALL, modern_headers("tools/list", "echo"), MISMATCH),
    "method in another case": (CALL, modern_headers("tools/Call", "echo"), MISMATCH),
    "an empty method": (CALL, modern_headers("", "echo"), MISMATCH),
    "an unknown method and another": (request("nope", enveloped()), lines(MODERN), MISMATCH),
    "an unknown method and none": (request("nope", enveloped()), [GOOD[0]], MISMATCH),
    "an unknown version and no method": (listing(UNKNOWN), [(VERSION, UNKNOWN)], unsupported()),
    "name in another case": (CALL, modern_headers("tools/call", "Echo"), MISMATCH),
    "name in base64": (CALL, modern_headers("tools/call", "=?base64?ZWNobw==?="), SERVED),
    "name in bad base64": (CALL, modern_headers("tools/call", "=?base64?ZWNobw?="), MISMATCH),
    "method in base64": (CALL, modern_headers("=?base64?dG9vbHMvY2FsbA==?=", "echo"), MISMATCH),
    "name in latin-1": (CALL, modern_headers("tools/call", "ech\xf6"), MISMATCH),
    "version twice": (CALL, [GOOD[0], *GOOD], MISMATCH),
    "method twice": (CALL, [*GOOD, GOOD[1]], MISMATCH),
    "two names": (CALL, [*GOOD, ("mcp-name", "find")], MISMATCH),
    "a name for a method that has none": (LIST, modern_headers("tools/list", "x"), SERVED),
    "an argument": (FIND, [*FINDING, ("Mcp-Param-Region", "=?base64?Z3LDtsOfZQ==?=")], SERVED),
    "no header of an argument": (FIND, FINDING, MISMATCH),
    "another argument": (FIND, [*FINDING, ("Mcp-Param-Region", "north")], MISMATCH),
    "an argument in latin-1": (FIND, [*FINDING, ("Mcp-Param-Region", "gr\xf6\xdfe")], MISMATCH),
    "an argument that nobody declares": (CALL, [*GOOD, ("Mcp-Param-Other", "x")], SERVED),
    "a session and a place in it": (
        CALL,
        [*GOOD, ("Mcp-Session-Id", "a"), ("Last-Event-ID", "b")],
        SERVED,
    ),
}


async def test_versions(dsn):
    assert await differing(dsn, ERAS) == {}


async def test_headers(dsn):
    assert await differing(dsn, HEADERS) == {}

"""``POST /mcp`` of a running server that offers everything: whatever is sent, it answers.

What Tornado refuses by itself is told without a word of ours: a head that is no HTTP (400, empty),
and one of more than 32 KiB, at which it hangs up.
"""

import asyncio
import copy
import json
import logging
from collections.abc import Iterator
from typing import Any

import postgres
import pytest
from exchanges import HANDSHAKE, META, MODERN, UNKNOWN, enveloped, request
from fuzz.attack import Mistakes
from fuzz.endpoint import Endpoint, Lines, encoded, parsed
from fuzz.nasty import fuzz, json_values, nasty, spoiled, spoiled_json
from hypothesis import example
from hypothesis import strategies as st

LOGGERS = ("mcpserve", "tornado", "asyncio", "aiopg")
CLIENT = {"capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}
PROMPT = {"ref": {"type": "ref/prompt", "name": "summarize"}}
NOTE = {"ref": {"type": "ref/resource", "uri": "note://{folder}/{name}"}}
VALUE = {"argument": {"name": "folder", "value": "w"}, "context": {"arguments": {"name": "x"}}}
ADD = {"name": "add", "arguments": {"a": 1, "b": 1.5, "note": "n"}, "_meta": {"progressToken": 7}}
GOOD = (
    ("server/discover", {}),
    ("initialize", {"protocolVersion": HANDSHAKE, **CLIENT}),
    ("ping", {}),
    ("logging/setLevel", {"level": "info"}),
    ("tools/list", {"cursor": "MQ=="}),
    ("tools/call", ADD),
    ("tools/call", {"name": "search", "arguments": {"region": "north"}}),
    ("tools/call", {"name": "ask", "inputResponses": {"1": {"action": "accept", "content": {}}}}),
    ("tools/call", {"name": "ask", "requestState": "000000000000.1.AA"}),
    ("resources/list", {}),
    ("resources/templates/list", {}),
    ("resources/read", {"uri": "note://work/plan", "_meta": {"progressToken": "t"}}),
    ("resources/read", {"uri": "note://logo"}),
    ("resources/subscribe", {"uri": "note://logo"}),
    ("prompts/list", {}),
    ("prompts/get", {"name": "summarize", "arguments": {"folder": "work", "style": "long"}}),
    ("completion/complete", {**PROMPT, **VALUE}),
    ("completion/complete", {**NOTE, **VALUE}),
    ("subscriptions/listen", {"notifications": {}}),
    ("notifications/cancelled", {"requestId": 1}),
)
"""What a good client sends, and what one sends that takes us for more than we are."""
METHODS = sorted({method for method, _ in GOOD})
VERSIONS = [MODERN, HANDSHAKE, "2025-06-18", "2025-03-26", "2024-11-05", UNKNOWN]


@pytest.fixture(scope="module")
def endpoint(cluster, template) -> Iterator[Endpoint]:
    heard = Mistakes()
    with (
        postgres.new_database(cluster, template=template) as dsn,
        asyncio.Runner() as runner,
    ):
        for name in LOGGERS:
            logging.getLogger(name).addHandler(heard)
        attacked = Endpoint(runner, heard)
        runner.run(attacked.start(dsn))
        try:
            yield attacked
        finally:
            runner.run(attacked.stack.aclose())
            for name in LOGGERS:
                logging.getLogger(name).removeHandler(heard)


def headers_of(message: Any, modern: bool) -> Lines:
    """Return the headers with which a good client would send this, as far as there are any."""
    if not modern:
        return [("MCP-Protocol-Version", HANDSHAKE)]
    message = message if isinstance(message, dict) else {}
    params = message.get("params") if isinstance(message.get("params"), dict) else {}
    arguments = params.get("arguments") if isinstance(params.get("arguments"), dict) else {}
    meta = params.get("_meta") if isinstance(params.get("_meta"), dict) else {}
    told = {
        "MCP-Protocol-Version": meta.get(f"{META}protocolVersion", MODERN),
        "Mcp-Method": message.get("method"),
        "Mcp-Name": params.get("uri", params.get("name")),
        "Mcp-Param-Region": arguments.get("region"),
    }
    return [
        (name, encoded(value) if name in ("Mcp-Name", "Mcp-Param-Region") else value)
        for name, value in told.items()
        if isinstance(value, str)
    ]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every member of a message."""
    members = value.items() if isinstance(value, dict) else ()
    for name, member in members:
        yield (*path, name)
        yield from places(member, (*path, name))


@st.composite
def good(draw: st.DrawFn) -> tuple[dict[str, Any], bool]:
    """A message of a good client, and whether it is of the modern era."""
    method, params = draw(st.sampled_from(GOOD))
    modern = draw(st.booleans())
    return request(method, enveloped(params) if modern else copy.deepcopy(params)), modern


@st.composite
def almost_good(draw: st.DrawFn) -> tuple[dict[str, Any], Lines]:
    """A message of which one member, or two, are something else; and its headers."""
    message, modern = draw(good())
    message = copy.deepcopy(message)
    headers = headers_of(message, modern)
    for _ in range(draw(st.integers(1, 2))):
        # Most of a message is its envelope, and what that refuses gets no further.
        inner = [way for way in places(message) if len(way) > 1 and "_meta" not in way]
        chosen = inner if inner and draw(st.integers(0, 3)) else list(places(message))
        *way, name = draw(st.sampled_from(chosen or [("id",)]))
        parent = message
        for step in way:
            parent = parent[step]
        match draw(st.sampled_from(["any", "any", "gone", "spoiled", "listed", "renamed"])):
            case "gone":
                parent.pop(name, None)
            case "listed":
                parent[name] = [parent.get(name)]
            case "renamed":
                parent[draw(nasty)] = parent.pop(name, None)
            case "spoiled" if isinstance(parent.get(name), str):
                parent[name] = draw(spoiled(st.just(parent[name])))
            case _:
                parent[name] = draw(json_values)
    # Mostly as a client would send it that means just this: else nothing gets past the headers.
    return message, headers if draw(st.integers(0, 4)) == 0 else headers_of(message, modern)


@fuzz(body=st.binary(max_size=200) | nasty.map(lambda text: text.encode(errors="surrogatepass")))
@example(body=b"[" * 100_000)
@example(body=b'{"a":' * 100_000)
@example(body=b"\xff\xfe{\0}\0")
def test_any_bytes_are_answered(endpoint, body):
    endpoint.attack(body, [])


@fuzz(value=json_values, version=st.sampled_from(VERSIONS))
def test_any_json_is_answered(endpoint, value, version):
    endpoint.attack(json.dumps(value).encode(), [("MCP-Protocol-Version", version)])


@fuzz(sent=almost_good(), examples=200)
def test_any_message_is_answered_that_is_almost_good(endpoint, sent):
    message, headers = sent
    endpoint.attack(json.dumps(message).encode(), headers)


@fuzz(sent=good().flatmap(lambda sent: st.tuples(st.just(sent), spoiled_json(st.just(sent[0])))))
def test_any_text_is_answered_that_is_almost_a_message(endpoint, sent):
    (message, modern), text = sent
    endpoint.attack(text.encode(errors="surrogatepass"), headers_of(message, modern))


@fuzz(
    method=st.sampled_from(METHODS) | nasty,
    params=st.dictionaries(
        st.sampled_from(["name", "uri", "arguments", "cursor", "ref", "argument", "level"]),
        json_values | st.sampled_from(["add", "ask", "summarize", "note://index"]),
    )
    | json_values,
    modern=st.booleans(),
    examples=80,
)
def test_any_method_is_answered_with_any_parameters(endpoint, method, params, modern):
    wrapped = enveloped(params) if modern and isinstance(params, dict) else params
    if isinstance(params, dict) and not isinstance(params.get("_meta", {}), dict):
        return
    message = request(method, wrapped)
    endpoint.attack(json.dumps(message).encode(), headers_of(message, modern))


VALUES = (
    st.sampled_from([*VERSIONS, *METHODS, "add", "", " ", "x" * 5000, "=?base64?YQ==?=", "a, b"])
    | st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"))
    | spoiled(st.sampled_from(["application/json", "text/event-stream;q=0", "*/*", "gzip"]))
)
NAMES = st.sampled_from(
    [
        "MCP-Protocol-Version",
        "mcp-protocol-version",
        "Mcp-Method",
        "MCP-NAME",
        "Mcp-Param-Region",
        "Mcp-Param-",
        "Mcp-Session-Id",
        "Last-Event-ID",
        "Accept",
        "Authorization",
        "Content-Type",
        "Content-Encoding",
        "Origin",
        "Cookie",
        "X-Forwarded-For",
        "User-Agent",
        "traceparent",
        "tracestate",
        "baggage",
    ]
) | st.text("abc!#$%&'*+-.^_`|~09", min_size=1)


@fuzz(
    sent=good(),
    changes=st.lists(
        st.tuples(st.sampled_from(["more", "other", "gone", "twice"]), NAMES, VALUES), max_size=3
    ),
    examples=150,
)
def test_any_headers_are_answered(endpoint, sent, changes):
    message, modern = sent
    lines = [*endpoint.common()[1:], *headers_of(message, modern)]
    for change, name, value in changes:
        others = [line for line in lines if line[0].lower() != name.lower()]
        match change:
            case "more":
                lines.append((name, value))
            case "other":
                lines = [*others, (name, value)]
            case "gone":
                lines = others
            case "twice":
                lines += [line for line in lines if line not in others]
    endpoint.attack(json.dumps(message).encode(), lines, endpoint.common()[:1])


NO_HTTP = {
    "no colon": [b"nonsense"],
    "space before the colon": [b"Mcp-Name : x"],
    "NUL": [b"Mcp-Name: a\0b"],
    "control character": [b"Mcp-Name: a\x01b"],
    "lonely CR": [b"Mcp-Name: a\rb"],
    "folded line": [b"Mcp-Name: a\r\n b"],
    "no name": [b": a"],
    "name outside of ASCII": [b"Mcp-N\xe4me: a"],
    "two hosts": [b"Host: localhost"],
    "two lengths": [b"Content-Length: 5"],
    "length and chunks": [b"Transfer-Encoding: chunked"],
}
UNUSUAL = {
    "as it is": [],
    "lonely LF": [b"X-A: a\nX-B: b"],
    "many": [b"X-%d: a" % number for number in range(1000)],
    "long": [b"X-A: " + b"a" * 30_000],
    "Expect": [b"Expect: nonsense"],
    "Upgrade": [b"Upgrade: h2c", b"HTTP2-Settings: x"],
    "a session": [b"Mcp-Session-Id: \xff", b"Last-Event-ID: \xfe"],
}
PING = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}'


def head(endpoint: Endpoint, lines: list[bytes]) -> bytes:
    """Return a good request with more lines in its head."""
    common = [f"{name}: {value}".encode() for name, value in endpoint.common()]
    end = [b"Content-Length: %d" % len(PING), b"Connection: close", b"", PING]
    return b"\r\n".join([b"POST /mcp HTTP/1.1", *common, *lines, *end])


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_head_is_answered(endpoint, name):
    response = parsed(endpoint.send(head(endpoint, UNUSUAL[name])))
    assert json.loads(response.read())["result"] == {}


@pytest.mark.parametrize("name", NO_HTTP)
def test_a_head_that_is_no_http_is_refused_without_a_word(endpoint, name):
    response = parsed(endpoint.send(head(endpoint, NO_HTTP[name])))
    assert (response.status, response.read()) == (400, b"")
    assert not endpoint.heard.lines


def test_a_head_that_is_too_long_is_hung_up_on(endpoint):
    assert endpoint.send(head(endpoint, [b"X-A: " + b"a" * 33_000])) == b""
    assert not endpoint.heard.lines
    assert endpoint.send(head(endpoint, [])).startswith(b"HTTP/1.1 200 ")

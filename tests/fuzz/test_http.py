"""The endpoints of a running server, to which strangers send whatever they like."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import postgres
import pytest
from fuzz.attack import Mistakes, Server, start
from fuzz.nasty import EXAMPLES, TEXTS, encoded, fuzz, nasty, spoiled_json, spoiled_members
from hypothesis import strategies as st

STRANGE = st.sampled_from([text for text in TEXTS if len(text) < 5000]) | nasty


@pytest.fixture(scope="module")
def server(cluster, template) -> Iterator[Server]:
    heard = Mistakes()
    names = ("mcpserve", "tornado", "asyncio", "aiopg")
    with (
        postgres.new_database(cluster, template=template) as dsn,
        asyncio.Runner() as runner,
    ):
        for name in names:
            logging.getLogger(name).addHandler(heard)
        attacked = Server(runner, heard=heard)
        runner.run(start(attacked, dsn))
        try:
            yield attacked
        finally:
            runner.run(attacked.stack.aclose())
            for name in names:
                logging.getLogger(name).removeHandler(heard)


HEADERS = st.sampled_from(
    [
        "Authorization",
        "Content-Type",
        "Content-Encoding",
        "Accept",
        "Origin",
        "Cookie",
        "Sec-Fetch-Site",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "If-None-Match",
        "MCP-Protocol-Version",
        "Mcp-Session-Id",
    ]
)
HEADER_VALUES = st.sampled_from(
    [
        "",
        "x",
        "Basic",
        "Basic Og==",
        "Basic \xff",
        "Basic JTAwOiUwMA==",
        "Basic OiUw",
        "Bearer",
        "Bearer  x",
        "Bearer \xe9",
        'Bearer "x"',
        "http://[",
        "http://[::1",
        "null",
        "application/json",
        "text/html",
        "multipart/form-data; boundary=x",
        "gzip",
        'mcpserve="\\303\\051"',
        "mcpserve=\xe9; mcpserve=x",
        "fe80::1%x, 1.2.3.4",
        ",,,",
        "9" * 400,
        'W/"x", *',
    ]
) | st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"))


def change_pairs(draw, fields):
    fields = list(fields)
    place = draw(st.integers(0, max(0, len(fields) - 1)))
    name, value = fields[place] if fields else ("x", "y")
    raw = st.sampled_from(["raw:%", "raw:%zz", "raw:%ff", "raw:%00", "raw:&&=&", "raw:+%20"])
    match draw(st.sampled_from(["twice", "gone", "value", "longer", "name", "more"])):
        case "twice":
            fields.append((name, draw(st.just(value) | STRANGE)))
        case "gone":
            fields = fields[:place] + fields[place + 1 :]
        case "value":
            fields[place : place + 1] = [(name, draw(STRANGE | raw))]
        case "longer":
            fields[place : place + 1] = [(name, value + draw(STRANGE))]
        case "name":
            fields[place : place + 1] = [(draw(STRANGE | raw), value)]
        case "more":
            fields += [(draw(STRANGE), draw(STRANGE))] * draw(st.sampled_from([1, 1, 101]))
    return tuple(fields)


def change(draw, target):
    """Change one thing of a request."""
    parts = ["query", "headers", "method"]
    parts += ["form"] * 4 if target.form is not None else []
    parts += ["json"] * 4 if target.json is not None else []
    parts += ["query"] * 3 if target.query else []
    match draw(st.sampled_from(parts)):
        case "query":
            return replace(target, query=change_pairs(draw, target.query))
        case "form":
            return replace(target, form=change_pairs(draw, target.form))
        case "json":
            return replace(target, json=draw(spoiled_members(target.json)))
        case "method":
            methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "X"]
            return replace(target, method=draw(st.sampled_from(methods)))
        case _:
            name, value = draw(HEADERS), draw(HEADER_VALUES)
            others = tuple(pair for pair in target.headers if pair[0] != name)
            kept = target.headers if draw(st.booleans()) else others
            return replace(target, headers=(*kept, (name, value)))


@pytest.mark.proves("TR-09", "TR-11", "TR-12", "TR-15")
@fuzz(numbers=st.data(), examples=250)
def test_no_spoiled_request_is_our_fault(server, numbers):
    target = numbers.draw(st.sampled_from(server.targets))
    for _ in range(numbers.draw(st.integers(1, 3))):
        target = change(numbers.draw, target)
    server.attack(target)


@pytest.mark.proves("TR-12", "TR-15")
@fuzz(numbers=st.data(), examples=60)
def test_no_spoiled_json_is_our_fault(server, numbers):
    targets = [target for target in server.targets if target.json is not None]
    target = numbers.draw(st.sampled_from(targets))
    text = numbers.draw(spoiled_json(spoiled_members(target.json)))
    server.attack(target, encoded(text))


@pytest.mark.proves("TR-08", "TR-11")
@pytest.mark.parametrize("number", range(len(TEXTS)), ids=[ascii(text[:20]) for text in TEXTS])
def test_no_strange_text_in_any_field_is_our_fault(server, number):
    # In each field sooner or later; in all of them at once it would be the first that is refused.
    step = 1 if EXAMPLES or "\0" in TEXTS[number] else 6
    for target in server.targets:
        for part in ("form", "query"):
            fields = getattr(target, part) or ()
            for place in range(number % step, len(fields), step):
                strange = ((fields[place][0], TEXTS[number]),)
                changed = fields[:place] + strange + fields[place + 1 :]
                server.attack(replace(target, **{part: changed}))


@pytest.mark.parametrize("value", ["http://[", "http://[::1", "\xe9", "", "//", "http://a:b"])
def test_no_strange_origin_is_our_fault(server, value):
    for target in server.targets:
        others = tuple(
            pair for pair in target.headers if pair[0] not in ("Origin", "Sec-Fetch-Site")
        )
        server.attack(replace(target, headers=(*others, ("Origin", value))))


@fuzz(numbers=st.data(), examples=60)
def test_no_spoiled_bytes_bring_the_server_down(server, numbers):
    target = numbers.draw(st.sampled_from(server.targets))
    body = target.body()
    request = bytearray(target.head(body, urlsplit(server.url).netloc) + body)
    for _ in range(numbers.draw(st.integers(1, 4))):
        first, last = sorted(numbers.draw(st.integers(0, len(request))) for _ in range(2))
        piece = numbers.draw(
            st.binary(max_size=6)
            | st.sampled_from([b"\r\n", b"\n", b"\r\n\r\n", b"\0", b"%", b"&", b":", b" ", b"\xff"])
            | st.just(bytes(request[first:last]))
        )
        last = numbers.draw(st.sampled_from([first, min(last, first + 4)]))
        request[first:last] = piece
    answers = server.runner.run(exchange(server.url, bytes(request)))
    for status in answers:
        assert status < 500
    server.check_log()
    assert server.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 200


async def exchange(url: str, request: bytes) -> list[int]:
    """Send bytes that may be no request, and return the statuses of what came back in time."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    received = bytearray()
    try:
        writer.write(request)
        async with asyncio.timeout(0.05):
            while piece := await reader.read(65536):
                received += piece
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    starts = [line for line in bytes(received).split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    return [int(line.split()[1]) for line in starts]

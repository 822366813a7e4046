"""Headers that repeat a part of the body: whoever routes by them must see what we see."""

import base64
from typing import Annotated

import pytest
from exchanges import (
    HANDSHAKE,
    MODERN,
    enveloped,
    exchange,
    handshake,
    modern,
    modern_headers,
    post,
    request,
)
from pydantic import BaseModel, Field

from mcpserve import tool

HEADER_MISMATCH = (400, -32020)
SERVED = (200, None)
VERSION, METHOD, NAME = "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"


def header(name):
    """Say that an argument has a header of its own."""
    return Field(json_schema_extra={"x-mcp-header": name})


class Place(BaseModel):
    """Something with a header further down."""

    country: Annotated[str, header("Country")] = ""


@tool(name="find")
def find(
    region: Annotated[str, header("Region")] = "",
    count: Annotated[int, header("Count")] = 0,
    exact: Annotated[bool, header("Exact")] = False,
) -> str:
    """Find."""
    return f"{region} {count} {exact}"


def echo(text: str = "") -> str:
    """Say the same."""
    return text


def encoded(text):
    """Return the form in which a header carries any text."""
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


async def call(headers, name="echo", tool_name="echo"):
    """Call a tool with exactly these headers."""
    message = request("tools/call", enveloped({"name": name}))
    served = exchange(tool(name=tool_name)(echo))
    return (await post(served, message, headers)).code


@pytest.mark.parametrize("missing", [VERSION, METHOD, NAME])
async def test_each_header_of_a_call_is_required(missing):
    lines = [line for line in modern_headers("tools/call", "echo") if line[0] != missing]
    assert await call(lines) == HEADER_MISMATCH


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (METHOD, "tools/list"),
        (METHOD, "tools/Call"),
        (METHOD, ""),
        (METHOD, encoded("tools/call")),
        (VERSION, encoded(MODERN)),
        (NAME, "Echo"),
        (NAME, "other"),
        (NAME, ""),
    ],
)
async def test_a_header_must_equal_the_body(name, value):
    changed = {**dict(modern_headers("tools/call", "echo")), name: value}
    assert await call(list(changed.items())) == HEADER_MISMATCH


async def test_names_of_headers_are_the_same_in_any_case():
    lines = [(name.upper(), value) for name, value in modern_headers("tools/call", "echo")]
    assert await call(lines) == SERVED


async def test_a_method_that_names_nothing_needs_no_name_header():
    headers = [*modern_headers("tools/list"), (NAME, "whatever")]
    answer = await post(exchange(echo), request(params=enveloped()), headers)
    assert answer.code == SERVED


@pytest.mark.parametrize("repeated", [VERSION, METHOD, NAME])
@pytest.mark.parametrize("spelling", [str, str.lower])
async def test_a_header_that_is_there_twice_is_refused(repeated, spelling):
    lines = modern_headers("tools/call", "echo")
    again = [(spelling(name), value) for name, value in lines if name == repeated]
    assert await call([*lines, *again]) == HEADER_MISMATCH


@pytest.mark.parametrize("order", [(MODERN, HANDSHAKE), (HANDSHAKE, MODERN)])
async def test_two_versions_are_refused_whichever_is_last(order):
    lines = [(VERSION, version) for version in order]
    assert (await post(exchange(echo), request(), lines)).code == HEADER_MISMATCH


@pytest.mark.parametrize("name", ["echo", "größe", "=?base64?ZWNobw==?="])
async def test_a_name_may_be_in_base64(name):
    lines = modern_headers("tools/call", encoded(name))
    assert await call(lines, name, tool_name=name) == SERVED


@pytest.mark.parametrize(
    "value",
    [
        "=?base64?ZWNobw?=",  # no padding
        "=?base64?ZWNobx==?=",  # bits that mean nothing
        "=?base64?ZWN obw==?=",
        "=?base64?/w==?=",  # not UTF-8
        "=?BASE64?ZWNobw==?=",  # the marks are in lower case
        "=?base64?ZWNobw==",
        "ZWNobw==",
    ],
)
async def test_bad_base64_is_no_name(value):
    assert await call(modern_headers("tools/call", value)) == HEADER_MISMATCH


async def test_half_a_mark_is_an_ordinary_name():
    name = "=?base64?echo"
    assert await call(modern_headers("tools/call", name), name, tool_name=name) == SERVED


@pytest.mark.parametrize("value", ["gr\xf6\xdfe", "echo\x7f", "ec\x00ho", "\xa0"])
async def test_characters_outside_ascii_are_refused_even_if_they_equal_the_body(value):
    lines = modern_headers("tools/call", value)
    assert await call(lines, value, tool_name=value) == HEADER_MISMATCH


async def test_the_handshake_era_needs_none_of_them():
    answer = await post(exchange(echo), request("tools/call", {"name": "echo"}), [])
    assert answer.code == SERVED


async def test_a_session_id_and_a_last_event_id_are_ignored():
    headers = [("Mcp-Session-Id", "a"), ("Mcp-Session-Id", "b"), ("Last-Event-ID", "\xff")]
    answer = await modern(exchange(echo), "tools/list", headers=headers)
    assert answer.code == SERVED


# Headers of single arguments, which a tool declares with x-mcp-header.
@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({}, {}),
        (None, {}),
        ({"region": "north"}, {"Region": "north"}),
        ({"region": "north"}, {"rEGION": "north"}),
        ({"region": "größe"}, {"Region": encoded("größe")}),
        ({"region": ""}, {"Region": ""}),
        ({"count": 42}, {"Count": "42"}),
        ({"count": 42}, {"Count": "42.0"}),
        ({"count": -1}, {"Count": "-1"}),
        ({"exact": True}, {"Exact": "true"}),
        ({"region": "a", "count": 1}, {"Region": "a", "Count": "1"}),
        ({"region": "a"}, {"Region": "a", "Undeclared": "b"}),
    ],
)
async def test_the_header_of_an_argument_repeats_it(arguments, headers):
    lines = [(f"Mcp-Param-{name}", value) for name, value in headers.items()]
    params = {"name": "find"} | ({} if arguments is None else {"arguments": arguments})
    assert (await modern(exchange(find), "tools/call", params, lines)).code == SERVED


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ({"region": "north"}, []),
        ({"region": "north"}, [("Region", "south")]),
        ({"region": "north"}, [("Region", "North")]),
        ({"region": "north"}, [("Region", "")]),
        ({"region": "north"}, [("Region", "=?base64?bm9ydGg?=")]),
        ({"region": "gr\xf6\xdfe"}, [("Region", "gr\xf6\xdfe")]),
        ({"region": "north"}, [("Region", "north"), ("Region", "north")]),
        ({"region": "north"}, [("Region", "south"), ("region", "north")]),
        ({"region": None}, [("Region", "north")]),
        ({}, [("Region", "north")]),
        (None, [("Region", "north")]),
        ([], [("Region", "north")]),
        ({"count": 42}, [("Count", "43")]),
        ({"count": 42}, [("Count", "42.5")]),
        ({"count": 42}, [("Count", "4.2e1")]),
        ({"exact": True}, [("Exact", "True")]),
        ({"exact": True}, [("Exact", "1")]),
    ],
)
async def test_an_argument_and_its_header_that_differ_are_refused(arguments, lines):
    named = [(f"Mcp-Param-{name}", value) for name, value in lines]
    params = {"name": "find"} | ({} if arguments is None else {"arguments": arguments})
    assert (await modern(exchange(find), "tools/call", params, named)).code == HEADER_MISMATCH


async def test_the_handshake_era_knows_no_headers_of_arguments():
    params = {"name": "find", "arguments": {"region": "north"}}
    assert (await handshake(exchange(find), "tools/call", params)).code == SERVED


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[str, header("")],
        Annotated[str, header("two words")],
        Annotated[str, header(5)],
        Annotated[float, header("Number")],
        Annotated[list[str], header("List")],
        list[Place],
    ],
)
def test_a_tool_with_a_header_that_clients_would_drop_is_refused(annotation):
    def wrong(value):
        """Do nothing."""

    wrong.__annotations__["value"] = annotation
    with pytest.raises(ValueError, match="x-mcp-header"):
        tool(wrong)


def test_two_arguments_cannot_share_a_header():
    def wrong(a: Annotated[str, header("Same")], b: Annotated[str, header("same")]):
        """Do nothing."""

    with pytest.raises(ValueError, match="duplicates"):
        tool(wrong)

"""Lists that are longer than a page, in both eras."""

import base64
import functools

import pytest
from exchanges import exchange, handshake, modern

from mcpserve import Principal, prompt, resource, tool
from mcpserve.tools import CALL_SCOPE

BOTH = pytest.mark.parametrize("send", [modern, handshake])
ADMIN = Principal("client", "user", frozenset({CALL_SCOPE, "odd"}))


def a_tool(name, **told):
    """Return a tool."""
    return tool(name=name, **told)(lambda: "")


def a_prompt(name, **told):
    """Return a prompt."""
    return prompt(name=name, **told)(lambda: "")


def a_resource(name, **told):
    """Return a plain resource."""
    return resource(f"test://{name}", name=name, **told)(lambda: "")


def a_template(name, **told):
    """Return a template."""
    return resource(f"test://{name}/{{a}}", name=name, **told)(lambda a: a)


@functools.cache
def serving_many(make, count=250):
    """Return an endpoint with many of a kind; every other one needs another scope."""
    return exchange(*(make(f"n{at}", scopes=["odd"] if at % 2 else []) for at in range(count)))


LISTS = [
    (a_tool, "tools/list", "tools"),
    (a_prompt, "prompts/list", "prompts"),
    (a_resource, "resources/list", "resources"),
    (a_template, "resources/templates/list", "resourceTemplates"),
]


async def pages(send, server, method, member, principal=ADMIN):
    """Return the names on each page."""
    cursor, found = {}, []
    while True:
        result = (await send(server, method, cursor, principal=principal)).result
        found.append([shown["name"] for shown in result[member]])
        if "nextCursor" not in result:
            return found
        cursor = {"cursor": result["nextCursor"]}


@BOTH
@pytest.mark.parametrize(("make", "method", "member"), LISTS)
async def test_a_long_list_is_told_in_pages_of_a_hundred(send, make, method, member):
    server = serving_many(make)
    found = await pages(send, server, method, member)
    assert [len(page) for page in found] == [100, 100, 50]
    assert [name for page in found for name in page] == [f"n{number}" for number in range(250)]
    caller = Principal("client", "user", frozenset({CALL_SCOPE}))
    found = await pages(send, server, method, member, caller)
    assert [len(page) for page in found] == [100, 25]
    assert [name for page in found for name in page] == [f"n{n}" for n in range(0, 250, 2)]


@pytest.mark.parametrize("count", [0, 1, 99, 100])
async def test_a_list_that_fits_one_page_has_no_cursor(count):
    server = serving_many(a_tool, count)
    assert "nextCursor" not in (await modern(server, "tools/list", principal=ADMIN)).result


def encoded(text):
    """Return a text as cursors are."""
    return base64.urlsafe_b64encode(text).decode()


@BOTH
@pytest.mark.parametrize(("make", "method", "member"), LISTS)
@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "100",
        "MTAw\n",
        " MTAw",
        "MTAw==",
        "é",
        *map(encoded, [b"0", b"-1", b"250", b"1e1", b" 1", b"0100", b"9" * 30, b"\xb2", b""]),
    ],
)
async def test_a_cursor_that_was_never_given_out_is_refused(send, make, method, member, cursor):
    answer = await send(serving_many(make), method, {"cursor": cursor}, principal=ADMIN)
    assert answer.code == (400 if send is modern else 200, -32602)
    assert answer.body["error"]["message"] == "Unknown cursor"

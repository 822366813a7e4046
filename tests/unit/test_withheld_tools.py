"""What the person did not allow: not listed, not run, and no client is sent for a new token."""

from dataclasses import replace
from typing import Annotated

import pytest
from exchanges import CALLER, Sealed, bound, handshake, modern
from pydantic import Field

from mcpserve import prompt, tool
from mcpserve.protocol import Exchange
from mcpserve.registry import PromptRegistry, Registry, ToolRegistry
from mcpserve.web.consent import ShownScope, ShownTool, decided

BOTH = pytest.mark.parametrize("send", [modern, handshake])
PAGE = "https://mcp.example/connections"


class Ran(Exception):
    """A tool ran that must not."""


def endpoint(*tools, prompts=(), observers=(), form="auto"):
    """Return an endpoint with these bound tools."""
    return Exchange(
        Registry(ToolRegistry(tools, observers), prompts=PromptRegistry(prompts)),
        name="tests",
        instructions="",
        seal=Sealed(),
        challenge=lambda error: "Bearer",
        connections=PAGE,
        challenge_form=form,
    )


def made(name, *aliases, scopes=(), **settings):
    """Return a tool that fails the test when it runs, and the names that it had."""

    @tool(name=name, scopes=scopes)
    def function(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "",
    ) -> str:
        raise Ran(name)

    return replace(bound(function, **settings), aliases=aliases)


def without(*names):
    """Return the caller, to whom the person did not allow these tools."""
    return replace(CALLER, withheld=frozenset(names))


async def listed(send, server, principal, method="tools/list"):
    answer = await send(server, method, principal=principal)
    return [shown["name"] for shown in answer.result[method.partition("/")[0]]]


@BOTH
async def test_a_withheld_tool_is_not_listed(send):
    server = endpoint(made("add"), made("wipe"), made("look"))
    assert await listed(send, server, CALLER) == ["add", "wipe", "look"]
    assert await listed(send, server, without("wipe", "no such tool")) == ["add", "look"]
    assert await listed(send, server, without("add", "wipe", "look")) == []


@BOTH
@pytest.mark.parametrize("form", ["http", "tool"])
@pytest.mark.parametrize(
    ("withheld", "called"), [("new", "new"), ("new", "old"), ("old", "new"), ("old", "old")]
)
async def test_a_withheld_tool_does_not_run_under_any_of_its_names(send, form, withheld, called):
    calls = []
    server = endpoint(made("new", "old"), observers=[calls.append], form=form)
    principal = without(withheld)
    assert await listed(send, server, principal) == []
    answer = await send(server, "tools/call", {"name": called}, principal=principal)
    assert answer.status == 200
    assert answer.result["isError"] is True
    [block] = answer.result["content"]
    assert block["text"] == (
        f"The person has not allowed this client to use the tool new. They can allow it at {PAGE}"
    )
    # What makes a client ask for another token.
    assert "mcp/www_authenticate" not in str(answer.result)
    assert calls == []


@pytest.mark.parametrize("region", ["eu", "us"])
async def test_the_headers_of_a_withheld_tool_are_not_compared(region):
    """Else the answer would tell what its arguments are."""
    server = endpoint(made("wipe"))
    answer = await modern(
        server,
        "tools/call",
        {"name": "wipe", "arguments": {"region": region}},
        [("Mcp-Param-Region", "us")],
        principal=without("wipe"),
    )
    assert (answer.status, answer.result["isError"]) == (200, True)
    assert "not allowed" in answer.result["content"][0]["text"]


async def test_nothing_of_the_same_name_but_tools_is_withheld():
    @prompt(name="wipe")
    def wipe() -> str:
        return "Wipe it"

    server = endpoint(made("wipe"), prompts=[bound(wipe)])
    principal = without("wipe")
    assert await listed(modern, server, principal, "prompts/list") == ["wipe"]
    answer = await modern(server, "prompts/get", {"name": "wipe"}, principal=principal)
    assert answer.result["messages"][0]["content"]["text"] == "Wipe it"


async def test_what_is_open_to_everybody_cannot_be_withheld():
    @tool(name="hello")
    def hello() -> str:
        return "Hello"

    server = endpoint(replace(bound(hello), scopes=frozenset()))
    principal = without("hello")
    assert await listed(modern, server, principal) == ["hello"]
    answer = await modern(server, "tools/call", {"name": "hello"}, principal=principal)
    assert answer.result["isError"] is False


async def test_pages_go_on_where_they_stopped_when_something_is_withheld_meanwhile():
    server = endpoint(*(made(f"tool{at}") for at in range(205)))
    first = (await modern(server, "tools/list", principal=CALLER)).result
    second = (
        await modern(
            server,
            "tools/list",
            {"cursor": first["nextCursor"]},
            principal=without("tool3", "tool104"),
        )
    ).result
    names = [shown["name"] for shown in second["tools"]]
    assert (names[0], names[3], names[4], len(names)) == ("tool100", "tool103", "tool105", 100)


def box(*names):
    return ShownTool(names, names[0], "writes", allowed=True, repeated=False)


@pytest.mark.parametrize(
    ("ticked", "before", "after"),
    [
        ({"new", "add"}, set(), set()),
        ({"add"}, set(), {"new", "old"}),
        ({"new"}, {"old"}, {"add"}),
        ({"add"}, {"old"}, {"new", "old"}),
        (set(), {"gone"}, {"add", "new", "old", "gone"}),
        ({"new", "add", "gone", "old"}, {"gone"}, {"gone"}),
        ({"old"}, set(), {"add", "new", "old"}),
    ],
    ids=[
        "all ticked",
        "one not, by all its names",
        "what had another name is allowed again",
        "what had another name stays withheld",
        "none ticked",
        "what was not shown cannot be allowed",
        "an old name is no box",
    ],
)
def test_a_form_decides_about_what_it_showed(ticked, before, after):
    scope = ShownScope("mcp.tools.call", "Use tools", (box("new", "old"), box("add")))
    assert decided([scope], ticked, frozenset(before)) == after

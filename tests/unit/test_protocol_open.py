"""Without a token: what is open is served, and all the rest looks the same."""

import dataclasses
from typing import Annotated

import pytest
from asking import FORM, Amount, accept
from exchanges import (
    META,
    Sealed,
    bound,
    enveloped,
    handshake,
    modern_headers,
    post,
    request,
    target,
)
from exchanges import modern as send_modern
from pydantic import Field

from mcpserve import Principal, ToolContext, prompt, resource, tool
from mcpserve.errors import InsufficientScope, InvalidToken, RateLimited
from mcpserve.oauth import bearer
from mcpserve.principal import ANONYMOUS
from mcpserve.protocol import Exchange
from mcpserve.registry import PromptRegistry, Registry, ResourceRegistry, ToolRegistry
from mcpserve.tools import CALL_SCOPE

CHATGPT = ("User-Agent", "openai-mcp/1.0.0")
WITHOUT_SCOPES = Principal("client", "user", frozenset())


def opened(made, *aliases):
    """Return an offer as the operator opened it."""
    return dataclasses.replace(bound(made), scopes=frozenset(), aliases=aliases)


class Desk:
    """An endpoint with an open, a closed and a hidden offer of each kind; what they did."""

    def __init__(self, form="auto", limit=99):
        self.ran, self.calls, self.counted, self.limit = [], [], 0, limit

        async def look(ctx: ToolContext) -> str:
            self.ran.append(ctx.principal)
            return "seen"

        async def ask(ctx: ToolContext) -> str:
            if not ctx.can_ask():
                return "nobody to ask"
            return str((await ctx.elicit("How many?", Amount)).data.count)

        async def insist(ctx: ToolContext) -> str:
            return str((await ctx.elicit("How many?", Amount)).data.count)

        def closed() -> str:
            self.ran.append("closed")

        @tool(scopes=["admin"])
        def hidden(place: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Place"})] = ""):
            self.ran.append("hidden")

        free = resource("test://free/{name}", name="free")(lambda name: name)
        guarded = resource("test://guarded/{name}", name="guarded")(lambda name: name)
        secret = resource("test://secret", name="secret", scopes=["admin"])(lambda: "")
        hello = prompt(name="hello")(lambda to: to)
        write = prompt(name="write")(lambda to: to)
        for completed, argument in (free, "name"), (guarded, "name"), (hello, "to"), (write, "to"):
            completed.completes(argument)(lambda typed, others: ["all"])
        self.registry = Registry(
            ToolRegistry(
                [
                    opened(tool(look), "old-look"),
                    opened(tool(ask)),
                    opened(tool(insist)),
                    dataclasses.replace(bound(tool(closed)), aliases=("old-closed",)),
                    bound(hidden),
                ],
                [self.calls.append],
            ),
            ResourceRegistry([opened(free), bound(guarded), bound(secret)]),
            PromptRegistry([opened(hello), bound(write)]),
        )
        self.exchange = Exchange(
            self.registry,
            name="tests",
            instructions="",
            seal=Sealed(),
            challenge=lambda error: bearer.challenge("https://x", error, frozenset({CALL_SCOPE})),
            challenge_form=form,
            connections="https://x/connections",
        )

    async def __call__(self, principal, headers, body, notify):
        """Serve with a count."""
        return await self.exchange(principal, headers, body, notify, count=self.count)

    async def count(self):
        """Count."""
        self.counted += 1
        if self.counted > self.limit:
            raise RateLimited(7, "too much")


async def modern(desk, method, params=None, *lines, principal=ANONYMOUS):
    """Send as nobody in the modern era."""
    return await send_modern(desk, method, params, lines, principal)


async def old(desk, method, params=None, *lines, principal=ANONYMOUS):
    """Send as nobody in the handshake era."""
    headers = [("MCP-Protocol-Version", "2025-11-25"), *lines]
    return await post(desk, request(method, params), headers, principal)


both = pytest.mark.parametrize("send", [modern, old])

USES = {
    "name": ("tools/call", {"name": "look"}),
    "old name": ("tools/call", {"name": "old-look"}),
    "resource": ("resources/read", {"uri": "test://free/a"}),
    "prompt": ("prompts/get", {"name": "hello", "arguments": {"to": "you"}}),
    "completion of a prompt": (
        "completion/complete",
        {"ref": {"type": "ref/prompt", "name": "hello"}, "argument": {"name": "to", "value": ""}},
    ),
    "completion of a template": (
        "completion/complete",
        {
            "ref": {"type": "ref/resource", "uri": "test://free/{name}"},
            "argument": {"name": "name", "value": ""},
        },
    ),
}

CALLS = {
    "closed": {"name": "closed"},
    "old name of a closed one": {"name": "old-closed"},
    "hidden": {"name": "hidden"},
    "hidden, with a header that does not fit": {"name": "hidden", "arguments": {"place": "Oslo"}},
    "unknown": {"name": "nothing"},
    "other case": {"name": "Look"},
}

REFUSED = {
    **{name: ("tools/call", params) for name, params in CALLS.items()},
    "no name": ("tools/call", {}),
    "no parameters": ("tools/call", None),
    "closed template": ("resources/read", {"uri": "test://guarded/a"}),
    "hidden resource": ("resources/read", {"uri": "test://secret"}),
    "unknown resource": ("resources/read", {"uri": "test://nothing"}),
    "closed prompt": ("prompts/get", {"name": "write", "arguments": {"to": "you"}}),
    "unknown prompt": ("prompts/get", {"name": "nothing"}),
    "completion of a closed prompt": (
        "completion/complete",
        {"ref": {"type": "ref/prompt", "name": "write"}, "argument": {"name": "to", "value": ""}},
    ),
    "completion of a closed template": (
        "completion/complete",
        {
            "ref": {"type": "ref/resource", "uri": "test://guarded/{name}"},
            "argument": {"name": "name", "value": ""},
        },
    ),
    "completion of a tool": (
        "completion/complete",
        {"ref": {"type": "ref/tool", "name": "look"}, "argument": {"name": "to", "value": ""}},
    ),
    "unknown method": ("nope", {}),
    "tasks": ("tasks/get", {"taskId": "1"}),
    "subscription": ("resources/subscribe", {"uri": "test://free/a"}),
}

LISTS = {
    "tools/list": ("tools", ["look", "ask", "insist", "closed"], ["hidden"]),
    "resources/list": ("resources", [], ["secret"]),
    "resources/templates/list": ("resourceTemplates", ["free", "guarded"], []),
    "prompts/list": ("prompts", ["hello", "write"], []),
}


@both
@pytest.mark.parametrize(("method", "params"), USES.values(), ids=USES)
async def test_what_is_open_is_served_and_counted(send, method, params):
    desk = Desk()
    answer = await send(desk, method, params)
    assert (answer.code, desk.counted) == ((200, None), 1)
    assert desk.ran in ([], [ANONYMOUS])


@both
@pytest.mark.parametrize(("method", "params"), USES.values(), ids=USES)
async def test_what_is_used_too_much_does_not_run(send, method, params):
    desk = Desk(limit=0)
    with pytest.raises(RateLimited):
        await send(desk, method, params)
    assert desk.ran == []


@both
@pytest.mark.parametrize(("method", "params"), REFUSED.values(), ids=REFUSED)
async def test_everything_else_takes_a_login_whether_it_exists_or_not(send, method, params):
    desk = Desk()
    with pytest.raises(InvalidToken) as caught:
        await send(desk, method, params)
    assert (caught.value.presented, caught.value.description) == (False, "a bearer token is needed")
    assert (desk.ran, desk.counted) == ([], 0)


@both
@pytest.mark.parametrize(("method", "expected"), LISTS.items(), ids=LISTS)
async def test_lists_show_what_a_login_by_default_would_open(send, method, expected):
    kind, visible, hidden = expected
    desk = Desk()
    listed = [shown["name"] for shown in (await send(desk, method)).result[kind]]
    assert (listed, desk.counted) == (visible, 0)
    admin = Principal("client", "user", frozenset({CALL_SCOPE, "admin"}))
    listed = [shown["name"] for shown in (await send(desk, method, principal=admin)).result[kind]]
    assert listed == visible + hidden
    listed = (await send(desk, method, principal=WITHOUT_SCOPES)).result[kind]
    assert {shown["name"] for shown in listed} <= {"look", "ask", "insist", "free", "hello"}


@pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel"])
async def test_a_handshake_takes_no_login(method):
    params = {
        "initialize": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "x", "version": "1"},
        },
        "logging/setLevel": {"level": "info"},
    }
    assert (await old(Desk(), method, params.get(method))).code == (200, None)


async def test_discovery_and_notifications_take_no_login():
    assert (await modern(Desk(), "server/discover")).code == (200, None)
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await post(Desk(), note, principal=ANONYMOUS)).status == 202


@both
async def test_the_list_says_which_tools_are_open(send):
    tools = (await send(Desk(), "tools/list")).result["tools"]
    look, *_, closed = [shown["securitySchemes"] for shown in tools]
    assert look == [{"type": "noauth"}, {"type": "oauth2", "scopes": []}]
    assert closed == [{"type": "oauth2", "scopes": [CALL_SCOPE]}]
    assert tools[0]["_meta"]["securitySchemes"] == look


@both
@pytest.mark.parametrize("params", CALLS.values(), ids=CALLS)
async def test_chatgpt_is_told_to_log_in_by_the_result_of_the_tool(send, params):
    desk = Desk()
    answer = await send(desk, "tools/call", params, CHATGPT)
    result = answer.result
    assert (answer.status, result["isError"]) == (200, True)
    assert result["content"] == [{"type": "text", "text": "this takes a login"}]
    (challenge,) = result["_meta"]["mcp/www_authenticate"]
    assert challenge == (
        'Bearer error="invalid_token", error_description="this takes a login", '
        'resource_metadata="https://x/.well-known/oauth-protected-resource/mcp", '
        f'scope="{CALL_SCOPE}"'
    )
    assert (desk.ran, desk.counted) == ([], 0)


@both
async def test_only_tools_have_results_that_can_tell_it(send):
    for method, params in REFUSED.values():
        if method != "tools/call":
            with pytest.raises(InvalidToken):
                await send(Desk("tool"), method, params, CHATGPT)


@both
async def test_with_any_token_what_is_open_may_be_used_and_is_not_counted(send):
    desk = Desk(limit=0)
    for method, params in USES.values():
        assert (await send(desk, method, params, principal=WITHOUT_SCOPES)).code == (200, None)
    assert desk.ran == [WITHOUT_SCOPES] * 2
    with pytest.raises(InsufficientScope):
        await send(desk, "tools/call", {"name": "closed"}, principal=WITHOUT_SCOPES)


async def test_observers_learn_that_nobody_was_logged_in():
    desk = Desk()
    await modern(desk, "tools/call", {"name": "old-look"})
    (call,) = desk.calls
    assert (call.tool, call.principal.anonymous, call.principal.client_id) == ("look", True, "")


def asking(name, **params):
    """Return a call by a client that shows forms."""
    return {"name": name, "_meta": {f"{META}clientCapabilities": FORM}, **params}


async def said(desk, params, principal=ANONYMOUS):
    """Return the text of a result."""
    result = (await modern(desk, "tools/call", params, principal=principal)).result
    return result["resultType"], result.get("content", [{}])[0].get("text")


async def test_nobody_is_asked_who_is_not_logged_in():
    desk = Desk()
    assert await said(desk, asking("ask")) == ("complete", "nobody to ask")
    kind, text = await said(desk, asking("insist"))
    assert kind == "complete"
    assert text.endswith("that takes protocol 2026-07-28 and a login")
    answers = {"1": accept(count=3)}
    assert await said(desk, asking("insist", inputResponses=answers)) == (kind, text)


async def test_the_state_of_somebody_is_worth_nothing_to_nobody():
    desk = Desk()
    asked = await modern(desk, "tools/call", asking("insist"), principal=WITHOUT_SCOPES)
    again = {
        "requestState": asked.result["requestState"],
        "inputResponses": {"1": accept(count=3)},
    }
    assert await said(desk, asking("insist", **again), WITHOUT_SCOPES) == ("complete", "3")
    assert (await said(desk, asking("insist", **again)))[1].endswith("and a login")


async def test_a_tool_that_is_asked_for_by_a_header_alone_stays_closed():
    """The body decides, whatever the headers name."""
    lines = modern_headers("tools/call", target({"name": "look"}))
    body = request("tools/call", enveloped({"name": "closed"}))
    answer = await post(Desk(), body, lines, ANONYMOUS)
    assert answer.code == (400, -32020)


async def test_handshake_without_version_is_served_alike():
    assert (await handshake(Desk(), "tools/list", principal=ANONYMOUS)).status == 200

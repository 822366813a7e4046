"""Tools that the operator opened, over HTTP: who is served without a token, and how much."""

import asyncio
import json
from contextlib import asynccontextmanager

import postgres
import pytest
import wire
from exchanges import HANDSHAKE, enveloped, modern_headers, request, target
from mcp_client import McpClient
from postgres_proxy import proxy
from serving import Flow, serving

from mcpserve import ToolContext, hookimpl, resource, tool

LIMIT = 3
BAD = {"error": "invalid_token", "error_description": "a bearer token is needed"}
COUNTED = "SELECT coalesce(sum(failures), 0) FROM rate_limits"
AGE = "UPDATE rate_limits SET expires_at = clock_timestamp()"


class Desk:
    """A plugin; what it did."""

    def __init__(self):
        self.ran = []
        self.release = asyncio.Event()

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""

        async def look(ctx: ToolContext) -> str:
            self.ran.append(ctx.principal.client_id)
            return "anonymous" if ctx.principal.anonymous else "known"

        def write() -> str:
            self.ran.append("write")
            return "written"

        @tool(scopes=["desk.admin"])
        def hidden() -> str:
            self.ran.append("hidden")
            return "hidden"

        async def wait(ctx: ToolContext) -> str:
            await ctx.progress(1, 2, "on my way")
            await self.release.wait()
            return "done"

        return [look, write, hidden, wait]

    @hookimpl
    def mcpserve_resources(self):
        """See the hook."""
        return [resource("desk://page", name="page")(lambda: "a page")]


@asynccontextmanager
async def desk_server(dsn, limit=LIMIT, with_user=True, **more):
    """Serve the desk with two open tools."""
    desk = Desk()
    tools = {"look": {"open": True, "aliases": ["seen"]}, "wait": {"open": True}}
    settings = {
        "plugins": {"desk": {"tools": tools}},
        "limits": {"anonymous": {"uses": limit}},
        **more,
    }
    async with serving(dsn, settings, made={"desk": desk}, with_user=with_user) as server:
        yield server, desk


def sender(server, modern=True, **headers):
    """Return what posts in an era, without a token or with these headers."""
    client = McpClient(server, "", modern)

    async def send(method, params=None):
        message = client.message(method, params)
        return await client.post(message, **{"Authorization": None, **headers})

    return send


async def call(server, name, modern=True, **headers):
    """Call a tool without a token, or with these headers."""
    return await sender(server, modern, **headers)("tools/call", {"name": name})


def text(answer):
    """Return what a tool said."""
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]["content"][0]["text"]


def check_challenge(server, answer, error=None):
    """Check that an answer tells how to log in."""
    assert answer.status_code == 401
    metadata = f"{server.services.server.issuer}/.well-known/oauth-protected-resource/mcp"
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.endswith(f'resource_metadata="{metadata}", scope="mcp.tools.call"')
    assert ('error="invalid_token"' in challenge) == bool(error)
    assert answer.json()["error"] == "invalid_token"


eras = pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])


@eras
async def test_without_a_token_open_tools_are_called_and_others_are_401(dsn, modern):
    async with desk_server(dsn) as (server, desk):
        send = sender(server, modern)
        hello = "server/discover" if modern else "initialize"
        params = {
            "protocolVersion": HANDSHAKE,
            "capabilities": {},
            "clientInfo": {"name": "x", "version": "1"},
        }
        assert (await send(hello, None if modern else params)).status_code == 200
        listed = (await send("tools/list")).json()["result"]
        assert [shown["name"] for shown in listed["tools"]] == ["look", "write", "wait"]
        if modern:
            assert listed["cacheScope"] == "private"
        assert text(await call(server, "look", modern)) == "anonymous"
        assert text(await call(server, "seen", modern)) == "anonymous"
        for name in ("write", "hidden", "nothing"):
            answer = await call(server, name, modern)
            check_challenge(server, answer)
            assert answer.json() == BAD
        check_challenge(server, await send("resources/read", {"uri": "desk://page"}))
        check_challenge(server, await send("nope"))
        assert desk.ran == ["", ""]


async def test_without_a_token_a_body_is_small(dsn):
    async with desk_server(dsn) as (server, _):
        client = McpClient(server, (await Flow(server).tokens())["access_token"])
        for size, without, with_token in ((60_000, 200, 200), (70_000, 413, 200)):
            message = client.message("tools/list", {"_meta": {"filling": "x" * size}})
            answer = await client.post(message, Authorization=None)
            assert answer.status_code == without
            assert (await client.post(message)).status_code == with_token


async def test_where_nothing_is_open_nobody_gets_in_without_a_token(dsn):
    desk = Desk()
    async with serving(dsn, made={"desk": desk}) as server:
        for modern in (True, False):
            for method in ("initialize", "server/discover", "ping", "tools/list"):
                check_challenge(server, await sender(server, modern)(method))
            check_challenge(server, await call(server, "look", modern))
    assert desk.ran == []


@pytest.mark.proves("BR-02", "BR-05")
@eras
async def test_a_header_that_is_no_good_token_is_never_taken_for_none(dsn, modern):
    async with desk_server(dsn) as (server, desk):
        tokens = await Flow(server).tokens()
        revoked = await Flow(server).tokens()
        await Flow(server).post("/revoke", token=revoked["refresh_token"])
        dead = {
            "never issued": "Bearer mcps_at_never",
            "revoked": f"Bearer {revoked['access_token']}",
            "a refresh token": f"Bearer {tokens['refresh_token']}",
            "malformed": "Bearer a b",
            "without a token": "Bearer",
        }
        silent = {
            "empty": "",
            "another scheme": "Basic YTpi",
            "no scheme": tokens["access_token"],
        }
        for headers, error in ((dead, True), (silent, False)):
            for header in headers.values():
                for method, params in (("tools/list", None), ("tools/call", {"name": "look"})):
                    send = sender(server, modern, Authorization=header)
                    check_challenge(server, await send(method, params), error)
        postgres.query(
            dsn, "UPDATE oauth_access_tokens SET expires_at = created_at - interval '1s'"
        )
        good = f"Bearer {tokens['access_token']}"
        check_challenge(server, await call(server, "look", modern, Authorization=good), error=True)
        assert desk.ran == []
        assert postgres.query(dsn, COUNTED) == [(0,)]


async def test_two_headers_are_a_bad_request_and_an_empty_one_is_one(dsn):
    async with desk_server(dsn) as (server, desk):
        for lines in (["Authorization: "], ["Authorization: Bearer a", "Authorization: Bearer b"]):
            answer = await raw(server, "look", lines)
            assert answer.status == (401 if len(lines) == 1 else 400)
        assert (await raw(server, "look", [])).status == 200
        assert desk.ran == [""]


async def test_a_foreign_page_uses_nothing_even_of_what_is_open(dsn):
    async with desk_server(dsn) as (server, desk):
        assert (await call(server, "look", Origin="https://evil.example")).status_code == 403
        assert (await call(server, "look", Content_Type="text/plain")).status_code == 415
        assert desk.ran == []


async def raw(server, name, lines):
    """Call a tool with these header lines as they are."""
    params = {"name": name}
    body = json.dumps(request("tools/call", enveloped(params))).encode()
    known = [f"{key}: {value}" for key, value in modern_headers("tools/call", target(params))]
    head = [
        "POST /mcp HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *known,
        *lines,
    ]
    return await wire.send(server.url, "\r\n".join(head).encode() + b"\r\n\r\n" + body)


async def test_a_good_token_calls_what_is_open_whatever_its_scopes(dsn):
    async with desk_server(dsn, limit=1) as (server, desk):
        client = await McpClient.authorized(server, "offline_access")
        for _ in range(3):
            assert text(await client.call("look")) == "known"
        assert (await client.call("write")).status_code == 403
        listed = (await client.post(client.message("tools/list"))).json()["result"]["tools"]
        assert [shown["name"] for shown in listed] == ["look", "wait"]
        assert "write" not in desk.ran


async def test_too_much_use_of_one_network_is_429_and_slows_no_login(dsn):
    behind = {"server": {"trusted_proxies": ["127.0.0.1"]}}
    async with desk_server(dsn, **behind) as (server, desk):
        client = await McpClient.authorized(server)
        for _ in range(5):
            check_challenge(server, await call(server, "write", X_Forwarded_For="192.0.2.1"))
        for name in ("look", "seen", "look"):
            assert text(await call(server, name, X_Forwarded_For="192.0.2.1")) == "anonymous"
        answer = await call(server, "look", X_Forwarded_For="192.0.2.1")
        assert answer.status_code == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 60
        assert answer.json()["error"] == "temporarily_unavailable"
        assert len(desk.ran) == 3
        check_challenge(server, await call(server, "write", X_Forwarded_For="192.0.2.1"))
        listed = await sender(server, X_Forwarded_For="192.0.2.1")("tools/list")
        assert listed.status_code == 200
        assert text(await call(server, "look", X_Forwarded_For="192.0.2.2")) == "anonymous"
        assert text(await client.call("look")) == "known"
        assert text(await client.call("write")) == "written"
        assert "access_token" in await Flow(server).tokens()
        postgres.query(dsn, AGE)
        assert text(await call(server, "look", X_Forwarded_For="192.0.2.1")) == "anonymous"


@pytest.mark.proves("RL-04")
async def test_two_servers_count_together_even_at_once(dsn):
    async with desk_server(dsn) as (one, _), desk_server(dsn, with_user=False) as (two, _):
        calls = [call(server, "look") for server in (one, two) for _ in range(LIMIT)]
        statuses = sorted(answer.status_code for answer in await asyncio.gather(*calls))
        assert statuses == [200] * LIMIT + [429] * LIMIT


@eras
async def test_chatgpt_is_asked_to_log_in_by_a_result(dsn, modern):
    async with desk_server(dsn) as (server, desk):
        chatgpt = {"User-Agent": "openai-mcp/1.0.0"}
        answer = await call(server, "write", modern, **chatgpt)
        assert (answer.status_code, answer.json()["result"]["isError"]) == (200, True)
        (challenge,) = answer.json()["result"]["_meta"]["mcp/www_authenticate"]
        assert challenge.startswith('Bearer error="invalid_token", error_description="')
        assert text(await call(server, "look", modern, **chatgpt)) == "anonymous"
        bad = chatgpt | {"Authorization": "Bearer mcps_at_never"}
        check_challenge(server, await call(server, "write", modern, **bad), error=True)
        assert desk.ran == [""]


async def test_a_stream_without_a_token_lives_beyond_the_check_of_tokens(dsn, monkeypatch):
    monkeypatch.setattr("mcpserve.web.mcp.KEEP_ALIVE", 0.05)
    async with desk_server(dsn) as (server, desk):
        client = McpClient(server, "")
        async with client.calling("wait", "p", Authorization=None) as response:
            lines = response.aiter_lines()
            silences = 0
            async for line in lines:
                silences += line.startswith(": still")
                if silences == 3:
                    desk.release.set()
                    break
            rest = [line async for line in lines]
        assert any('"done"' in line for line in rest)


async def test_the_log_names_no_client_for_nobody(dsn, caplog):
    caplog.set_level("INFO")
    async with desk_server(dsn) as (server, _):
        await call(server, "look")
    (line,) = [record for record in caplog.records if record.getMessage() == "POST /mcp 200"]
    assert not hasattr(line, "client_id")


async def test_what_cannot_be_counted_is_not_served(dsn):
    async with proxy(dsn) as network, desk_server(network.dsn) as (server, desk):
        await network.stop()
        answer = await call(server, "look")
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        check_challenge(server, await call(server, "write"))
        assert (await sender(server)("tools/list")).status_code == 200
        assert desk.ran == []
        await network.start()
        assert text(await call(server, "look")) == "anonymous"

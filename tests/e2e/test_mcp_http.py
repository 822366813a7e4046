"""What ``/mcp`` refuses before it looks at a message, in which order, and with which words."""

import asyncio
import gzip
import json

import pytest
from mcp_client import McpClient, events
from serving import serving

from mcpserve import ToolContext, hookimpl, tool
from mcpserve.tools import CALL_SCOPE

EVIL = "https://evil.example"


class Notes:
    """A plugin with a tool for everybody and one for few."""

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""

        def read() -> str:
            """Read."""
            return "ü"

        @tool(scopes=["notes:write", "notes:all"])
        def write() -> str:
            """Write."""
            return ""

        return [read, write]


class Spy:
    """A plugin that looks for its caller's credentials."""

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""

        def headers(context: ToolContext) -> list[str]:
            """Return the names of all headers that can be reached."""
            return sorted(context.send_progress.__self__.transport.headers)

        return [headers]


@pytest.mark.proves("BR-09")
async def test_no_tool_can_reach_the_token_of_its_caller(dsn):
    async with serving(dsn, made={"spy": Spy()}) as server:
        client = await McpClient.authorized(server)
        answer = (await client.call("headers")).json()
        names = answer["result"]["structuredContent"]["result"]
        assert "content-type" in names
        assert not {"authorization", "cookie"} & set(names)


class Quitter:
    """A plugin that tries to take the request down with it."""

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""

        async def quit_all() -> str:
            """Cancel the task."""
            asyncio.current_task().cancel()
            await asyncio.sleep(0)
            return "unreachable"

        return [quit_all]


async def test_a_tool_that_cancels_its_own_task_has_failed_and_no_more(dsn):
    async with serving(dsn, made={"quitter": Quitter()}) as server:
        client = await McpClient.authorized(server)
        answer = await client.call("quit_all")
        assert (answer.status_code, answer.json()["result"]["isError"]) == (200, True)


def notes(dsn, settings=None):
    """Serve notes."""
    return serving(dsn, settings, made={"notes": Notes()})


@pytest.mark.proves("BR-01", "BR-08")
async def test_whoever_has_no_token_learns_where_to_get_one_and_nothing_else(dsn):
    async with notes(dsn) as server, server.http() as http:
        issuer = server.services.settings.server.issuer
        challenge = (
            f'Bearer resource_metadata="{issuer}/.well-known/oauth-protected-resource/mcp", '
            'scope="mcp.tools.call"'
        )
        for body, headers in [
            (b"{}", {}),
            (b"not JSON", {"Content-Type": "application/json"}),
            (b"<xml/>", {"Content-Type": "text/xml"}),
            (b"{}", {"Accept": "text/html"}),
            (gzip.compress(b"{}"), {"Content-Encoding": "gzip"}),
            (b"x" * 4_000_000, {}),
            (b"", {"MCP-Protocol-Version": "2026-07-28"}),
            (b"{}", {"Authorization": "Basic YTpi"}),
        ]:
            answer = await http.post("/mcp", content=body, headers=headers)
            assert answer.status_code == 401, headers
            assert answer.headers["WWW-Authenticate"] == challenge
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.json()["error"] == "invalid_token"
            assert "Mcp-Session-Id" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD", "PUT", "PATCH", "TRACE", "FROB"])
async def test_other_methods_are_refused_before_anything_else(dsn, method):
    async with notes(dsn) as server, server.http() as http:
        answer = await http.request(method, "/mcp", headers={"Accept": "text/event-stream"})
        assert answer.status_code == 405
        assert sorted(answer.headers["Allow"].split(", ")) == ["OPTIONS", "POST"]
        assert "WWW-Authenticate" not in answer.headers


LOCAL = {
    "http://localhost:{port}": 401,
    "http://127.0.0.1:{port}": 401,
    "http://[::1]:{port}": 401,
    "http://localhost": 403,
    "http://localhost:1": 403,
    "https://localhost:{port}": 403,
    "http://localhost.evil.example:{port}": 403,
    "http://localhost:{port}@evil.example": 403,
    "http://evil.example:{port}": 403,
    "http://0.0.0.0:{port}": 403,
    "http://127.0.0.2:{port}": 403,
    "null": 403,
    "": 403,
    "file://": 403,
    "http://[": 403,
    "http://[::1": 403,
    "http://localhost:99999999": 403,
    "http://localhost:{port}, http://evil.example": 403,
}


@pytest.mark.proves("BR-10")
async def test_a_local_server_takes_local_origins_and_none_else(dsn):
    async with notes(dsn) as server, server.http() as http:
        port = server.url.rpartition(":")[2]
        for origin, status in LOCAL.items():
            answer = await http.post("/mcp", headers={"Origin": origin.format(port=port)})
            assert answer.status_code == status, origin


@pytest.mark.proves("BR-10")
async def test_a_public_server_takes_its_own_origin_and_the_configured_ones(dsn):
    settings = {
        "server": {"public_url": "https://mcp.example.org"},
        "mcp": {"allowed_origins": ["https://app.example.org"]},
        "cors": {"origins": ["https://page.example.org"]},
    }
    async with notes(dsn, settings) as server, server.http() as http:
        for origin, status in {
            "https://mcp.example.org": 401,
            "https://app.example.org": 401,
            "https://page.example.org": 401,
            "https://app.example.org:443": 403,
            "https://APP.example.org": 403,
            "http://app.example.org": 403,
            "https://example.org": 403,
            "http://localhost": 403,
            server.url: 403,
            "null": 403,
        }.items():
            answer = await http.post("/mcp", headers={"Origin": origin})
            assert answer.status_code == status, origin


@pytest.mark.proves("BR-10")
async def test_the_origin_counts_for_every_method_and_comes_before_the_token(dsn):
    async with notes(dsn) as server, server.http() as http:
        for method in ("POST", "GET", "DELETE", "OPTIONS"):
            answer = await http.request(method, "/mcp", headers={"Origin": EVIL})
            assert answer.status_code == 403
            assert answer.json()["error"] == "invalid_request"
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert "WWW-Authenticate" not in answer.headers


@pytest.mark.proves("BR-10")
async def test_dns_rebinding_is_refused(dsn):
    # As the conformance suite does it: a name of somebody else's that leads to this machine.
    async with notes(dsn) as server, server.http() as http:
        port = server.url.rpartition(":")[2]
        for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "0.0.0.0"):
            for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
                answer = await http.post("/mcp", headers=headers)
                assert answer.status_code == 421, headers
        for host in ("localhost", f"localhost:{port}", "127.0.0.1", f"[::1]:{port}", "LOCALHOST"):
            assert (await http.post("/mcp", headers={"Host": host})).status_code == 401, host


@pytest.mark.proves("BR-10")
async def test_a_public_server_goes_by_its_public_and_configured_names(dsn):
    settings = {
        "server": {"public_url": "https://mcp.example.org"},
        "mcp": {"allowed_hosts": ["mcp.internal:8080"]},
    }
    async with notes(dsn, settings) as server, server.http() as http:
        for host, status in {
            "mcp.example.org": 401,
            "MCP.example.org": 401,
            "mcp.internal:8080": 401,
            "mcp.internal": 421,
            "mcp.example.org:8080": 421,
            "example.org": 421,
        }.items():
            answer = await http.post("/mcp", headers={"Host": host})
            assert answer.status_code == status, host


async def test_the_body_must_be_json_that_is_not_compressed(dsn):
    async with notes(dsn) as server:
        client = await McpClient.authorized(server)
        ping = client.in_era(modern=False).message("ping")
        for media_type, status in {
            "application/json": 200,
            "application/json; charset=utf-8": 200,
            "APPLICATION/JSON": 200,
            "text/plain": 415,
            "application/x-www-form-urlencoded": 415,
            "application/json-seq": 415,
            "": 415,
        }.items():
            answer = await client.in_era(modern=False).post(ping, Content_Type=media_type)
            assert answer.status_code == status, media_type
        assert (await client.post(ping, Content_Type=None)).status_code == 415
        for encoding in ("gzip", "br", "deflate, gzip"):
            answer = await client.post(ping, Content_Encoding=encoding)
            assert answer.status_code == 415


async def test_an_answer_has_a_form_that_the_client_takes(dsn):
    async with notes(dsn) as server:
        client = (await McpClient.authorized(server)).in_era(modern=False)
        for accept, form in {
            "application/json, text/event-stream": "application/json",
            "text/event-stream, application/json;q=0.5": "application/json",
            "application/json": "application/json",
            "Application/JSON": "application/json",
            "application/*": "application/json",
            "*/*": "application/json",
            "": "application/json",
            "text/event-stream": "text/event-stream",
        }.items():
            answer = await client.post(client.message("ping"), Accept=accept)
            assert answer.status_code == 200, accept
            assert answer.headers["Content-Type"] == form, accept
        assert events(answer) == [{"jsonrpc": "2.0", "id": 1, "result": {}}]
        for accept in ("text/html", "image/*", "application/xml, text/plain"):
            answer = await client.post(client.message("ping"), Accept=accept)
            assert answer.status_code == 406, accept


async def test_a_body_above_the_limit_is_refused_however_it_is_announced(dsn):
    async with notes(dsn, {"mcp": {"max_body": 1024}}) as server, server.http() as http:
        client = (await McpClient.authorized(server)).in_era(modern=False)
        ping = json.dumps(client.message("ping")).encode()
        headers = client.headers(client.message("ping"))

        async def in_pieces(body):
            for start in range(0, len(body), 100):
                yield body[start : start + 100]

        for size, status in {1024: 200, 1025: 413, 2048: 413}.items():
            body = ping.ljust(size)
            answer = await http.post("/mcp", content=body, headers=headers)
            assert answer.status_code == status, size
            answer = await http.post("/mcp", content=in_pieces(body), headers=headers)
            assert answer.status_code == status, f"{size} in pieces"


async def test_json_is_ascii_and_says_no_more_than_it_must(dsn):
    async with notes(dsn) as server:
        answer = await (await McpClient.authorized(server)).call("read")
        assert answer.status_code == 200
        assert answer.content.isascii()
        assert answer.json()["result"]["structuredContent"] == {"result": "ü"}
        assert {"Server", "Mcp-Session-Id", "Set-Cookie"}.isdisjoint(answer.headers)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.proves("BR-03")
async def test_a_missing_scope_is_told_before_any_stream_begins(dsn):
    async with notes(dsn) as server:
        issuer = server.services.settings.server.issuer
        for modern in (True, False):
            client = (await McpClient.authorized(server, CALL_SCOPE)).in_era(modern)
            answer = await client.call("write", "progress")
            assert answer.status_code == 403
            assert answer.headers["Content-Type"].startswith("application/json")
            assert answer.headers["WWW-Authenticate"] == (
                'Bearer error="insufficient_scope", '
                'error_description="the token lacks a scope that this tool needs", '
                f'resource_metadata="{issuer}/.well-known/oauth-protected-resource/mcp", '
                'scope="mcp.tools.call notes:all notes:write"'
            )
            scope = "mcp.tools.call notes:all notes:write"
            wider = (await McpClient.authorized(server, scope)).in_era(modern)
            assert (await wider.call("write")).status_code == 200


async def test_status_codes_of_the_protocol_reach_the_client(dsn):
    async with notes(dsn) as server:
        modern = await McpClient.authorized(server)
        handshake = modern.in_era(modern=False)
        assert (await modern.post(modern.message("nope"))).status_code == 404
        assert (await handshake.post(handshake.message("nope"))).status_code == 200
        assert (await modern.call("nope")).status_code == 400
        assert (await modern.post(modern.message("tools/list"), Mcp_Method=None)).status_code == 400
        accepted = await handshake.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert (accepted.status_code, accepted.content) == (202, b"")


@pytest.mark.proves("TR-16")
async def test_a_page_of_a_configured_origin_may_read_answers_and_challenges(dsn):
    page = "https://page.example.org"
    async with notes(dsn, {"cors": {"origins": [page]}}) as server, server.http() as http:
        asked = {
            "Origin": page,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, mcp-param-region, x-evil",
        }
        preflight = await http.options("/mcp", headers=asked)
        assert preflight.status_code == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == page
        assert preflight.headers["Access-Control-Allow-Methods"] == "POST"
        allowed = preflight.headers["Access-Control-Allow-Headers"].lower().split(", ")
        assert {"authorization", "content-type", "mcp-protocol-version", "mcp-method"} <= {*allowed}
        assert "mcp-param-region" in allowed
        assert "x-evil" not in allowed
        assert "Origin" in preflight.headers["Vary"]
        refused = await http.post("/mcp", headers={"Origin": page})
        assert refused.status_code == 401
        assert refused.headers["Access-Control-Allow-Origin"] == page
        assert refused.headers["Access-Control-Expose-Headers"] == "WWW-Authenticate"
        for answer in (preflight, refused):
            assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.proves("TR-16")
async def test_an_origin_that_may_only_call_reads_nothing(dsn):
    page = "https://page.example.org"
    async with notes(dsn, {"mcp": {"allowed_origins": [page]}}) as server, server.http() as http:
        for method in ("OPTIONS", "POST"):
            answer = await http.request(method, "/mcp", headers={"Origin": page})
            assert answer.status_code in {204, 401}
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert "Access-Control-Allow-Headers" not in answer.headers

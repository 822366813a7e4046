"""mcp-remote: a host that knows only local servers reaches ours through it."""

import asyncio
import json

import postgres
import pytest
from blackbox.foreign import (
    AUTHORIZE,
    DESKTOP_CLIENT,
    DOCUMENT,
    believing,
    find,
    finish,
    running,
    visit,
)
from e2e.process import PATIENCE, free_port

INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "host", "version": "1"},
}
CALL = {"name": "calculator", "arguments": {"expression": "6 * 7"}}
STATIC = ["--static-oauth-client-info", json.dumps({"client_id": DESKTOP_CLIENT})]
WAYS = {
    "configured": [*STATIC, "--protocol", "auto"],
    "registers itself": [],
}


async def call(remote, person=None):
    """Be the host: connect, call a tool, return its answer; and the person, if it asks for one."""

    async def request(number, method, params):
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        remote.stdin.write(json.dumps(message).encode() + b"\n")
        answer = json.loads(await remote.stdout.readline())
        assert answer["id"] == number
        return answer["result"]

    async with asyncio.timeout(PATIENCE):
        greeting = asyncio.create_task(request(1, "initialize", INITIALIZE))
        if person is not None:
            await person(await find(remote.stderr, AUTHORIZE))
        assert (await greeting)["serverInfo"]["name"] == "mcpserve"
        return (await request(2, "tools/call", CALL))["structuredContent"]["value"]


@pytest.fixture
def connect_twice(npm, tmp_path):
    """Let it call a tool, with the person's help, and again without."""

    async def connect_twice(server, *options):
        program = npm / "node_modules" / "mcp-remote" / "dist" / "proxy.js"
        command = ["node", program, server.resource, free_port(), *options]
        # What opens a browser is told to open nothing; the address is in the log, too.
        env = {"MCP_REMOTE_CONFIG_DIR": str(tmp_path), "BROWSER": "true"}
        async with running(*command, **env) as remote:
            assert await call(remote, visit) == 42
            await finish(remote)
        async with running(*command, **env) as remote:
            assert await call(remote) == 42
            _, log = await finish(remote)
        assert not AUTHORIZE.search(log)

    return connect_twice


@pytest.mark.parametrize("way", WAYS)
async def test_mcp_remote_asks_once_and_remembers(connect_twice, server, way):
    await connect_twice(server, *WAYS[way])


async def test_mcp_remote_is_known_by_its_document(connect_twice, dsn, authority):
    async with believing(dsn, authority) as server:
        await connect_twice(server, "--client-metadata-url", DOCUMENT)
        [grant] = postgres.query(dsn, "SELECT client_id FROM mcp_sessions")
    assert grant == (DOCUMENT,)

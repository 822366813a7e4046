"""Calls that their client cancels while they report progress.

In the modern era it hangs up, which stops the tool. In the handshake era hanging up means nothing,
and the notification may reach any process of a server without sessions: the tool ends by itself,
and nobody listens (MCP 2025-11-25, cancellation).
"""

import anyio
import pytest
from blackbox.foreign import running, talk
from e2e.test_official_client import VERSIONS
from e2e.workshop import Other, Workshop, happens
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from serving import Flow, serving

from mcpserve.bound import Outcome

HOSTS = {"v1": ("v1", "legacy"), "v2": ("v2", "legacy"), "v2-2026": ("v2", "auto")}


def serve(dsn, workshop):
    """Serve a workshop."""
    return serving(dsn, made={"workshop": workshop, "other": Other()})


async def check_end(workshop, modern):
    """Check how the cancelled tool ended."""
    if modern:
        await happens(workshop.ended)
    assert workshop.outcomes == ([("build", Outcome.CANCELLED)] if modern else [])
    workshop.release.set()
    await happens(workshop.ended)
    assert workshop.outcomes == [("build", Outcome.CANCELLED if modern else Outcome.OK)]


@pytest.mark.parametrize("host", HOSTS)
async def test_the_typescript_sdk_cancels_a_call(npm, dsn, host):
    version, mode = HOSTS[host]
    workshop = Workshop()
    async with serve(dsn, workshop) as server:
        token = (await Flow(server).tokens())["access_token"]
        told = {"version": version, "mode": mode, "resource": server.resource, "token": token}
        seen = await talk("node", npm / "cancelling.mjs", told)
        await check_end(workshop, mode == "auto")
    notified = [] if mode == "auto" else ["notifications/cancelled 202"]
    assert seen == {"progress": [1], "error": True, "told": notified, "then": "here"}


@pytest.mark.parametrize("mode", VERSIONS)
async def test_the_python_sdk_cancels_a_call(dsn, mode):
    workshop = Workshop()
    progress = []
    async with serve(dsn, workshop) as server:
        token = (await Flow(server).tokens())["access_token"]
        async with create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http:
            transport = streamable_http_client(server.resource, http_client=http)
            async with Client(transport, mode=mode) as client:
                with anyio.CancelScope() as scope:

                    async def progressed(done, total, message):
                        progress.append(done)
                        scope.cancel()

                    await client.call_tool("build", progress_callback=progressed)
                assert scope.cancelled_caught
                assert (await client.call_tool("quick")).content[0].text == "here"
                await check_end(workshop, mode == "auto")
    assert progress == [1]


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_the_inspector_is_interrupted(npm, dsn, tmp_path, era):
    program = npm / "node_modules" / ".bin" / "mcp-inspector"
    workshop = Workshop()
    async with serve(dsn, workshop) as server:
        token = (await Flow(server).tokens())["access_token"]
        options = ["--protocol-era", era, "--header", f"Authorization: Bearer {token}"]
        options += ["--method", "tools/call", "--tool-name", "build"]
        env = {"MCP_STORAGE_DIR": str(tmp_path), "MCP_INSPECTOR_SECRET_STORE": "file"}
        command = ["node", program, "--cli", server.resource, *options]
        async with running(*command, **env) as inspector:
            await happens(workshop.started)
            inspector.terminate()
            await inspector.wait()
        # What happened on one connection is seen before a later request on another.
        assert (await Flow(server).call_mcp(token)).status_code == 200
        await check_end(workshop, era == "modern")

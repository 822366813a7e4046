"""The MCP Inspector's command line: with a token, and going through the browser itself."""

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
from e2e.process import free_port
from serving import Flow, serving

from mcpserve import ToolContext, hookimpl

CALL = ["--method", "tools/call", "--tool-name", "calculator", "--tool-arg", "expression=6*7"]
ERAS = ["legacy", "modern"]
SPOKEN = {"legacy": "2025-11-25", "auto": "2026-07-28", "modern": "2026-07-28"}
WAYS = {"configured": ["--client-id", DESKTOP_CLIENT], "registers itself": []}


@pytest.fixture
def inspect(npm, tmp_path):
    """Let it call a tool with these options, and return the answer."""
    program = npm / "node_modules" / ".bin" / "mcp-inspector"
    env = {
        "MCP_STORAGE_DIR": str(tmp_path),
        "MCP_INSPECTOR_SECRET_STORE": "file",
        # Nobody is at a terminal, so it must be told that it may ask, and what opens a browser
        # to open nothing; the address is printed, too.
        "MCP_AUTO_OPEN_ENABLED": "true",
        "BROWSER": "true",
    }

    async def inspect(server, *options, asks=False):
        command = ["node", program, "--cli", server.resource, *CALL, "--format", "json"]
        async with running(*command, *options, **env) as inspector:
            if asks:
                await visit(await find(inspector.stderr, AUTHORIZE))
            output, errors = await finish(inspector)
        assert not AUTHORIZE.search(errors)
        return json.loads(output)["result"]["structuredContent"]["value"]

    return inspect


@pytest.mark.parametrize("era", ERAS)
async def test_the_inspector_calls_a_tool_with_a_token(inspect, server, era):
    token = (await Flow(server).tokens())["access_token"]
    header = f"Authorization: Bearer {token}"
    assert await inspect(server, "--protocol-era", era, "--header", header) == 42


@pytest.mark.parametrize("way", WAYS)
async def test_the_inspector_asks_once_and_remembers(inspect, server, way):
    options = [*WAYS[way], "--callback-url", f"http://127.0.0.1:{free_port()}/oauth/callback"]
    assert await inspect(server, *options, asks=True) == 42
    assert await inspect(server, *options) == 42


async def test_the_inspector_is_known_by_its_document(inspect, dsn, authority):
    options = ["--callback-url", f"http://127.0.0.1:{free_port()}/oauth/callback"]
    async with believing(dsn, authority) as server:
        assert await inspect(server, *options, "--client-metadata-url", DOCUMENT, asks=True) == 42
        [grant] = postgres.query(dsn, "SELECT client_id FROM mcp_sessions")
    assert grant == (DOCUMENT,)


class Witness:
    """A plugin that tells how it is called."""

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""

        async def witness(ctx: ToolContext) -> dict[str, str]:
            """Report, and return what the request said of itself."""
            await ctx.progress(1, 2, "half")
            dispatch = ctx.send_progress.__self__
            headers = dispatch.transport.headers
            return {"spoken": headers["mcp-protocol-version"], "token": dispatch.progress_token}

        return [witness]


@pytest.mark.parametrize("era", SPOKEN)
async def test_the_inspector_speaks_the_newest_version_of_an_era_and_reads_a_stream(
    npm, dsn, tmp_path, era
):
    program = npm / "node_modules" / ".bin" / "mcp-inspector"
    async with serving(dsn, made={"witness": Witness()}) as server:
        token = (await Flow(server).tokens())["access_token"]
        options = ["--protocol-era", era, "--header", f"Authorization: Bearer {token}"]
        options += ["--method", "tools/call", "--tool-name", "witness"]
        options += ["--tool-metadata", "progressToken=t", "--format", "json"]
        env = {"MCP_STORAGE_DIR": str(tmp_path), "MCP_INSPECTOR_SECRET_STORE": "file"}
        async with running("node", program, "--cli", server.resource, *options, **env) as inspector:
            output, _ = await finish(inspector)
    called = json.loads(output)["result"]["structuredContent"]
    assert called == {"spoken": SPOKEN[era], "token": "t"}


async def test_the_inspector_cannot_be_told_to_speak_an_older_version(npm):
    program = npm / "node_modules" / ".bin" / "mcp-inspector"
    options = ["--cli", "http://localhost/mcp", "--method", "tools/list"]
    async with running("node", program, *options, "--protocol-era", "2025-06-18") as inspector:
        _, errors = await inspector.communicate(b"")
    assert b"Valid eras are: legacy, auto, modern" in errors

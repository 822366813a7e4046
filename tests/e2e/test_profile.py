"""The profile tool on a real server: it tells what the person allowed, from the users table."""

import pytest
from e2e.process import configure, invoke
from e2e.test_official_client import VERSIONS
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_client import McpClient
from serving import USER, Flow, serving

from mcpserve.oauth import users
from mcpserve.oauth.store import users as user_store

ADDRESS = "alice@example.org"
PLUGIN = {"plugins": {"profile": {}}}


async def told(server, scope):
    """Return what the tool answers for a grant with these scopes."""
    client = await McpClient.authorized(server, scope)
    return (await client.call("get_profile")).json()["result"]["structuredContent"]


@pytest.mark.parametrize("mode", VERSIONS)
async def test_the_official_client_is_told_whose_connection_it_is(dsn, mode):
    async with serving(dsn, PLUGIN) as server:
        await users.set_email(server.db, USER, ADDRESS, verified=True)
        token = (await Flow(server).tokens(scope="openid profile email"))["access_token"]
        async with create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http:
            transport = streamable_http_client(server.mcp_url, http_client=http)
            async with Client(transport, mode=mode) as client:
                tools = {tool.name: tool for tool in (await client.list_tools()).tools}
                assert tools["get_profile"].meta["openai/profile"] is True
                # It checks the answer against the tool's schema.
                result = await client.call_tool("get_profile", {})
        user = await user_store.find(server.db, USER)
    assert result.structured_content == {"id": user.id, "name": USER, "email": ADDRESS}


async def test_name_and_address_are_told_only_with_their_scopes(dsn):
    async with serving(dsn, PLUGIN) as server:
        await users.set_email(server.db, USER, ADDRESS, verified=True)
        account = {"id": (await user_store.find(server.db, USER)).id}
        assert await told(server, "mcp.tools.call") == account
        assert await told(server, "profile mcp.tools.call") == account | {"name": USER}
        assert await told(server, "email mcp.tools.call") == account | {"email": ADDRESS}
        await users.set_email(server.db, USER, ADDRESS, verified=False)
        assert await told(server, "email mcp.tools.call") == account


async def test_the_operator_may_insist_on_a_name(dsn):
    insisting = {"plugins": {"profile": {"scopes": ["profile"]}}}
    async with serving(dsn, insisting) as server:
        client = await McpClient.authorized(server)
        refused = await client.call("get_profile")
        assert refused.status_code == 403
        assert "profile" in refused.headers["WWW-Authenticate"]


async def test_it_is_off_unless_it_is_listed(dsn):
    async with serving(dsn) as server:
        assert "get_profile" not in [
            bound.offer.name for bound in server.services.plugins.registry.tools
        ]


async def test_people_are_looked_up_for_tools_that_ask_and_for_no_others(dsn):
    async with serving(dsn, {"plugins": {"profile": {}, "calculator": {}}}) as server:
        client = await McpClient.authorized(server)
        await server.db.execute("ALTER TABLE users RENAME TO people")
        called = (await client.call("calculator", expression="1")).json()["result"]
        asked = (await client.call("get_profile")).json()["result"]
    assert (called["isError"], asked["isError"]) == (False, True)


def test_the_command_line_calls_it_as_the_operator(tmp_path):
    called = invoke(configure(tmp_path, **PLUGIN), "call", "get_profile")
    assert (called.exit_code, called.stderr) == (0, "")
    assert '"name": "operator"' in called.stdout

"""From the first redirect to a tool's answer, and back out again."""

import pytest
from serving import Flow, serving


async def test_a_person_approves_and_the_client_calls_a_tool(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        tokens = await flow.tokens()
        assert tokens["token_type"] == "Bearer"
        assert tokens["scope"] == "mcp.tools.call"
        assert (await flow.call_mcp(tokens["access_token"])).json()["result"] == {}


@pytest.mark.proves("RF-02")
async def test_a_refresh_replaces_the_pair(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        first = await flow.tokens()
        second = (await flow.refresh(first["refresh_token"])).json()
        assert second["refresh_token"] != first["refresh_token"]
        assert (await flow.call_mcp(second["access_token"])).status_code == 200


@pytest.mark.proves("RV-01", "RV-04")
async def test_revoking_the_refresh_token_ends_everything(dsn):
    async with serving(dsn) as server:
        flow = Flow(server).confidential()
        tokens = await flow.tokens()
        revoked = await flow.post("/revoke", token=tokens["refresh_token"])
        assert (revoked.status_code, revoked.content) == (200, b"")
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 401
        assert (await flow.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"

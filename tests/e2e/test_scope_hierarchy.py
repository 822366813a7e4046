"""A broad scope opens what the narrow ones that it includes open, and is stored as it is."""

import notebook
import pytest
from mcp_client import McpClient
from serving import Flow, serving

MADE = {"notebook": notebook}
SETTINGS = {
    "oauth": {
        "scopes": {"admin": "Everything", "notes.write": "Write notes"},
        "scope_implies": {
            "admin": ["notes.write", "mcp.tools.call"],
            "notes.write": ["notes.read"],
        },
    },
    "plugins": {"notebook": {"scopes": ["notes.read"]}},
}
LISTS = {
    "tools/list": "tools",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "prompts/list": "prompts",
}
USES = [
    ("tools/call", {"name": "find", "arguments": {"text": "Milk"}}),
    ("resources/read", {"uri": "note://work/plan"}),
]


async def post(client, method, params=None):
    """Send a request and return status and result."""
    answer = await client.post(client.message(method, params))
    return answer.status_code, answer.json().get("result")


@pytest.mark.parametrize("modern", [True, False])
async def test_what_is_included_is_seen_and_used(dsn, modern):
    async with serving(dsn, SETTINGS, made=MADE) as server:
        narrow = (await McpClient.authorized(server, "mcp.tools.call")).in_era(modern)
        halfway = (await McpClient.authorized(server, "notes.write")).in_era(modern)
        broad = (await McpClient.authorized(server, "admin")).in_era(modern)
        for method, member in LISTS.items():
            for client, sees in ((narrow, False), (halfway, False), (broad, True)):
                status, result = await post(client, method)
                assert (status, bool(result[member])) == (200, sees), method
        for method, params in USES:
            for client in (narrow, halfway):
                assert (await post(client, method, params))[0] == 403
            assert (await post(broad, method, params))[0] == 200


async def test_what_is_included_is_neither_granted_nor_told(dsn):
    async with serving(dsn, SETTINGS, made=MADE) as server:
        flow = Flow(server)
        tokens = await flow.tokens(scope="admin")
        assert tokens["scope"] == "admin"
        assert (await flow.refresh(tokens["refresh_token"])).json()["scope"] == "admin"
        for table in ("mcp_sessions", "oauth_access_tokens"):
            rows = await server.db.rows(f"SELECT scopes FROM {table}")
            assert {tuple(row.scopes) for row in rows} == {("admin",)}

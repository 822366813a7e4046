"""A plugin of notes: its tools tell what they did, and their badges differ."""

from types import ModuleType
from typing import Any

from serving import Flow, Running

from mcpserve import ToolAnnotations, hookimpl, tool

HINTS = {
    "look": ToolAnnotations(read_only_hint=True, title="Look"),
    "add": ToolAnnotations(read_only_hint=False, destructive_hint=False),
    "wipe": None,
}


def notes(*names: str) -> dict[str, ModuleType]:
    """Return it with these tools, by default with all that have badges, as ``serving`` takes it."""
    made = [
        tool(name=name, annotations=HINTS.get(name))(lambda name=name: f"did {name}")
        for name in names or HINTS
    ]
    plugin = ModuleType("notes")
    plugin.mcpserve_tools = hookimpl(lambda: made)  # type: ignore[attr-defined]
    return {"notes": plugin}


async def listed(server: Running, token: str) -> set[str]:
    """Return the tools that a client sees."""
    answer = await Flow(server).call_mcp(token, "tools/list")
    return {shown["name"] for shown in answer.json()["result"]["tools"]}


async def call(server: Running, token: str, name: str) -> Any:
    """Call a tool; return what it says, and whether that is an error."""
    answer = await Flow(server).call_mcp(token, "tools/call", {"name": name})
    assert answer.status_code == 200
    result = answer.json()["result"]
    return result["content"][0]["text"], result["isError"]


async def withheld(server: Running) -> list[set[str]]:
    """Return what each grant withholds, the oldest first."""
    rows = await server.db.rows("SELECT withheld_tools FROM mcp_sessions ORDER BY created_at")
    return [set(row.withheld_tools) for row in rows]

"""Hints and ``securitySchemes``: what a client is told before it calls a tool."""

import functools

import jsonschema
import mcp_types
import pytest
from exchanges import CALLER, exchange, handshake, modern
from mcp_types import methods
from pydantic import TypeAdapter

from mcpserve import Principal, ToolAnnotations, tool
from mcpserve.tools import CALL_SCOPE

VERSIONS = {
    "2026-07-28": modern,
    **{
        version: functools.partial(handshake, version=version)
        for version in ("2025-11-25", "2025-06-18", "2025-03-26")
    },
}
ADMIN = Principal("client", "user", CALLER.scopes | {"files.write"})

every_version = pytest.mark.parametrize("version", VERSIONS)


@tool(scopes=["files.write"], title="Write", meta={"org.example/x": 1, "securitySchemes": "mine"})
def write() -> str:
    """Need more than others."""
    return "written"


def plain() -> str:
    """Say nothing of itself."""
    return ""


async def listed(send, *tools):
    """Return the list as somebody sees it who may call everything."""
    return (await send(exchange(*tools), "tools/list", principal=ADMIN)).result


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, (False, True, True)),
        ({"title": "T", "idempotent_hint": True}, (False, True, True)),
        ({"read_only_hint": False}, (False, True, True)),
        ({"read_only_hint": True}, (True, False, True)),
        ({"read_only_hint": True, "destructive_hint": True}, (True, True, True)),
        ({"destructive_hint": False}, (False, False, True)),
        ({"open_world_hint": False}, (False, True, False)),
    ],
)
@every_version
async def test_what_an_author_does_not_say_is_told_as_the_worst(version, said, told):
    made = tool(annotations=ToolAnnotations(**said) if said else None)(plain)
    (shown,) = (await listed(VERSIONS[version], made))["tools"]
    hints = shown["annotations"]
    assert (hints["readOnlyHint"], hints["destructiveHint"], hints["openWorldHint"]) == told
    assert hints.get("title") == said.get("title")
    assert hints.get("idempotentHint") == said.get("idempotent_hint")


@every_version
async def test_each_tool_tells_all_scopes_of_a_call_twice(version):
    free, guarded = (await listed(VERSIONS[version], plain, write))["tools"]
    assert free["securitySchemes"] == [{"type": "oauth2", "scopes": [CALL_SCOPE]}]
    expected = [{"type": "oauth2", "scopes": ["files.write", CALL_SCOPE]}]
    assert guarded["securitySchemes"] == expected
    assert guarded["_meta"] == {"org.example/x": 1, "securitySchemes": expected}


@every_version
async def test_the_list_is_good_by_the_protocols_own_schema(version):
    result = await listed(VERSIONS[version], plain, write)
    surface = methods.SERVER_RESULTS["tools/list", version]
    schema = TypeAdapter(surface).json_schema(by_alias=True)
    jsonschema.validate(result, schema)
    assert methods.serialize_server_result("tools/list", version, result)["tools"]


@every_version
async def test_the_official_types_read_the_list(version):
    read = mcp_types.ListToolsResult.model_validate(await listed(VERSIONS[version], write))
    assert read.tools[0].meta["securitySchemes"][0]["scopes"] == ["files.write", CALL_SCOPE]


async def test_schemes_do_not_stick_to_a_tool_that_two_servers_share():
    await listed(modern, write)
    assert write.definition.meta == {"org.example/x": 1, "securitySchemes": "mine"}

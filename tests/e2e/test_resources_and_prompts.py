"""Resources and prompts over HTTP: the official client in both eras, scopes and streams."""

import base64
import json
from contextlib import asynccontextmanager

import notebook
import pytest
from mcp import MCPError
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_client import McpClient, events
from mcp_types import PromptReference, ResourceTemplateReference
from serving import Flow, serving

MADE = {"notebook": notebook}
ALL_SCOPES = "mcp.tools.call diary"
eras = pytest.mark.parametrize("mode", ["auto", "legacy"])
both = pytest.mark.parametrize("modern", [True, False])
NOTE = ResourceTemplateReference(uri="note://{folder}/{name}")


@asynccontextmanager
async def connected(dsn, mode, scope=None):
    """Connect the official client, with a token of these scopes."""
    async with serving(dsn, made=MADE) as server:
        tokens = await Flow(server).tokens(scope=scope)
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        async with create_mcp_http_client(headers=headers) as http:
            transport = streamable_http_client(server.resource, http_client=http)
            async with Client(transport, mode=mode) as client:
                yield client


@eras
async def test_a_client_finds_and_reads_resources(dsn, mode):
    async with connected(dsn, mode, ALL_SCOPES) as client:
        assert client.server_capabilities.resources is not None
        listed = (await client.list_resources()).resources
        assert [each.uri for each in listed] == ["note://index", "note://logo", "note://diary"]
        assert (listed[0].size, listed[0].annotations.audience) == (3, ["assistant"])
        (template,) = (await client.list_resource_templates()).resource_templates
        assert (template.uri_template, template.title) == ("note://{folder}/{name}", "Note")

        (note,) = (await client.read_resource("note://work/plan")).contents
        assert (note.text, note.mime_type) == ("Rest.", "text/markdown")
        (index,) = (await client.read_resource("note://index")).contents
        assert json.loads(index.text)["work/plan"] == 5
        (logo,) = (await client.read_resource("note://logo")).contents
        assert base64.b64decode(logo.blob) == notebook.PIXEL

        with pytest.raises(MCPError, match="no such note: note://work/nothing") as caught:
            await client.read_resource("note://work/nothing")
        assert caught.value.error.data == {"uri": "note://work/nothing"}
        assert caught.value.error.code == (-32602 if mode == "auto" else -32002)


@eras
async def test_a_client_finds_and_gets_prompts(dsn, mode):
    async with connected(dsn, mode, ALL_SCOPES) as client:
        listed = (await client.list_prompts()).prompts
        assert [each.name for each in listed] == ["summarize", "discuss"]
        shown = await client.get_prompt("summarize", {"folder": "work", "style": "long"})
        assert shown.messages[0].content.text == "Write a long summary of work."
        shown = await client.get_prompt("discuss", {"name": "Ada"})
        assert [each.role for each in shown.messages] == ["user", "assistant", "user"]
        assert shown.messages[2].content.resource.text == "Dear public-client"
        with pytest.raises(MCPError, match="folder: Field required") as caught:
            await client.get_prompt("summarize", {})
        assert caught.value.error.code == -32602


@eras
async def test_a_client_completes_arguments(dsn, mode):
    async with connected(dsn, mode) as client:
        argument = {"name": "folder", "value": "h"}
        assert (await client.complete(NOTE, argument)).completion.values == ["home"]
        found = await client.complete(
            NOTE, {"name": "name", "value": ""}, context_arguments={"folder": "home"}
        )
        assert found.completion.values == ["list", "song"]
        summarize = PromptReference(name="summarize")
        found = await client.complete(summarize, {"name": "style", "value": "S"})
        assert (found.completion.values, found.completion.has_more) == (["short"], False)


@eras
async def test_a_link_from_a_tool_leads_to_a_resource(dsn, mode):
    async with connected(dsn, mode) as client:
        text, link = (await client.call_tool("find", {"text": "Milk"})).content
        assert text.text == "1 found"
        (note,) = (await client.read_resource(link.uri)).contents
        assert note.text == "Milk."


@eras
async def test_what_a_token_may_not_use_is_not_listed(dsn, mode):
    async with connected(dsn, mode) as client:
        listed = (await client.list_resources()).resources
        assert [each.uri for each in listed] == ["note://index", "note://logo"]
        assert [each.name for each in (await client.list_prompts()).prompts] == ["summarize"]


DISCUSS = {"type": "ref/prompt", "name": "discuss"}


@both
async def test_using_it_anyway_is_403_with_all_scopes_in_one_challenge(dsn, modern):
    async with serving(dsn, made=MADE) as server:
        client = (await McpClient.authorized(server)).in_era(modern)
        for method, params in [
            ("resources/read", {"uri": "note://diary"}),
            ("prompts/get", {"name": "discuss", "arguments": {"name": "Ada"}}),
            ("completion/complete", {"ref": DISCUSS, "argument": {"name": "name", "value": ""}}),
        ]:
            answer = await client.post(client.message(method, params, progress_token=1))
            assert answer.status_code == 403
            (challenge,) = answer.headers.get_list("WWW-Authenticate")
            assert 'error="insufficient_scope"' in challenge
            assert 'scope="diary mcp.tools.call"' in challenge


@both
async def test_reading_with_progress_is_a_stream(dsn, modern):
    async with serving(dsn, made=MADE) as server:
        client = (await McpClient.authorized(server)).in_era(modern)
        message = client.message("resources/read", {"uri": "note://work/plan"}, progress_token=7)
        progress, reply = events(await client.post(message))
        assert progress["params"]["message"] == "found"
        assert reply["result"]["contents"][0]["text"] == "Rest."


async def test_a_server_without_any_declares_none(dsn):
    async with serving(dsn) as server:
        client = await McpClient.authorized(server)
        found = (await client.post(client.message("server/discover"))).json()["result"]
        assert not {"resources", "prompts", "completions"} & set(found["capabilities"])
        answer = await client.post(client.message("resources/list"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, -32601)


async def test_the_operator_decides_about_them_by_name(dsn):
    decided = {
        "timeout": "20s",
        "resources": {"logo": {"enabled": False}, "index": {"scopes": ["diary"], "timeout": "1s"}},
        "prompts": {"summarize": {"enabled": False}},
    }
    async with serving(dsn, {"plugins": {"notebook": decided}}, made=MADE) as server:
        registry = server.services.plugins.registry
        assert [bound.offer.name for bound in registry.resources] == ["note", "index", "diary"]
        assert [bound.offer.name for bound in registry.prompts] == ["discuss"]
        assert [bound.timeout for bound in registry.resources] == [20, 1, 20]
        client = await McpClient.authorized(server)
        answer = await client.post(client.message("resources/read", {"uri": "note://index"}))
        assert answer.status_code == 403

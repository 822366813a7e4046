"""What plugins offer, as the official clients list, read, get, complete, call and answer it."""

import json

import postgres
import pytest
from blackbox.foreign import finish, running, talk
from conformance import suite
from e2e.test_official_client import VERSIONS
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult, PromptReference
from serving import Flow

TOOL = "test_input_required_result_multi_round"
PROMPT = "test_prompt_with_arguments"
QUESTIONS = ["Step 1: What is your name?", "Step 2: What is your favorite color?"]
ANSWERS = [{"name": "Kari"}, {"color": "red"}]
ANSWERED = {
    "asked": QUESTIONS,
    "failed": False,
    "answer": 'action=accept, content={"name":"Kari"}, action=accept, content={"color":"red"}',
}
CANNOT_BE_ASKED = {
    "asked": [],
    "failed": True,
    "answer": "this client cannot be asked anything: that takes protocol 2026-07-28 and a login",
}
DATA = {"id": "7", "templateTest": True, "data": "Data for ID: 7"}
SEEN = {
    "resources": ["static_text", "static_binary", "watched"],
    "templates": ["template"],
    "prompts": [
        "test_simple_prompt",
        PROMPT,
        "test_prompt_with_embedded_resource",
        "test_prompt_with_image",
        "test_input_required_result_prompt",
    ],
    "got": "Prompt with arguments: arg1='a', arg2='b'",
    "completed": ["paris", "park", "party"],
    "progress": [0, 50, 100, "done"],
}
HOSTS = {"v1": ("v1", "legacy"), "v2": ("v2", "legacy"), "v2-2026": ("v2", "auto")}


@pytest.fixture(scope="module")
def offering(cluster, template, tmp_path_factory):
    """A server with a plugin that offers something of everything."""
    with (
        postgres.new_database(cluster, template=template) as dsn,
        suite.conforming_server(tmp_path_factory.mktemp("offering"), dsn) as server,
    ):
        yield server


@pytest.mark.parametrize("host", HOSTS)
async def test_the_typescript_sdk_uses_whatever_is_offered(npm, offering, host):
    version, mode = HOSTS[host]
    token = (await Flow(offering).tokens())["access_token"]
    told = {"version": version, "mode": mode, "resource": offering.resource, "token": token}
    seen = await talk("node", npm / "offers.mjs", told)
    assert TOOL in seen.pop("tools")
    assert json.loads(seen.pop("read")) == DATA
    rounds = ANSWERED if mode == "auto" else CANNOT_BE_ASKED
    # Version 2 knows what is not there by the error's data, and gives it the newer code.
    missing = -32002 if version == "v1" else -32602
    assert seen == SEEN | {"missing": missing, "rounds": rounds}


@pytest.mark.parametrize("mode", VERSIONS)
async def test_the_python_sdk_uses_whatever_is_offered(offering, mode):
    token = (await Flow(offering).tokens())["access_token"]
    asked, progress = [], []

    async def answer(context, params):
        asked.append(params.message)
        return ElicitResult(action="accept", content=ANSWERS[len(asked) - 1])

    async def progressed(done, total, message):
        progress.append(done)

    async with create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http:
        transport = streamable_http_client(offering.resource, http_client=http)
        async with Client(transport, mode=mode, elicitation_callback=answer) as client:
            assert TOOL in names((await client.list_tools()).tools)
            told = await client.call_tool("test_tool_with_progress", progress_callback=progressed)
            got = await client.get_prompt(PROMPT, {"arg1": "a", "arg2": "b"})
            typed = {"name": "arg1", "value": "par"}
            completed = await client.complete(PromptReference(name=PROMPT), typed)
            seen = {
                "resources": names((await client.list_resources()).resources),
                "templates": names((await client.list_resource_templates()).resource_templates),
                "prompts": names((await client.list_prompts()).prompts),
                "got": got.messages[0].content.text,
                "completed": completed.completion.values,
                "progress": [*progress, told.content[0].text],
            }
            assert seen == SEEN
            [content] = (await client.read_resource("test://template/7/data")).contents
            assert json.loads(content.text) == DATA
            with pytest.raises(MCPError) as missing:
                await client.read_resource("test://nowhere")
            assert missing.value.code == (-32602 if mode == "auto" else -32002)
            result = await client.call_tool(TOOL)
    rounds = {"asked": asked, "failed": result.is_error, "answer": result.content[0].text}
    assert rounds == (ANSWERED if mode == "auto" else CANNOT_BE_ASKED)


def names(listed):
    """Return what a list has, by name."""
    return [one.name for one in listed]


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_the_inspector_lists_reads_and_gets(npm, offering, tmp_path, era):
    token = (await Flow(offering).tokens())["access_token"]
    program = npm / "node_modules" / ".bin" / "mcp-inspector"
    options = ["--protocol-era", era, "--header", f"Authorization: Bearer {token}"]
    options += ["--format", "json"]

    async def inspect(method, *words):
        command = ["node", program, "--cli", offering.resource, *options, "--method", method]
        env = {"MCP_STORAGE_DIR": str(tmp_path), "MCP_INSPECTOR_SECRET_STORE": "file"}
        async with running(*command, *words, **env) as inspector:
            output, _ = await finish(inspector)
        return json.loads(output)["result"]

    listed = (await inspect("resources/list"))["resources"]
    assert [one["name"] for one in listed] == SEEN["resources"]
    listed = (await inspect("resources/templates/list"))["resourceTemplates"]
    assert [one["name"] for one in listed] == SEEN["templates"]
    listed = (await inspect("prompts/list"))["prompts"]
    assert [one["name"] for one in listed] == SEEN["prompts"]
    [content] = (await inspect("resources/read", "--uri", "test://template/7/data"))["contents"]
    assert json.loads(content["text"]) == DATA
    words = ["--prompt-name", PROMPT, "--prompt-args", "arg1=a", "arg2=b"]
    [message] = (await inspect("prompts/get", *words))["messages"]
    assert message["content"]["text"] == SEEN["got"]

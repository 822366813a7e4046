"""The official Python client where a tool is open, and what the operator is shown of it."""

import json

import postgres
import pytest
from e2e.process import add_user, configure, invoke, started
from e2e.test_official_client import CLIENT_ID, VERSIONS, Application, call
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

OPEN = {"calculator": {"tools": {"calculator": {"open": True}}}, "get_weather": {}}

eras = pytest.mark.parametrize("mode", VERSIONS)


@pytest.fixture(scope="module")
def server(cluster, template, tmp_path_factory):
    client = {"id": CLIENT_ID, "redirect_uris": ["http://127.0.0.1/callback"]}
    with postgres.new_database(cluster, template=template) as dsn:
        config = configure(
            tmp_path_factory.mktemp("server"),
            dsn=dsn,
            oauth={"clients": {"configured": [client]}},
            plugins=OPEN,
        )
        add_user(config)
        with started(config) as process:
            yield process


@eras
async def test_a_client_that_knows_no_login_uses_what_is_open(server, mode):
    async with create_mcp_http_client() as http:
        transport = streamable_http_client(server.resource, http_client=http)
        async with Client(transport, mode=mode) as client:
            assert client.protocol_version == VERSIONS[mode]
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(tools) == {"calculator", "get_weather"}
            schemes = {name: tool.meta["securitySchemes"] for name, tool in tools.items()}
            assert [scheme["type"] for scheme in schemes["calculator"]] == ["noauth", "oauth2"]
            assert [scheme["type"] for scheme in schemes["get_weather"]] == ["oauth2"]
            assert (await call(client, "calculator", expression="6*7"))["value"] == 42


@eras
async def test_a_client_that_can_log_in_does_so_when_it_needs_to(server, mode):
    async with server.browser() as browser:
        application = Application(browser)
        async with create_mcp_http_client(auth=application.provider(server.resource)) as http:
            transport = streamable_http_client(server.resource, http_client=http)
            async with Client(transport, mode=mode) as client:
                assert (await call(client, "calculator", expression="6*7"))["value"] == 42
                assert application.approvals == 0
                result = await client.call_tool("get_weather", {"wrong": "argument"})
                assert "no such argument" in result.content[0].text
                assert application.approvals == 1
                assert (await call(client, "calculator", expression="6*7"))["value"] == 42


def test_the_operator_is_told_what_is_open(server):
    lines = [line.strip() for line in server.output.splitlines()]
    assert "open           calculator   (for everybody, without a login)" in lines
    logged = [json.loads(line)["message"] for line in server.log.splitlines()]
    assert logged.count("open to everybody, without a login: calculator") == 1
    checked = invoke(server.config, "check").stdout.splitlines()
    assert checked == ["tool calculator is open to everybody", "ok"]
    listed = invoke(server.config, "plugin", "list").stdout.splitlines()
    assert "  tool calculator  timeout 30 s, open to everybody, read-only" in listed
    closed = next(line for line in listed if "tool get_weather" in line)
    assert closed.endswith("scopes mcp.tools.call, read-only")


def test_what_cannot_be_open_stops_the_server(server, tmp_path):
    plugins = {"calculator": {"scopes": ["math"], **OPEN["calculator"]}}
    refused = invoke(configure(tmp_path, plugins=plugins), "check")
    assert refused.exit_code == 2
    assert "plugins.calculator: tools.calculator.open: plugins.calculator.scopes ask for math" in (
        refused.stderr
    )

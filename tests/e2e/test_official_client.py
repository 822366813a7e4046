"""The official Python client against a started server: it finds, asks for and renews everything."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import postgres
import pytest
from browser import Browser
from e2e.process import Process, add_user, configure, free_port, started
from e2e.upstream import Upstream
from mcp.client.auth import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from serving import PASSWORD, USER

CLIENT_ID = "desktop-client"
VERSIONS = {"auto": "2026-07-28", "legacy": "2025-11-25"}
DISCOVERY = [
    ("POST", "/mcp", 401),
    ("GET", "/.well-known/oauth-protected-resource/mcp", 200),
    ("GET", "/.well-known/oauth-authorization-server", 200),
    ("POST", "/token", 200),
    ("POST", "/mcp", 200),
]

eras = pytest.mark.parametrize("mode", VERSIONS)


@pytest.fixture(scope="module")
def database(cluster, template):
    with postgres.new_database(cluster, template=template) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    client = {"id": CLIENT_ID, "redirect_uris": ["http://127.0.0.1/callback"]}
    with Upstream() as upstream:
        config = configure(
            tmp_path_factory.mktemp("server"),
            dsn=database,
            oauth={"clients": {"configured": [client]}},
            plugins=upstream.plugins,
        )
        add_user(config)
        with started(config) as process:
            yield process


@dataclass
class Application:
    """A desktop application and the person before it; the SDK's storage of tokens, too."""

    browser: Browser
    redirect_uri: str = field(default_factory=lambda: f"http://127.0.0.1:{free_port()}/callback")
    tokens: OAuthToken | None = None
    approvals: int = 0
    answer: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, int]] = field(default_factory=list)

    async def open(self, url: str) -> None:
        page = await self.browser.open(url)
        if page.url.path == "/login":
            await self.browser.log_in(USER, PASSWORD)
        self.answer = await self.browser.approve()
        self.approvals += 1

    async def callback(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult.model_validate(self.answer)

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull:
        return OAuthClientInformationFull(
            client_id=CLIENT_ID,
            redirect_uris=[self.redirect_uri],
            token_endpoint_auth_method="none",
        )

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        raise AssertionError("the client is registered, it need not register itself")

    async def record(self, response: httpx2.Response) -> None:
        request = response.request
        self.requests.append((request.method, request.url.path, response.status_code))

    def provider(self, url: str) -> OAuthClientProvider:
        metadata = OAuthClientMetadata(redirect_uris=[self.redirect_uri])
        return OAuthClientProvider(
            url, metadata, self, redirect_handler=self.open, callback_handler=self.callback
        )


@asynccontextmanager
async def connected(
    server: Process, mode: str
) -> AsyncIterator[tuple[Client, Application, OAuthClientProvider]]:
    """Connect somebody who has never been here, and grant what is asked."""
    async with server.browser() as browser:
        application = Application(browser)
        provider = application.provider(server.resource)
        async with create_mcp_http_client(auth=provider) as http:
            http.event_hooks = {"response": [application.record]}
            transport = streamable_http_client(server.resource, http_client=http)
            async with Client(transport, mode=mode) as client:
                yield client, application, provider


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    """Return the structured answer of a tool that did not fail."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def sent_as_one_text(client: Client, tool: str, **arguments: str) -> Any:
    """Return the structured answer, which must be there as the JSON of one text, too."""
    result = await client.call_tool(tool, arguments)
    [block] = result.content
    assert block.type == "text"
    assert json.loads(block.text) == result.structured_content
    return result.structured_content


@pytest.mark.proves("MD-11")
@eras
async def test_a_401_leads_to_consent_and_to_every_tool(server, mode):
    async with connected(server, mode) as (client, application, provider):
        assert application.requests[: len(DISCOVERY)] == DISCOVERY
        assert application.answer["iss"] == server.url
        assert str(provider.context.protected_resource_metadata.resource) == server.resource
        assert client.protocol_version == VERSIONS[mode]

        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"calculator", "get_weather", "search_web", "search", "fetch"}
        schemes = [{"type": "oauth2", "scopes": ["mcp.tools.call"]}]
        assert all(tool.meta["securitySchemes"] == schemes for tool in tools.values())
        assert all(tool.annotations.read_only_hint for tool in tools.values())
        assert (await call(client, "calculator", expression="0.1 + 0.2"))["value"] == 0.3
        weather = await call(client, "get_weather", place="Paris")
        assert "France" in str(weather["place"])
        found = await call(client, "search_web", query="length")
        assert [page["title"] for page in found["results"]] == ["Ångström (unit)"]
        assert application.approvals == 1


@eras
async def test_what_search_finds_can_be_fetched_as_deep_research_does(server, mode):
    async with connected(server, mode) as (client, _application, _provider):
        searched = await sent_as_one_text(client, "search", query="length")
        [found] = searched["results"]
        document = await sent_as_one_text(client, "fetch", id=found["id"])
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert searched.keys() == {"results"}
    assert found.keys() == {"id", "title", "url", "snippet"}
    assert document.keys() == {"id", "title", "text", "url", "metadata"}
    assert document["id"] == document["url"] == found["id"] == found["url"]
    assert "a unit of length" in document["text"]
    assert "NAVIGATION" not in document["text"]
    for name, needed in (("search", {"results"}), ("fetch", {"id", "title", "text", "url"})):
        assert set(tools[name].output_schema["required"]) == needed
        assert tools[name].annotations.read_only_hint


@pytest.mark.proves("RF-11")
@eras
async def test_an_expired_access_token_is_refreshed_without_asking(server, database, mode):
    async with connected(server, mode) as (client, application, provider):
        first = application.tokens
        postgres.query(
            database, "UPDATE oauth_access_tokens SET expires_at = created_at - interval '1s'"
        )
        provider.context.token_expiry_time = time.time() - 1
        application.requests.clear()

        assert (await call(client, "calculator", expression="6*7"))["value"] == 42
        assert ("POST", "/token", 200) in application.requests
        assert ("POST", "/mcp", 401) not in application.requests
        assert application.tokens.refresh_token != first.refresh_token
        assert application.approvals == 1


@eras
async def test_after_revocation_the_person_is_asked_again(server, mode):
    async with connected(server, mode) as (client, application, _):
        form = {"token": application.tokens.refresh_token, "client_id": CLIENT_ID}
        async with server.http() as http:
            assert (await http.post("/revoke", data=form)).status_code == 200
        application.requests.clear()

        assert (await call(client, "calculator", expression="6*7"))["value"] == 42
        assert application.requests[: len(DISCOVERY)] == DISCOVERY
        assert application.approvals == 2


@eras
async def test_a_client_that_kept_its_tokens_need_not_ask(server, mode):
    async with connected(server, mode) as (_, application, _):
        provider = application.provider(server.resource)
        async with create_mcp_http_client(auth=provider) as http:
            transport = streamable_http_client(server.resource, http_client=http)
            async with Client(transport, mode=mode) as client:
                assert (await call(client, "calculator", expression="6*7"))["value"] == 42
        assert application.approvals == 1

"""The official Python SDK's OAuth client where nobody configured a client for it."""

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from blackbox.foreign import DOCUMENT, believing
from e2e.test_official_client import VERSIONS, Application, call
from mcp.client.auth import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import OAuthClientMetadata

eras = pytest.mark.parametrize("mode", VERSIONS)


@dataclass
class Newcomer(Application):
    """An application that keeps what it is told of itself."""

    document: str | None = None
    auth_method: str | None = None
    known: Any = None

    async def get_client_info(self):
        return self.known

    async def set_client_info(self, client_info):
        self.known = client_info

    def provider(self, url):
        metadata = OAuthClientMetadata(
            redirect_uris=[self.redirect_uri], token_endpoint_auth_method=self.auth_method
        )
        return OAuthClientProvider(
            url,
            metadata,
            self,
            redirect_handler=self.open,
            callback_handler=self.callback,
            client_metadata_url=self.document,
        )


@asynccontextmanager
async def connected(server, application, mode):
    """Connect the application once more."""
    async with create_mcp_http_client(auth=application.provider(server.resource)) as http:
        http.event_hooks = {"response": [application.record]}
        transport = streamable_http_client(server.resource, http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


@pytest.mark.parametrize("method", ["none", "client_secret_post", "client_secret_basic", None])
@eras
async def test_the_python_sdk_registers_once(server, mode, method):
    async with server.browser() as browser:
        application = Newcomer(browser, auth_method=method)
        for _ in range(2):
            async with connected(server, application, mode) as client:
                assert (await call(client, "calculator", expression="6*7"))["value"] == 42
        registered = ("POST", "/register", 201)
        assert application.requests.count(registered) == 1
        assert application.approvals == 1
        assert application.known.token_endpoint_auth_method == (method or "client_secret_basic")
        assert bool(application.known.client_secret) is (method != "none")


@eras
async def test_the_python_sdk_is_known_by_its_document(dsn, authority, mode):
    async with believing(dsn, authority) as server, server.browser() as browser:
        browser.url = server.resource.removesuffix("/mcp")
        application = Newcomer(browser, document=DOCUMENT)
        for _ in range(2):
            async with connected(server, application, mode) as client:
                assert (await call(client, "calculator", expression="6*7"))["value"] == 42
        assert application.known.client_id == DOCUMENT
        assert application.approvals == 1
        assert "/register" not in {path for _, path, _ in application.requests}

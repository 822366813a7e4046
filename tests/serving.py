"""A whole server inside a test: real sockets and a real database, on the test's own loop."""

from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote_plus

import httpx
from browser import Browser
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from mcpserve import app, crypto
from mcpserve.db import Database
from mcpserve.errors import FetchError
from mcpserve.oauth import clients, keys
from mcpserve.oauth.documents import Fetched, Fetcher
from mcpserve.oauth.store import users
from mcpserve.settings import Settings
from mcpserve.web import Services

USER = "alice"
PASSWORD = "correct horse battery"
CALLBACK = "https://client.example/callback"
PUBLIC_CLIENT = "public-client"
SECRET_CLIENT = "secret-client"
SECRET = "a+b c%é:x"

CLIENTS = [
    {"id": PUBLIC_CLIENT, "name": "Public Client", "redirect_uris": [CALLBACK]},
    {"id": SECRET_CLIENT, "name": "Secret Client", "redirect_uris": [CALLBACK], "secret": SECRET},
]
DEFAULTS: dict[str, Any] = {
    "login": {"bcrypt_rounds": 4},
    "cleanup": {"enabled": False},
    "oauth": {"clients": {"configured": CLIENTS}},
    "plugins": {"calculator": {}},
}


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    url: str
    services: Services
    http_server: HTTPServer | None = None

    @property
    def db(self) -> Database:
        """The server's own pool."""
        return self.services.db

    @property
    def mcp_url(self) -> str:
        """The MCP endpoint."""
        return f"{self.url}/mcp"

    @property
    def resource(self) -> str:
        """The MCP endpoint, as the server names it."""
        return self.services.server.resource

    def http(self, **options: Any) -> httpx.AsyncClient:
        """Return a client that follows no redirects."""
        # Without TLS to check: loading the certificates takes longer than most requests.
        return httpx.AsyncClient(base_url=self.url, verify=False, trust_env=False, **options)

    def browser(self) -> Browser:
        """Return a new browser, logged in nowhere."""
        return Browser(self.url)


class Offline:
    """Fetches nothing. A real fetcher takes longer to make than most servers to test."""

    async def get_json(self, url: str) -> Fetched:
        """Fail."""
        raise FetchError(f"{url}: no network in this test")


@asynccontextmanager
async def serving(
    dsn: str,
    settings: Mapping[str, Any] | None = None,
    *,
    with_user: bool = True,
    made: Mapping[str, object] | None = None,
    fetcher: Fetcher | None = None,
) -> AsyncIterator[Running]:
    """Serve on a free port of 127.0.0.1 until the block ends.

    ``settings`` are merged into :data:`DEFAULTS`, section by section. The public URL is the one
    that is listened on, unless ``settings`` name another. ``made`` are plugins that exist in
    memory only; they are there by their names instead of the calculator. ``fetcher`` fetches
    what clients publish; without one nothing can be fetched.
    """
    sockets = bind_sockets(0, "127.0.0.1")
    port = sockets[0].getsockname()[1]
    merged = {"server": {"port": port}} | {key: dict(value) for key, value in DEFAULTS.items()}
    if made is not None:
        merged["plugins"] = {name: {} for name in made}
    for section, values in (settings or {}).items():
        merged[section] = {**merged.get(section, {}), **values}
    checked = Settings.model_validate(merged)
    async with (
        app.open_database(checked.database, dsn, migrates=False) as db,
        app.open_services(
            checked, db, None if made is None else made.__getitem__, fetcher=fetcher or Offline()
        ) as services,
    ):
        await keys.prepare(db, services.issuance.keys)
        await clients.seed(db, services.hasher, checked.oauth.clients.configured)
        if with_user:
            await add_user(services, USER, PASSWORD)
        http_server = app.listen(services, sockets)
        try:
            yield Running(f"http://127.0.0.1:{port}", services, http_server)
        finally:
            http_server.stop()
            await http_server.close_all_connections()


def basic(client_id: str, secret: str) -> dict[str, str]:
    """Return the header of client_secret_basic (RFC 6749 §2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


async def add_user(services: Services, name: str, password: str) -> None:
    """Add a person."""
    hashed = await services.hasher.hash_password(password)
    await users.create(services.db, name, hashed)


@dataclass(frozen=True)
class Flow:
    """One authorization by a client: its parameters, with every secret the client keeps."""

    server: Running
    client_id: str = PUBLIC_CLIENT
    secret: str | None = None
    redirect_uri: str = CALLBACK
    verifier: str = "v" * 43

    def parameters(self, **changes: str | None) -> dict[str, str]:
        """Return good parameters for /authorize; ``None`` leaves one out."""
        good = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "code_challenge": crypto.pkce_s256(self.verifier),
            "code_challenge_method": "S256",
            "state": "the state",
            "resource": self.server.resource,
        } | changes
        return {name: value for name, value in good.items() if value is not None}

    async def code(self, browser: Browser | None = None, **changes: str | None) -> str:
        """Log in, approve, and return the code."""
        browser = browser or self.server.browser()
        async with browser:
            await browser.open("/authorize", self.parameters(**changes))
            await browser.log_in(USER, PASSWORD)
            return (await browser.approve())["code"]

    async def ask(self, browser: Browser, **changes: str | None) -> httpx.Response:
        """Bring a browser to the consent page, through the login page if that comes first."""
        page = await browser.open("/authorize", self.parameters(**changes))
        return await browser.log_in(USER, PASSWORD) if page.url.path == "/login" else page

    async def token(self, **form: str | None) -> httpx.Response:
        """Post to /token, authenticated in the body."""
        return await self.post("/token", **form)

    async def post(
        self, path: str, *, headers: Mapping[str, str] | None = None, **form: str | None
    ) -> httpx.Response:
        """Post a form, authenticated in the body; ``None`` leaves a field out."""
        fields = {"client_id": self.client_id, "client_secret": self.secret} | form
        async with self.server.http() as http:
            return await http.post(
                path,
                data={name: value for name, value in fields.items() if value is not None},
                headers=headers,
            )

    async def exchange(self, code: str, /, **form: str | None) -> httpx.Response:
        """Exchange a code."""
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": self.verifier,
            "redirect_uri": self.redirect_uri,
        } | form
        return await self.token(**fields)

    async def refresh(self, refresh_token: str, /, **form: str | None) -> httpx.Response:
        """Use a refresh token."""
        fields = {"grant_type": "refresh_token", "refresh_token": refresh_token} | form
        return await self.token(**fields)

    async def tokens(self, **changes: str | None) -> dict[str, Any]:
        """Go through the whole flow and return the token answer."""
        answer = await self.exchange(await self.code(**changes))
        answer.raise_for_status()
        tokens: dict[str, Any] = answer.json()
        return tokens

    async def call_mcp(
        self, access_token: str, method: str = "ping", params: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        """Send one request of the handshake era to /mcp."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method}
        async with self.server.http() as http:
            return await http.post(
                "/mcp",
                json=request | ({"params": params} if params else {}),
                headers={
                    "Authorization": f"Bearer {access_token}",
                    "MCP-Protocol-Version": "2025-11-25",
                    "Accept": "application/json, text/event-stream",
                },
            )

    async def call_tool(self, access_token: str) -> httpx.Response:
        """Let the server add one and one."""
        params = {"name": "calculator", "arguments": {"expression": "1 + 1"}}
        return await self.call_mcp(access_token, "tools/call", params)

    def confidential(self) -> "Flow":
        """Return the same flow of the client that has a secret."""
        return replace(self, client_id=SECRET_CLIENT, secret=SECRET)

"""The server under test: over real sockets, on a database whose clock can be moved on."""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from browser import Forms
from machine.model import ALL_SCOPES
from serving import CLIENTS, PASSWORD, Running, add_user, basic, serving

from mcpserve import crypto
from mcpserve.oauth import clients, users
from mcpserve.oauth.store import cleanup
from mcpserve.settings import ClientSettings

PUBLIC_URL = "http://localhost:7777"
WATCHER = "watcher"
WATCHER_SECRET = "the watcher's secret, never shown"
PATIENT = {"failures": 1_000_000, "window": "1m"}
SETTINGS: dict[str, Any] = {
    "server": {"public_url": PUBLIC_URL},
    "oauth": {
        "scopes": {"extra": "Something more"},
        "clients": {
            "configured": [
                *CLIENTS,
                {
                    "id": WATCHER,
                    "secret": WATCHER_SECRET,
                    "redirect_uris": ["https://watcher.example/callback"],
                    "introspection": True,
                },
            ],
            "registration": {
                "redirects": "any",
                "per_network": 1_000_000,
                "max_unused": 1_000_000,
            },
        },
    },
    "limits": dict.fromkeys(("authorize", "token", "revoke", "introspect", "login"), PATIENT),
}

TIMES = {
    "oauth_clients": ("created_at", "updated_at", "last_used_at"),
    "mcp_sessions": ("created_at", "auth_time", "expires_at", "last_used_at", "ended_at"),
    "oauth_authorization_codes": ("auth_time", "created_at", "expires_at", "used_at"),
    "oauth_refresh_tokens": (
        "created_at",
        "expires_at",
        "rotated_at",
        "revoked_at",
        "reusable_until",
    ),
    "oauth_access_tokens": ("created_at", "expires_at", "revoked_at"),
    "browser_sessions": ("auth_time", "created_at", "expires_at"),
    "authorization_requests": ("created_at", "expires_at", "decided_at"),
    "rate_limits": ("expires_at",),
}
"""What ages when the clock is moved on."""

SERVERS_LOGGERS = ("mcpserve", "tornado", "aiopg", "asyncio", "mcp")
"""Loggers of the server, not of the clients that talk to it here."""

JSON_ENDPOINTS = frozenset({"/token", "/revoke", "/introspect", "/register", "/mcp"})


@dataclass
class Listener(logging.Handler):
    """Everything that was logged, as text."""

    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    __hash__ = logging.Handler.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line with all its fields."""
        self.lines.append(f"{record.getMessage()} {vars(record)}")


class World:
    """One server for many examples; each of them has clients and people of its own."""

    def __init__(self, dsn: str, runner: asyncio.Runner) -> None:
        self.dsn = dsn
        self.runner = runner
        self.moved = 0.0
        self.heard = Listener()
        self.secrets: set[str] = set()
        self.running: Running
        self.http: httpx.AsyncClient
        self._stack = AsyncExitStack()
        self._count = 0

    @property
    def now(self) -> float:
        """The time, in seconds: that of the machine, and how far the clock was moved on."""
        return self.runner.get_loop().time() + self.moved

    def run(self, work: Any) -> Any:
        """Run to the end."""
        return self.runner.run(work)

    async def start(self) -> None:
        """Start the server on the database as it is."""
        self._stack = AsyncExitStack()
        self.running = await self._stack.enter_async_context(
            serving(self.dsn, SETTINGS, with_user=False)
        )
        self.http = await self._stack.enter_async_context(self.running.http())

    async def stop(self) -> None:
        """Stop it; the database stays."""
        await self._stack.aclose()

    async def restart(self) -> None:
        """Let a new process take over."""
        await self.stop()
        await self.start()

    def name(self, kind: str) -> str:
        """Return a name that no other example has."""
        self._count += 1
        return f"{kind}-{self._count}"

    async def add_person(self) -> str:
        """Add a person and return the name."""
        name = self.name("person")
        await add_user(self.running.services, name, PASSWORD)
        return name

    async def add_client(self, **settings: Any) -> str:
        """Add a client and return its id."""
        client = ClientSettings.model_validate({"id": self.name("client")} | settings)
        await clients.seed(self.running.db, self.running.services.hasher, [client])
        return client.id

    async def register(self, redirect_uris: Iterable[str]) -> str:
        """Let a public client register itself and return its id."""
        asked = {"redirect_uris": sorted(redirect_uris), "token_endpoint_auth_method": "none"}
        answer = check(await self.http.post("/register", json=asked))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["client_id"])

    async def set_client_disabled(self, client_id: str, *, disabled: bool) -> None:
        """Disable or enable a client, as the command does."""
        await clients.set_disabled(self.running.db, client_id, disabled=disabled)

    async def set_person_disabled(self, name: str, *, disabled: bool) -> None:
        """Disable or enable a person, as the command does."""
        await users.set_disabled(self.running.db, name, disabled=disabled)

    async def set_redirects(self, client_id: str, redirect_uris: Iterable[str]) -> None:
        """Register other redirect URIs."""
        await self.running.db.execute(
            "UPDATE oauth_clients SET redirect_uris = %(uris)s WHERE client_id = %(id)s",
            uris=sorted(redirect_uris),
            id=client_id,
        )

    async def move_clock(self, seconds: float) -> None:
        """Make everything that is stored older by so much."""
        async with self.running.db.transaction() as tx:
            for table, columns in TIMES.items():
                older = ", ".join(f"{c} = {c} - interval '{seconds} s'" for c in columns)
                await tx.execute(f"UPDATE {table} SET {older}")
        self.moved += seconds

    async def clean_up(self) -> None:
        """Run the cleanup job once."""
        await cleanup.purge(self.running.db, self.running.services.settings)

    async def post(
        self, path: str, form: Mapping[str, str | None], headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Post a form; the answer obeys the rules of every answer."""
        given = {name: value for name, value in form.items() if value is not None}
        return check(await self.http.post(path, data=given, headers=headers))

    async def introspect(self, token: str) -> dict[str, Any]:
        """Ask what the server knows of a token."""
        answer = await self.post("/introspect", {"token": token}, basic(WATCHER, WATCHER_SECRET))
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def call_mcp(self, token: str) -> int:
        """Send a ping to /mcp and return the status."""
        answer = await self.http.post(
            "/mcp",
            json={"jsonrpc": "2.0", "id": 1, "method": "ping"},
            headers={
                "Authorization": f"Bearer {token}",
                "MCP-Protocol-Version": "2025-11-25",
                "Accept": "application/json, text/event-stream",
            },
        )
        return check(answer).status_code


class Person:
    """Somebody with a browser of their own."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.cookies = httpx.Cookies()

    async def send(
        self, method: str, path: str, *, data: Any = None, params: Any = None
    ) -> httpx.Response:
        """Send a request with this browser's cookies."""
        jar = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies.jar)
        answer = await self.world.http.request(
            method, path, data=data, params=params, headers={"Cookie": jar} if jar else {}
        )
        self.cookies.update(answer.cookies)
        self.world.http.cookies.clear()
        return check(answer)

    async def follow(self, answer: httpx.Response) -> httpx.Response:
        """Follow redirects that stay on the server."""
        while answer.is_redirect and answer.headers["location"].startswith("/"):
            answer = await self.send("GET", answer.headers["location"])
        return answer

    async def open(self, parameters: Mapping[str, str]) -> httpx.Response:
        """Open /authorize and log in if that is asked; return the page or the way out."""
        shown = await self.follow(await self.send("GET", "/authorize", params=parameters))
        if shown.status_code == 200 and b'name="password"' in shown.content:
            form = Forms(shown.text).forms[0]["fields"]
            filled = form | {"username": self.name, "password": PASSWORD}
            shown = await self.follow(await self.send("POST", "/login", data=filled))
        return shown

    async def press(self, form: Mapping[str, str], decision: str) -> httpx.Response:
        """Press a button of the consent page."""
        return await self.send("POST", "/authorize/decision", data={**form, "decision": decision})

    def leave(self) -> None:
        """Go to another browser."""
        self.cookies = httpx.Cookies()


def check(answer: httpx.Response) -> httpx.Response:
    """What every answer obeys (TR-11 to TR-15), and that nothing is our fault."""
    path = answer.request.url.path
    assert answer.status_code < 500, (path, answer.status_code, answer.text)
    assert answer.headers["cache-control"] == "no-store", path
    assert answer.headers["x-content-type-options"] == "nosniff", path
    assert "server" not in answer.headers, path
    if path in JSON_ENDPOINTS:
        assert not answer.is_redirect, path
        if answer.content:
            assert answer.headers["content-type"].startswith("application/json"), path
        if answer.status_code >= 400 and path != "/mcp":
            told = answer.json()
            assert set(told) == {"error", "error_description"}, told
            assert all(" " <= c <= "~" and c not in '"\\' for c in told["error_description"])
    if answer.status_code == 401 or (answer.status_code == 403 and path == "/mcp"):
        assert path == "/login" or "www-authenticate" in answer.headers, path
    return answer


def answer_of(location: str) -> tuple[str, dict[str, str]]:
    """Return where a redirect leads, without its query, and what it carries."""
    parts = urlsplit(location)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return f"{parts.scheme}://{parts.netloc}{parts.path}", query


def challenge(verifier: str) -> str:
    """Return the S256 challenge."""
    return crypto.pkce_s256(verifier)


def scope(scopes: frozenset[str]) -> str:
    """Return a ``scope`` parameter."""
    assert scopes <= ALL_SCOPES
    return " ".join(sorted(scopes))


@contextmanager
def opened(dsn: str) -> Iterator[World]:
    """Open a world on this database."""
    with asyncio.Runner() as runner:
        world = World(dsn, runner)
        loggers = [logging.getLogger(name) for name in SERVERS_LOGGERS]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.addHandler(world.heard)
            logger.setLevel(logging.DEBUG)
        world.run(world.start())
        try:
            yield world
        finally:
            world.run(world.stop())
            for logger, level in zip(loggers, levels, strict=True):
                logger.removeHandler(world.heard)
                logger.setLevel(level)

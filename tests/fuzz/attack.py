"""A running server, and the requests that a good client and its person would send to it."""

import asyncio
import json
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import wire
from browser import Browser
from fuzz.nasty import encoded
from machine.world import Listener, check
from serving import CALLBACK, PASSWORD, SECRET, SECRET_CLIENT, USER, Flow, basic, serving
from signing import SIGNING_CLIENT, TYPE, signing_client

FORM = "application/x-www-form-urlencoded"
MOST = 16 * 1024
ENDLESS = {"failures": 10_000_000}
REGISTRATION = {"redirects": "any", "per_network": 1_000_000, "max_unused": 1_000_000}
SETTINGS = {
    "limits": dict.fromkeys(("authorize", "token", "revoke", "introspect", "login"), ENDLESS),
    "server": {"trusted_proxies": ["127.0.0.1"]},
    "cors": {"origins": ["https://app.example"]},
}


@dataclass(frozen=True)
class Target:
    """A request that would do something, taken apart."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    form: tuple[tuple[str, str], ...] | None = None
    json: Any = None

    def head(self, body: bytes, host: str) -> bytes:
        """Return what is sent before the body."""
        path = self.path + ("?" if self.query else "") + pairs(self.query)
        lines = [f"{self.method} {path} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.form is not None or self.json is not None:
            kind = FORM if self.form is not None else "application/json"
            if not any(name.lower() == "content-type" for name, _ in self.headers):
                lines.append(f"Content-Type: {kind}")
        if body or self.method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogatepass")

    def body(self) -> bytes:
        """Return the body."""
        if self.form is not None:
            return pairs(self.form).encode()
        return b"" if self.json is None else json.dumps(self.json).encode()


@dataclass(repr=False)
class Server:
    """What is attacked, with all that an attacker can have got from it."""

    runner: asyncio.Runner
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    heard: Listener = field(default_factory=Listener)
    url: str = ""
    targets: tuple[Target, ...] = ()

    def send(self, request: bytes) -> wire.Answer:
        """Send bytes; fail when nothing comes back."""
        return self.runner.run(wire.send(self.url, request))

    def attack(self, target: Target, body: bytes | None = None) -> None:
        """Send a request, and check that its answer is one that every request may get."""
        body = target.body() if body is None else body
        request = target.head(body, urlsplit(self.url).netloc) + body
        try:
            answer = self.send(request)
        except ConnectionError:
            answer = wire.Answer(0, (), b"")
        if not answer.headers:
            # Whoever sends more than any endpoint takes may be cut off without a real answer.
            assert len(request) > MOST
            return
        self.check(target, answer)

    def check(self, target: Target, answer: wire.Answer) -> None:
        """Check an answer, and that nothing failed that is not told."""
        headers = [tuple(line.split(": ", 1)) for line in answer.headers]
        request = httpx.Request("GET", self.url + target.path)
        response = httpx.Response(
            answer.status, headers=headers, content=answer.body, request=request
        )
        refused_for_its_origin = (target.path, answer.status) == ("/mcp", 403)
        if not target.path.startswith("/.well-known") and not refused_for_its_origin:
            check(response)
        if target.path == "/register" and answer.body:
            assert response.headers["content-type"].startswith("application/json")
        if not response.headers.get("content-type", "").startswith("application/json"):
            assert "content-security-policy" in response.headers or not answer.body
        location = response.headers.get("location", "")
        assert location.startswith((CALLBACK, "/")) or not location, location
        assert b"<script" not in answer.body
        self.check_log()

    def check_log(self) -> None:
        """Nothing was logged as our mistake."""
        lines, self.heard.lines[:] = list(self.heard.lines), []
        assert not lines, lines


class Mistakes(Listener):
    """What is logged as an error."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            super().emit(record)


def pairs(fields: Any) -> str:
    """Encode fields; text that begins with ``raw:`` is sent as it is."""
    return "&".join(f"{escaped(name)}={escaped(value)}" for name, value in fields)


def escaped(text: str) -> str:
    if text.startswith("raw:"):
        return text[4:]
    return "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}"
        for byte in encoded(text)
    )


async def start(attacked: Server, dsn: str) -> None:
    """Start the server, and get everything from it that a good client has."""
    known = [
        {"id": "public-client", "redirect_uris": [CALLBACK], "refresh_reuse_window": "60s"},
        {"id": SECRET_CLIENT, "redirect_uris": [CALLBACK], "secret": SECRET},
        signing_client(),
    ]
    clients = {"configured": known, "registration": REGISTRATION}
    settings = SETTINGS | {"oauth": {"clients": clients}}
    running = await attacked.stack.enter_async_context(serving(dsn, settings))
    attacked.url = running.url
    flow, confidential = Flow(running), Flow(running).confidential()
    tokens, secret_tokens = await flow.tokens(), await confidential.tokens()
    waiting = running.browser()
    logged_in = running.browser()
    async with waiting, logged_in:
        login = await waiting.open("/authorize", flow.parameters())
        await logged_in.open("/authorize", flow.parameters())
        await logged_in.log_in(USER, PASSWORD)
        code = await flow.code()
        attacked.targets = (
            *clients_targets(flow, code, tokens),
            *secret_targets(confidential, secret_tokens),
            *pages(flow, waiting, str(login.url.query, "ascii")),
            consent(logged_in),
            mcp(tokens["access_token"]),
            Target("OPTIONS", "/token", headers=(("Origin", "https://app.example"),)),
            Target("GET", "/.well-known/oauth-authorization-server"),
        )


def clients_targets(flow: Flow, code: str, tokens: dict[str, Any]) -> tuple[Target, ...]:
    client = (("client_id", flow.client_id),)
    exchange = {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": flow.verifier,
        "redirect_uri": CALLBACK,
        "resource": flow.server.resource,
    }
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    metadata = {
        "redirect_uris": [CALLBACK],
        "client_name": "A Client",
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "scope": "mcp.tools.call",
        "jwks": signing_client()["jwks"],
    }
    return (
        Target("POST", "/token", form=(*client, *exchange.items())),
        Target("POST", "/token", form=(*client, *refresh.items(), ("scope", "mcp.tools.call"))),
        Target("POST", "/revoke", form=(*client, ("token", "x"), ("token_type_hint", "y"))),
        Target("POST", "/register", json=metadata),
        Target("POST", "/register", json=metadata | {"token_endpoint_auth_method": "x"}),
        Target(
            "POST",
            "/token",
            form=(
                *refresh.items(),
                ("client_assertion_type", TYPE),
                ("client_assertion", "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"),
                ("client_id", SIGNING_CLIENT),
            ),
        ),
    )


def secret_targets(flow: Flow, tokens: dict[str, Any]) -> tuple[Target, ...]:
    header = tuple(basic(SECRET_CLIENT, SECRET).items())
    post = (("client_id", SECRET_CLIENT), ("client_secret", SECRET))
    access = (("token", tokens["access_token"]),)
    refresh = (("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"]))
    return (
        Target("POST", "/introspect", headers=header, form=access),
        Target("POST", "/introspect", form=(*post, *access)),
        Target("POST", "/token", headers=header, form=refresh),
        Target("POST", "/token", form=(*post, *refresh)),
    )


def pages(flow: Flow, waiting: Browser, query: str) -> tuple[Target, ...]:
    cookie = cookies(waiting)
    form = (*waiting.fields().items(), ("username", USER), ("password", "wrong"))
    headers = (*cookie, ("Origin", flow.server.url), ("Sec-Fetch-Site", "same-origin"))
    request = tuple(tuple(pair.split("=", 1)) for pair in query.split("&"))
    return (
        Target("GET", "/authorize", query=tuple(flow.parameters().items())),
        Target("GET", "/authorize", query=tuple(flow.parameters().items()), headers=cookie),
        Target("GET", "/login", query=request, headers=cookie),
        Target("GET", "/consent", query=request, headers=cookie),
        Target("POST", "/login", headers=headers, form=form),
        Target("POST", "/login", headers=headers[:-1], form=form),
        Target("GET", "/setup", query=(("token", "x"),)),
        Target("GET", "/"),
        Target("GET", "/logout", headers=cookie),
        Target("GET", "/connections", query=(("done", "saved"),), headers=cookie),
        Target("POST", "/connections", headers=headers, form=(("grant", "x"), ("action", "save"))),
        Target("POST", "/connections/login", headers=headers, form=form),
        Target("POST", "/connections/logout", headers=headers, form=form),
    )


def consent(browser: Browser) -> Target:
    headers = (*cookies(browser), ("Origin", browser.url))
    fields = browser.fields()
    ticked = tuple(("tool", name) for name in fields.pop("tool"))
    form = (*fields.items(), *ticked, ("decision", "neither"))
    return Target("POST", "/authorize/decision", headers=headers, form=form)


def mcp(token: str) -> Target:
    headers = (
        ("Authorization", f"Bearer {token}"),
        ("MCP-Protocol-Version", "2025-11-25"),
        ("Accept", "application/json, text/event-stream"),
    )
    call = {"name": "calculator", "arguments": {"expression": "1 + 1"}}
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    return Target("POST", "/mcp", headers=headers, json=request)


def cookies(browser: Browser) -> tuple[tuple[str, str], ...]:
    jar = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.http.cookies.jar)
    return (("Cookie", jar),)

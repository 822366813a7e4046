"""The MCP endpoint of a running server, and what every answer of it obeys, whatever was sent."""

import asyncio
import base64
import json
import re
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http.client import HTTPResponse
from io import BytesIO
from typing import Annotated, Any
from urllib.parse import urlsplit

import notebook
from exchanges import HANDSHAKE, MODERN
from machine.world import Listener
from mcp_types import methods
from pydantic import BaseModel, Field
from serving import Flow, serving

from mcpserve import ToolContext, hookimpl

PATIENCE = 5.0
"""Seconds in which everything is answered."""
CODES = {-32700, -32600, -32601, -32602, -32020, -32021, -32022, -32002}
"""Of errors: none is a mistake of ours (-32603)."""
STATUSES = {400, 401, 403, 405, 406, 413, 414, 415, 421}
"""Of refusals that are no JSON-RPC."""
SENDABLE = re.compile(rb"[^\t -~\x80-\xff]")
Lines = list[tuple[str, str]]


class Answer(BaseModel):
    """What is asked for."""

    text: str


class Desk:
    """Tools that work with whatever fits their schema."""

    @hookimpl
    def mcpserve_tools(self) -> list[Any]:
        """See the hook."""

        async def add(a: int, ctx: ToolContext, b: float = 0, note: str = "") -> str:
            """Return what came, and say so."""
            await ctx.progress(1)
            await ctx.log("notice", note)
            return f"{a:x} {b} {note}"

        def search(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]):
            """Search in a region."""

        async def ask(ctx: ToolContext) -> str:
            """Ask first."""
            return (await ctx.elicit("What?", Answer)).action

        return [add, search, ask]


@dataclass(repr=False)
class Endpoint:
    """A server that is attacked."""

    runner: asyncio.Runner
    heard: Listener
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    url: str = ""
    token: str = ""

    async def start(self, dsn: str) -> None:
        """Start the server, and let a client in."""
        made = {"notebook": notebook, "desk": Desk()}
        running = await self.stack.enter_async_context(serving(dsn, made=made))
        self.url = running.url
        self.token = (await Flow(running).tokens())["access_token"]

    def common(self) -> Lines:
        """Return the headers that every good request has."""
        return [
            ("Host", urlsplit(self.url).netloc),
            ("Authorization", f"Bearer {self.token}"),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
        ]

    def post(self, body: bytes, lines: Lines, common: Lines | None = None) -> HTTPResponse:
        """Post a body, and return the answer; fail if there is none in time."""
        sent = [*(self.common() if common is None else common), *lines]
        head = b"".join(
            b"%s: %s\r\n" % (name.encode(), SENDABLE.sub(b"?", octets(value)))
            for name, value in sent
        )
        end = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
        return parsed(self.send(b"POST /mcp HTTP/1.1\r\n" + head + end + body))

    def send(self, request: bytes) -> bytes:
        """Send bytes, and return what comes back until the server hangs up; fail if it does not."""
        return self.runner.run(exchange(self.url, request))

    def attack(self, body: bytes, lines: Lines, common: Lines | None = None) -> None:
        """Post a body, check the answer, and that the next request is answered as well."""
        response = self.post(body, lines, common)
        headers = dict(lines)
        check(response, body, headers.get("MCP-Protocol-Version"))
        assert not self.heard.lines, self.heard.lines
        ping = self.post(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}', [])
        assert json.loads(ping.read()) == {"jsonrpc": "2.0", "id": 1, "result": {}}


def octets(text: str) -> bytes:
    """Return a text as one byte for each character, or as UTF-8 where that cannot be."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


async def exchange(url: str, request: bytes) -> bytes:
    """Send bytes, and return all that comes back until the server hangs up."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(request)
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    finally:
        writer.close()


class Received(BytesIO):
    """Stands for the socket of a response that was read already."""

    def makefile(self, mode: str) -> "Received":
        """Return what was read."""
        return self


def parsed(received: bytes) -> HTTPResponse:
    """Return what came back as a response; fails if it is none."""
    response = HTTPResponse(Received(received))  # type: ignore[arg-type]
    response.begin()
    return response


def check(response: HTTPResponse, body: bytes, version: str | None) -> None:
    """Check that this answers that body as it may be answered."""
    content = response.read()
    kind = response.headers.get_content_type() if content else None
    assert response.headers["X-Request-Id"], response.status
    if response.status == 202:
        assert content == b""
    elif kind == "text/event-stream":
        *reported, last = events(content)
        assert response.status == 200
        assert all(message["method"] in NOTIFICATIONS for message in reported)
        check_message(last, body, version)
    else:
        assert kind == "application/json"
        message = json.loads(content, parse_constant=ValueError)
        if "jsonrpc" in message:
            check_message(message, body, version)
            assert response.status in {200, 400, 404}
        else:
            assert response.status in STATUSES
            assert message.keys() == {"error", "error_description"}


NOTIFICATIONS = {"notifications/progress", "notifications/message"}


def events(content: bytes) -> list[Any]:
    """Return the messages of a stream."""
    lines = content.decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def check_message(message: dict[str, Any], body: bytes, version: str | None) -> None:
    """Check that a JSON-RPC message answers that body."""
    assert message["jsonrpc"] == "2.0"
    request = understood(body)
    request_id = request.get("id")
    if not isinstance(request_id, str | int) or isinstance(request_id, bool):
        request_id = None
    if "id" in message:
        assert (message["id"], type(message["id"])) == (request_id, type(request_id))
    else:
        assert message["error"]["code"] == -32700 or request_id is None
    if "result" in message:
        assert message.keys() == {"jsonrpc", "id", "result"}
        check_result(request["method"], message["result"])
        return
    assert message.keys() - {"id"} == {"jsonrpc", "error"}
    error = message["error"]
    assert error.keys() - {"data"} == {"code", "message"}
    assert error["code"] in CODES
    assert isinstance(error["message"], str)
    assert error["code"] != -32002 or version != MODERN


def understood(body: bytes) -> dict[str, Any]:
    """Return the object that a body is, an empty one if it is none."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def check_result(method: str, result: dict[str, Any]) -> None:
    """Check a result by the protocol's schema of its era."""
    version = MODERN if "resultType" in result else HANDSHAKE
    methods.validate_server_result(method, version, result)


def encoded(text: str) -> str:
    """Return how a header carries any text (MCP 2026-07-28, value encoding)."""
    plain = text.isascii() and text.isprintable() and text == text.strip()
    if plain and not text.startswith("=?base64?"):
        return text
    return f"=?base64?{base64.b64encode(text.encode(errors='surrogatepass')).decode()}?="

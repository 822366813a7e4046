"""What the table of refusals is checked with: a server that refuses in every way, row by row."""

import json
from typing import Annotated
from urllib.parse import urlsplit

import wire
from pydantic import BaseModel, Field
from serving import Flow, serving

from mcpserve import ResourceNotFound, ToolContext, ToolError, hookimpl, resource

NOT_JSON = (400, -32700)
NO_MESSAGE = (400, -32600)
NO_METHOD = (404, -32601)
WRONG = (400, -32602)
MALFORMED = (400, -32602, "")
"""What the SDK says of parameters that do not fit the protocol's schema."""
INTERNAL = (200, -32603)
MISMATCH = (400, -32020)
ACCEPTED = (202,)
SERVED = (200, "served")


class Answer(BaseModel):
    """What is asked for."""

    text: str


class Desk:
    """A plugin whose offers refuse in every way."""

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""

        def echo(text: str = "") -> str:
            """Say the same."""
            return text

        def find(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]):
            """Find in a region."""

        async def ask(ctx: ToolContext) -> str:
            """Ask first."""
            return (await ctx.elicit("What?", Answer)).data.text

        return [echo, find, ask]

    @hookimpl
    def mcpserve_resources(self):
        """See the hook."""

        @resource("desk://{name}")
        def note(name: str) -> str:
            """Read a note."""
            if name == "broken":
                raise ToolError("it is broken")
            if name == "crash":
                raise RuntimeError("secret")
            raise ResourceNotFound("no such note")

        return [note]

    @hookimpl
    def mcpserve_prompts(self):
        """See the hook."""

        def write(to: str) -> str:
            """Write a letter."""
            return to

        return [write]


async def post(server, token, body, lines):
    """Post a body with these headers, on a connection of its own."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    common = [
        ("Host", urlsplit(server.url).netloc),
        ("Authorization", f"Bearer {token}"),
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
        ("Content-Length", str(len(raw))),
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in [*common, *lines])
    return await wire.send(server.url, f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode("latin-1") + raw)


def read(answer, request_id):
    """Return status, code and data of an answer, which must be one that is allowed at all."""
    assert not any(line.lower().startswith("mcp-session-id") for line in answer.headers)
    if not answer.body:
        return (answer.status,)
    assert "Content-Type: application/json" in answer.headers
    message = json.loads(answer.body)
    assert message.pop("jsonrpc") == "2.0"
    assert message.pop("id", None) == request_id
    if "error" not in message:
        assert message.keys() == {"result"}
        return (answer.status, "served")
    [error] = message.values()
    assert error.keys() <= {"code", "message", "data"}
    assert error["message"].isprintable()
    assert "secret" not in answer.body.decode()
    data = (error["data"],) if "data" in error else ()
    return (answer.status, error["code"], *data)


async def differing(dsn, rows):
    """Post every row; return what came back, and what should have, by the name of the row."""
    seen = {}
    async with serving(dsn, made={"desk": Desk()}) as server:
        token = (await Flow(server).tokens())["access_token"]
        for name, (body, lines, expected) in rows.items():
            answer = await post(server, token, body, lines)
            seen[name] = (read(answer, readable_id(body)), expected)
    return {name: (got, expected) for name, (got, expected) in seen.items() if got != expected}


def readable_id(body):
    """Return the id that the answer must repeat: none if there was none, or none of any use."""
    given = body.get("id") if isinstance(body, dict) else None
    return given if isinstance(given, str | int) and not isinstance(given, bool) else None

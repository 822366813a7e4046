"""A client of ``POST /mcp`` that can do everything a good one does, and also hang up."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from exchanges import HANDSHAKE, enveloped, modern_headers, request, target
from serving import Flow, Running

BOTH_FORMS = "application/json, text/event-stream"


@dataclass(frozen=True)
class McpClient:
    """A client with an access token, speaking one era."""

    server: Running
    token: str
    modern: bool = True

    @classmethod
    async def authorized(cls, server: Running, scope: str | None = None) -> "McpClient":
        """Return a client to which a person has given these scopes."""
        tokens = await Flow(server).tokens(scope=scope)
        return cls(server, tokens["access_token"])

    def in_era(self, modern: bool) -> "McpClient":
        """Return the same client speaking this era."""
        return McpClient(self.server, self.token, modern)

    def message(
        self, method: str, params: Mapping[str, Any] | None = None, progress_token: Any = None
    ) -> dict[str, Any]:
        """Return a request; with a token it asks for progress."""
        meta = {} if progress_token is None else {"_meta": {"progressToken": progress_token}}
        given = dict(params or {}) | meta
        return request(method, enveloped(given) if self.modern else given)

    def headers(self, message: Mapping[str, Any], **changes: str | None) -> dict[str, str]:
        """Return the headers for a message; underscores mean hyphens, ``None`` leaves one out."""
        name = target(message.get("params") or {})
        lines = (
            modern_headers(message["method"], name)
            if self.modern
            else [("MCP-Protocol-Version", HANDSHAKE)]
        )
        common = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Accept": BOTH_FORMS,
            **dict(lines),
        }
        changed = common | {name.replace("_", "-"): value for name, value in changes.items()}
        return {name: value for name, value in changed.items() if value is not None}

    async def post(self, message: Mapping[str, Any], **changes: str | None) -> httpx.Response:
        """Post a message and read the whole answer."""
        async with self.server.http() as http:
            headers = self.headers(message, **changes)
            return await http.post("/mcp", content=json.dumps(message), headers=headers)

    async def call(
        self, tool: str, progress_token: Any = None, /, **arguments: Any
    ) -> httpx.Response:
        """Call a tool and read the whole answer."""
        params = {"name": tool, "arguments": arguments}
        return await self.post(self.message("tools/call", params, progress_token))

    @asynccontextmanager
    async def calling(
        self, tool: str, progress_token: Any = None, /, **changes: str | None
    ) -> AsyncIterator[httpx.Response]:
        """Call a tool and read as much of the answer as the block does; then hang up."""
        message = self.message("tools/call", {"name": tool, "arguments": {}}, progress_token)
        async with (
            self.server.http() as http,
            http.stream(
                "POST",
                "/mcp",
                content=json.dumps(message),
                headers=self.headers(message, **changes),
            ) as response,
        ):
            yield response


def events(answer: httpx.Response) -> list[Any]:
    """Return the messages of an event stream; fails if it is none, or not as a server sends it."""
    assert answer.headers["Content-Type"] == "text/event-stream"
    blocks = answer.text.removesuffix("\n\n").split("\n\n")
    lines = [block.split("\n") for block in blocks if not block.startswith(":")]
    assert all([line.partition(": ")[0] for line in block] == ["event", "data"] for block in lines)
    assert all(block[0] == "event: message" for block in lines)
    return [json.loads(block[1].removeprefix("data: ")) for block in lines]

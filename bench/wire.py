"""The requests of both eras, byte by byte."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

Era = Literal["handshake", "modern"]
ERAS: tuple[Era, ...] = ("handshake", "modern")

HANDSHAKE = "2025-11-25"
MODERN = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}
ADD = {"name": "add", "arguments": {"a": 20, "b": 22}}
SUM = "42"


def mcp_request(
    era: Era, token: str, *, port: int, method: str = "tools/call", params: Mapping[str, Any] = ADD
) -> bytes:
    """Return a POST to /mcp, whole."""
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": HANDSHAKE,
    }
    if era == "modern":
        params = {"_meta": META, **params}
        headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if "name" in params:
            headers["Mcp-Name"] = params["name"]
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return post("/mcp", headers, json.dumps(message).encode(), port=port)


def post(path: str, headers: Mapping[str, str], body: bytes, *, port: int) -> bytes:
    """Return a POST over a connection that stays open."""
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def write(path: Path, requests: Iterable[bytes]) -> Path:
    """Write requests for load.lua."""
    path.write_bytes(b"\1".join(requests))
    return path

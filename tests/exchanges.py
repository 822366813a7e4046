"""One MCP exchange without HTTP: what a client posts, and what comes back."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mcpserve import Principal, Prompt, Resource, Tool, crypto, tool
from mcpserve.bound import Bound, Containment
from mcpserve.decisions import bind
from mcpserve.errors import BadSeal
from mcpserve.protocol import Exchange, Headers
from mcpserve.registry import Observer, PromptRegistry, Registry, ResourceRegistry, ToolRegistry
from mcpserve.setting_types import ChallengeForm
from mcpserve.settings import OfferSettings, PluginSettings
from mcpserve.tools import CALL_SCOPE, Offer

MODERN = "2026-07-28"
HANDSHAKE = "2025-11-25"
UNKNOWN = "2099-01-01"
META = "io.modelcontextprotocol/"
CALLER = Principal("client", "user", frozenset({CALL_SCOPE}))

Lines = Sequence[tuple[str, str]]


def bound(made: Offer | Callable[..., Any], slots: int = 8, **settings: Any) -> Bound[Any]:
    """Return a tool, or another offer, as a plugin with these settings has it."""
    plugin = PluginSettings.model_validate(settings)
    containment = replace(Containment.of("plugin", plugin), slots=asyncio.Semaphore(slots))
    return bind(
        made if isinstance(made, Offer) else tool(made),
        "plugin",
        plugin,
        OfferSettings(),
        containment=containment,
    )


def registry(*tools: Tool | Callable[..., Any], observers: Sequence[Observer] = ()) -> ToolRegistry:
    """Return these tools as the server holds them."""
    return ToolRegistry([bound(made) for made in tools], observers)


def exchange(
    *offers: Offer | Callable[..., Any], challenge_form: ChallengeForm = "auto"
) -> Exchange:
    """Return an endpoint with these tools, resources and prompts."""
    offered = Registry(
        registry(*(made for made in offers if not isinstance(made, Resource | Prompt))),
        ResourceRegistry(bound(made) for made in offers if isinstance(made, Resource)),
        PromptRegistry(bound(made) for made in offers if isinstance(made, Prompt)),
    )
    return Exchange(
        offered,
        name="tests",
        instructions="Be nice.",
        seal=Sealed(),
        challenge=lambda error: f"Bearer {error}",
        connections="https://mcp.example/connections",
        challenge_form=challenge_form,
    )


class Sealed:
    """Seals as the server does, with a key and no clock."""

    async def seal(self, plain: bytes, *, bound_to: bytes) -> str:
        """Encrypt."""
        return crypto.seal(plain, key=b"key", bound_to=bound_to).hex()

    async def open(self, sealed: str, *, bound_to: bytes) -> bytes:
        """Decrypt."""
        try:
            return crypto.unseal(bytes.fromhex(sealed), key=b"key", bound_to=bound_to)
        except ValueError:
            raise BadSeal from None


@dataclass(frozen=True)
class Answer:
    """What the client got."""

    status: int
    body: Any
    sent: Sequence[Mapping[str, Any]] = ()
    """The notifications before it."""

    @property
    def code(self) -> tuple[int, int | None]:
        """HTTP status, and the code of the JSON-RPC error if it is one."""
        return self.status, ((self.body or {}).get("error") or {}).get("code")

    @property
    def result(self) -> Any:
        """The result; fails if there is none."""
        return self.body["result"]


async def post(
    server: Exchange, body: Any, headers: Lines = (), principal: Principal = CALLER
) -> Answer:
    """Post a body, JSON or bytes, and read the answer."""
    sent: list[Mapping[str, Any]] = []

    async def notify(message: bytes) -> None:
        sent.append(json.loads(message))

    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = await server(principal, Headers.of(headers), raw, notify)
    return Answer(reply.status, json.loads(reply.body) if reply.body else None, sent)


def request(method: str = "tools/list", params: Any = None, **changes: Any) -> dict[str, Any]:
    """Return a JSON-RPC request."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method}
    return message | ({} if params is None else {"params": params}) | changes


def enveloped(params: Mapping[str, Any] | None = None, version: Any = MODERN) -> dict[str, Any]:
    """Return parameters with what every request of the modern era carries."""
    envelope = {
        f"{META}protocolVersion": version,
        f"{META}clientCapabilities": {},
        f"{META}clientInfo": {"name": "tests", "version": "1"},
    }
    given = dict(params or {})
    return given | {"_meta": envelope | given.get("_meta", {})}


def modern_headers(method: str, name: str | None = None, version: str = MODERN) -> Lines:
    """Return the headers of a request of the modern era."""
    lines = [("MCP-Protocol-Version", version), ("Mcp-Method", method)]
    return [*lines, ("Mcp-Name", name)] if name is not None else lines


def target(params: Mapping[str, Any]) -> str | None:
    """Return what ``Mcp-Name`` repeats of the parameters."""
    name: str | None = params.get("name", params.get("uri"))
    return name


async def modern(
    server: Exchange,
    method: str,
    params: Mapping[str, Any] | None = None,
    headers: Lines = (),
    principal: Principal = CALLER,
) -> Answer:
    """Send a good request of the modern era, with more headers."""
    lines = [*modern_headers(method, target(params or {})), *headers]
    return await post(server, request(method, enveloped(params)), lines, principal)


async def handshake(
    server: Exchange,
    method: str,
    params: Mapping[str, Any] | None = None,
    version: str = HANDSHAKE,
    principal: Principal = CALLER,
) -> Answer:
    """Send a good request of the handshake era."""
    lines = [("MCP-Protocol-Version", version)]
    return await post(server, request(method, params), lines, principal)

"""Who may be served what, decided before anything is done.

Without a login that is what says something of the server, and what the operator opened; there
whatever is not served is refused alike, so that nobody learns what else there is.
"""

import contextlib
from typing import Any

from mcp_types import JSONRPCRequest

from mcpserve.bound import Bound
from mcpserve.errors import InsufficientScope, InvalidToken
from mcpserve.principal import Principal
from mcpserve.registry import Registry, Unknown

PUBLIC = frozenset(
    {
        "initialize",
        "server/discover",
        "ping",
        "logging/setLevel",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "prompts/list",
    }
)
"""Methods that run nothing of a plugin."""


def admitted(
    registry: Registry, principal: Principal, request: JSONRPCRequest
) -> Bound[Any] | None:
    """Return what the request uses of a plugin, ``None`` if it uses nothing that there is.

    Raises :class:`~mcpserve.errors.InsufficientScope`, and
    :class:`~mcpserve.errors.InvalidToken` for a caller who would have to log in.
    """
    if not principal.anonymous:
        try:
            return used(registry, principal.scopes, request)
        except Unknown:
            return None
    if request.method in PUBLIC:
        return None
    with contextlib.suppress(Unknown, InsufficientScope):
        if bound := used(registry, principal.scopes, request):
            return bound
    raise InvalidToken("a bearer token is needed", presented=False)


def used(registry: Registry, scopes: frozenset[str], request: JSONRPCRequest) -> Bound[Any] | None:
    """Return what the request names of a plugin, if these scopes allow to use it.

    Raises :class:`~mcpserve.registry.Unknown` and
    :class:`~mcpserve.errors.InsufficientScope`.
    """
    match request.method, request.params:
        case "tools/call", {"name": str() as name}:
            return registry.tools.require(name, scopes)
        case "resources/read", {"uri": str() as uri}:
            return registry.resources.readable(uri, scopes)[0]
        case "prompts/get", {"name": str() as name}:
            return registry.prompts.require(name, scopes)
        case "completion/complete", {"ref": {"type": "ref/resource", "uri": str() as uri}}:
            return registry.resources.require(uri, scopes)
        case "completion/complete", {"ref": {"type": "ref/prompt", "name": str() as name}}:
            return registry.prompts.require(name, scopes)
        case _:
            return None

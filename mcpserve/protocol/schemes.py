"""What a tool needs of a token, told with the tool itself (``securitySchemes``).

A draft for MCP that ChatGPT reads already. The protocol's own types do not know it: in ``_meta`` it
passes through the SDK, and from there it is repeated where the draft has it.
"""

from collections.abc import Mapping
from typing import Any

import mcp_types

from mcpserve.bound import Bound
from mcpserve.tools import Tool

MEMBER = "securitySchemes"


def listed(bound: Bound[Tool]) -> mcp_types.Tool:
    """Return the tool as ``tools/list`` shows it, with the scopes that a call needs.

    What is open may be called without a login, or with any.
    """
    definition = bound.offer.definition
    login = {"type": "oauth2", "scopes": sorted(bound.scopes)}
    schemes = [{"type": "noauth"}, login] if bound.is_open else [login]
    return definition.model_copy(update={"meta": {**(definition.meta or {}), MEMBER: schemes}})


def repeated(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result of ``tools/list`` with the schemes of each tool at its top level, too."""
    tools = [shown | {MEMBER: shown["_meta"][MEMBER]} for shown in result["tools"]]
    return {**result, "tools": tools}

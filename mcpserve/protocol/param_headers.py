"""``Mcp-Param-*`` headers: arguments repeated for whoever routes by them (MCP 2026-07-28)."""

from typing import Any

from mcp.shared.inbound import validate_mcp_param_headers
from mcp_types import JSONRPCRequest

from mcpserve.bound import Bound
from mcpserve.protocol.eras import Era
from mcpserve.protocol.messages import Headers, Rejected
from mcpserve.tools import Tool


def check_param_headers(
    era: Era, request: JSONRPCRequest, headers: Headers, used: Bound[Any]
) -> None:
    """Compare ``Mcp-Param-*`` headers with the arguments, for tools that declare some.

    Raises :class:`Rejected`.
    """
    tool = used.offer
    if not era.modern or not isinstance(tool, Tool) or not tool.has_param_headers:
        return
    arguments = (request.params or {}).get("arguments")
    given = arguments if isinstance(arguments, dict) else {}
    if rejection := validate_mcp_param_headers(tool.input_schema, given, headers.folded):
        raise Rejected.by(rejection)

"""Long lists, page by page (MCP 2026-07-28, pagination)."""

import base64
import re
from collections.abc import Callable, Sequence
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, PaginatedRequestParams

from mcpserve.bound import Bound
from mcpserve.protocol.dispatch import Call, caller

PAGE_SIZE = 100

POSITION = re.compile(rb"[1-9][0-9]{0,8}")


def page(
    offers: Sequence[Bound[Any]],
    context: ServerRequestContext[Any, Call],
    params: PaginatedRequestParams | None,
    show: Callable[[Bound[Any]], Any] = lambda bound: bound.offer.definition,
) -> tuple[list[Any], str | None]:
    """Return the definitions that the caller may see, and the cursor of the next page, if any.

    A cursor is a position among all offers, so it means the same whatever the caller may see.
    Raises :class:`MCPError` for one that was never given out.
    """
    start = 0 if params is None or params.cursor is None else position(params.cursor, len(offers))
    call = caller(context)
    seen = [
        at
        for at, bound in enumerate(offers)
        if at >= start and bound.scopes <= call.visible and not bound.is_withheld(call.principal)
    ]
    shown = [show(offers[at]) for at in seen[:PAGE_SIZE]]
    return shown, cursor(seen[PAGE_SIZE]) if len(seen) > PAGE_SIZE else None


def cursor(at: int) -> str:
    """Return the cursor of the page that begins here."""
    return base64.urlsafe_b64encode(str(at).encode()).decode()


def position(given: str, end: int) -> int:
    """Return where the page of a cursor begins."""
    try:
        decoded = base64.b64decode(given, altchars=b"-_", validate=True)
    except ValueError:
        decoded = b""
    if not POSITION.fullmatch(decoded) or int(decoded) >= end or cursor(int(decoded)) != given:
        raise MCPError(INVALID_PARAMS, "Unknown cursor")
    return int(decoded)

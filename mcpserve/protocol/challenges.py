"""What a client gets that may not call a tool: HTTP 401 or 403, or a result that says so.

The specification's form is HTTP's, and most clients act on nothing else. ChatGPT asks its person
to log in, or for more, only when a result of the tool carries the challenge. Either way the tool
is not run.
"""

import re
from collections.abc import Mapping
from typing import Any

from mcp_types import CallToolResult, JSONRPCRequest, TextContent

from mcpserve.errors import InsufficientScope, InvalidToken
from mcpserve.protocol.dispatch import Challenge, Refusal
from mcpserve.protocol.eras import Era, Modern
from mcpserve.protocol.messages import Headers
from mcpserve.setting_types import ChallengeForm

META_KEY = "mcp/www_authenticate"

READS_RESULTS = "openai-mcp"
"""ChatGPT, by its ``clientInfo`` and, before it has sent that, by its ``User-Agent``."""


def in_result(form: ChallengeForm, request: JSONRPCRequest, era: Era, headers: Headers) -> bool:
    """Whether this client is told in a result; what it says of itself decides nothing else."""
    if request.method != "tools/call":
        return False
    if form != "auto":
        return form == "tool"
    product = re.split("[/ ]", headers.folded.get("user-agent", ""))[0]
    return READS_RESULTS in (product, client_name(era))


def client_name(era: Era) -> str | None:
    """Return what the client calls itself in the request, if it does."""
    info: Mapping[str, Any] | Any = era.client_info if isinstance(era, Modern) else None
    return info.get("name") if isinstance(info, Mapping) else None


def refusal(error: Refusal, challenge: Challenge) -> CallToolResult:
    """Return the result of a call that was not carried out."""
    if isinstance(error, InsufficientScope):
        text = f"{error.description}: {' '.join(sorted(error.scopes))}"
    else:
        text = "this takes a login"
        # Over HTTP no error is told of a token that was not sent; ChatGPT insists on one.
        error = InvalidToken(text)
    return CallToolResult(
        content=[TextContent(type="text", text=text)],
        is_error=True,
        _meta={META_KEY: [challenge(error)]},
    )

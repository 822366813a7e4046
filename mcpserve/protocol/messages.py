"""What goes in and out: headers, one JSON-RPC message, a reply."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import mcp_types
import pydantic_core
from mcp.shared.inbound import (
    MCP_PROTOCOL_VERSION_HEADER,
    InboundLadderRejection,
)
from mcp_types import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
    ErrorData,
    JSONRPCNotification,
)
from mcp_types.version import (
    HANDSHAKE_PROTOCOL_VERSIONS,
    MODERN_PROTOCOL_VERSIONS,
)
from pydantic import ValidationError

from mcpserve.surrogates import encoded

TOLD_VERSIONS = [*reversed(MODERN_PROTOCOL_VERSIONS), "2025-11-25", "2025-06-18"]
"""What a client may choose from, newest first.

Older ones are served as far as that goes: 2025-03-26 has batches, 2024-11-05 another transport.
"""


LONGEST_ID = 256
"""Characters of a text that is a request's id or progress token: it comes back in every answer."""


@dataclass(frozen=True)
class Reply:
    """What to answer: an HTTP status and a JSON body, or no body at all."""

    status: int
    body: bytes | None = None
    unavailable: Exception | None = None
    """Why there is no real answer now: to be told as HTTP 503, unless a stream has begun."""


@dataclass(frozen=True)
class Headers:
    """The headers of a request, by lower-case names: every line, and the last of each name."""

    lines: tuple[tuple[str, str], ...]
    folded: Mapping[str, str]

    @classmethod
    def of(cls, lines: Iterable[tuple[str, str]]) -> "Headers":
        """Keep the lines in their order."""
        kept = tuple([(name.lower(), value) for name, value in lines])
        return cls(kept, dict(kept))


class Rejected(Exception):
    """A request that is refused before its method is looked at."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.error = ErrorData(code=code, message=message, data=data)

    @classmethod
    def by(cls, rejection: InboundLadderRejection) -> "Rejected":
        """Take over what a rung of the SDK's ladder says."""
        return cls(rejection.code, rejection.message, rejection.data)


def parse(body: bytes) -> dict[str, Any]:
    """Return the one JSON object of a body. Raises :class:`Rejected`."""
    try:
        # Unlike json.loads it refuses half of a surrogate pair, which no UTF-8 can carry on.
        message = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError:
        raise Rejected(PARSE_ERROR, "Parse error") from None
    if not isinstance(message, dict):
        raise Rejected(INVALID_REQUEST, "The body must be one JSON-RPC request or notification")
    return message


def refuse_unknown_version(headers: Headers) -> None:
    """Refuse a version that is not served, whatever comes with it.

    MCP 2025-11-25, transports; MCP 2026-07-28, versioning. Raises :class:`Rejected`.
    """
    named = headers.folded.get(MCP_PROTOCOL_VERSION_HEADER)
    if named not in (None, *HANDSHAKE_PROTOCOL_VERSIONS, *MODERN_PROTOCOL_VERSIONS):
        raise Rejected(
            UNSUPPORTED_PROTOCOL_VERSION,
            "Unsupported protocol version",
            {"supported": TOLD_VERSIONS, "requested": named},
        )


def acknowledge(message: dict[str, Any], headers: Headers) -> Reply:
    """Accept a notification and drop it: there is no state that it could change.

    Raises :class:`Rejected` for a version that is not served.
    """
    try:
        JSONRPCNotification.model_validate(message)
    except ValidationError:
        error = ErrorData(code=INVALID_REQUEST, message="Not a JSON-RPC request or notification")
        return Reply(400, error_body(None, error))
    refuse_unknown_version(headers)
    return Reply(202)


def refuse_malformed(message: dict[str, Any], headers: Headers) -> Reply:
    """Refuse what has an ``id`` and is no request; a handshake client may post responses."""
    is_response = "method" not in message and ("result" in message or "error" in message)
    named = headers.folded.get(MCP_PROTOCOL_VERSION_HEADER)
    if is_response and named in (None, *HANDSHAKE_PROTOCOL_VERSIONS):
        return Reply(202)
    error = ErrorData(code=INVALID_REQUEST, message="Not a valid JSON-RPC request")
    return Reply(400, error_body(readable_id(message), error))


def readable_id(message: Mapping[str, Any]) -> mcp_types.RequestId | None:
    """Return the id of what may be no request otherwise; ``None`` if it is none, or too long."""
    match message["id"]:
        case bool():
            return None
        case str() as text if len(text) > LONGEST_ID:
            return None
        case str() | int() as request_id:
            return request_id
        case _:
            return None


def refuse_long_token(params: Mapping[str, Any] | None) -> None:
    """Refuse a progress token that would make every report large. Raises :class:`Rejected`."""
    match params:
        case {"_meta": {"progressToken": token}} if len(str(token)) > LONGEST_ID:
            raise Rejected(
                INVALID_PARAMS, f"The progressToken may have {LONGEST_ID} characters at most"
            )


def error_body(request_id: mcp_types.RequestId | None, error: ErrorData) -> bytes:
    """Return a JSON-RPC error; without an id where none could be read (MCP 2026-07-28, basic)."""
    identified = {} if request_id is None else {"id": request_id}
    told = error.model_dump(mode="json", exclude_none=True)
    return encode({"jsonrpc": "2.0", **identified, "error": told})


def encode(message: Mapping[str, Any]) -> bytes:
    """Return JSON in ASCII, which no reader of lines takes for several."""
    return encoded(message, ensure_ascii=True, inf_nan_mode="null")

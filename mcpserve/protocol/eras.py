"""In which era a client speaks, told by how it opens (MCP 2026-07-28, versioning)."""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mcp.server.connection import Connection
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PARAM_HEADER_PREFIX,
    MCP_PROTOCOL_VERSION_HEADER,
    InboundLadderRejection,
    classify_inbound_request,
)
from mcp_types import (
    HEADER_MISMATCH,
    PROTOCOL_VERSION_META_KEY,
    ClientCapabilities,
)
from mcp_types.version import (
    HANDSHAKE_PROTOCOL_VERSIONS,
    LATEST_HANDSHAKE_VERSION,
)
from pydantic import ValidationError

from mcpserve.protocol.messages import Headers, Rejected, refuse_unknown_version

HEADERLESS_VERSION = "2025-03-26"
"""What a client speaks that names no version (MCP 2025-11-25, transports)."""

ROUTING = frozenset({MCP_PROTOCOL_VERSION_HEADER, MCP_METHOD_HEADER, MCP_NAME_HEADER})
PARAM_PREFIX = MCP_PARAM_HEADER_PREFIX.lower()

NO_CHANNEL = Connection.from_envelope(HEADERLESS_VERSION, None, None).outbound
"""The SDK's: there is no way to a client beside the answer to its request."""

HEADER_VALUE = re.compile(r"[\t -~]*")
"""What a header that stands for a part of the body may carry; the rest needs Base64."""


class Era(Protocol):
    """How one request is served and its errors are told."""

    modern: bool

    def connection(self) -> Connection:
        """Return a fresh connection for this one request."""

    def status(self, code: int) -> int:
        """Return the HTTP status of a JSON-RPC error."""


@dataclass(frozen=True)
class Handshake:
    """Versions up to 2025-11-25, without the session that they allow to leave out."""

    version: str
    modern = False

    def connection(self) -> Connection:
        """See :class:`Era`."""
        return ready(self.version)

    def status(self, code: int) -> int:
        """404 would mean a lost session there, so errors of the protocol are 200."""
        return 200


@dataclass(frozen=True)
class Modern:
    """2026-07-28: every request carries its version, capabilities and client."""

    version: str
    client_info: Any = field(repr=False)
    client_capabilities: Any = field(repr=False)
    modern = True

    def connection(self) -> Connection:
        """See :class:`Era`."""
        connection = ready(self.version)
        # The kernel looks at the envelope itself, and refuses what is no such object.
        with contextlib.suppress(ValidationError):
            connection.client_capabilities = ClientCapabilities.model_validate(
                self.client_capabilities, by_name=False
            )
        return connection

    def status(self, code: int) -> int:
        """See :class:`Era`; the SDK has the table."""
        return ERROR_CODE_HTTP_STATUS.get(code, 200)


def ready(version: str) -> Connection:
    """Return a connection that knows nothing of its client.

    Not by ``from_envelope``, which makes a model of what the client calls itself: nobody asks.
    """
    connection = Connection(NO_CHANNEL, protocol_version=version)
    connection.initialized.set()
    return connection


def choose_era(headers: Headers, message: Mapping[str, Any]) -> Era:
    """Tell the era by how the client opens (MCP 2026-07-28, versioning).

    The body's envelope decides, then the header; ``initialize`` without an envelope is always a
    handshake. Raises :class:`Rejected`.
    """
    named = headers.folded.get(MCP_PROTOCOL_VERSION_HEADER)
    enveloped = envelope_version(message)
    if enveloped is None and message["method"] == "initialize":
        return Handshake(LATEST_HANDSHAKE_VERSION)
    refuse_ambiguous(headers)
    if enveloped is None and named is None:
        return Handshake(HEADERLESS_VERSION)
    if named is not None and enveloped in (None, named):
        if named in HANDSHAKE_PROTOCOL_VERSIONS:
            return Handshake(named)
        refuse_unknown_version(headers)
    verdict = classify_inbound_request(message, headers=headers.folded)
    if isinstance(verdict, InboundLadderRejection):
        raise Rejected.by(verdict)
    return Modern(verdict.protocol_version, verdict.client_info, verdict.client_capabilities)


def refuse_ambiguous(headers: Headers) -> None:
    """Refuse headers that whoever routes by them might read otherwise than we do.

    Raises :class:`Rejected` for one that is there twice or has characters of no fixed meaning.
    """
    seen = set()
    for name, value in headers.lines:
        if name not in ROUTING and not name.startswith(PARAM_PREFIX):
            continue
        if name in seen:
            raise Rejected(HEADER_MISMATCH, f"{name} header appears more than once")
        if not HEADER_VALUE.fullmatch(value):
            raise Rejected(HEADER_MISMATCH, f"{name} header must be ASCII or Base64")
        seen.add(name)


def envelope_version(message: Mapping[str, Any]) -> Any:
    """Return the version that the body's ``_meta`` names, ``None`` if it names none."""
    match message:
        case {"params": {"_meta": {**meta}}}:
            return meta.get(PROTOCOL_VERSION_META_KEY)
        case _:
            return None

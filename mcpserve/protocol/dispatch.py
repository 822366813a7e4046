"""What the SDK's kernel is given for one request: who calls, and the way back to the client."""

import asyncio
import functools
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import mcp_types
from mcp.server.context import ServerRequestContext
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import (
    JSONRPCNotification,
    LoggingLevel,
)

from mcpserve.containment import plugin_here
from mcpserve.errors import InsufficientScope, InvalidToken
from mcpserve.floods import Meter
from mcpserve.principal import Principal
from mcpserve.protocol.messages import encode
from mcpserve.questions import Interview
from mcpserve.tools import LEVELS, FindUser, Log, Progress, ToolContext, no_user

logger = logging.getLogger(__name__)

Notify = Callable[[bytes], Awaitable[None]]
"""Sends one JSON-RPC notification on the stream of the request."""


Refusal = InsufficientScope | InvalidToken
"""Why a request is not served: its token lacks a scope, or it has none and needs one."""

Challenge = Callable[[Refusal], str]
"""Tells a client in the words of ``WWW-Authenticate`` what its token lacks."""


@dataclass(frozen=True)
class Call:
    """What our handlers need and the SDK only carries along."""

    principal: Principal
    progress: Progress
    log: Log
    trace: Mapping[str, str]
    visible: frozenset[str]
    refused: Refusal | None
    find_user: FindUser
    locale: str | None


@dataclass
class Dispatch:
    """The SDK's ``DispatchContext`` of one request: notifications go out, requests cannot."""

    request_id: mcp_types.RequestId
    transport: TransportContext
    progress_token: mcp_types.ProgressToken | None
    send: Notify
    principal: Principal
    log_level: LoggingLevel | None = None
    """The least severe log messages that the client wants of this request, if any."""
    trace: Mapping[str, str] = field(default_factory=dict)
    visible: frozenset[str] = frozenset()
    """Lists show what these scopes allow to use."""
    refused: Refusal | None = None
    """Set for a client that reads in a result of the tool why its call is not carried out."""
    find_user: FindUser = no_user
    locale: str | None = None
    can_send_request: bool = field(default=False, init=False)
    reported: float = field(default=-math.inf, init=False)
    """How far the request is, as the client was told last."""
    flooded: bool = field(default=False, init=False)
    """Whether a message was dropped, and the operator told."""

    @functools.cached_property
    def cancel_requested(self) -> anyio.Event:
        """Never set: there is no channel on which a client could ask for it."""
        return anyio.Event()

    @functools.cached_property
    def meter(self) -> Meter:
        """Counts what the request sends before it is answered."""
        return Meter()

    @property
    def message_metadata(self) -> ServerMessageMetadata:
        """Carries our :class:`Call` through the SDK."""
        return ServerMessageMetadata(
            request_context=Call(
                self.principal,
                self.progress,
                self.log,
                self.trace,
                self.visible,
                self.refused,
                self.find_user,
                self.locale,
            )
        )

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Refuse: a stateless server has no way back to the client."""
        raise NoBackChannelError(method)

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        """Send a notification on the stream of the request; drop it in a flood."""
        if not self.meter.admits(params):
            if not self.flooded:
                self.flooded = True
                logger.warning("plugin %s floods its client: messages are dropped", plugin_here())
            # Whoever sends without end must let others have their turn.
            await asyncio.sleep(0)
            return
        message = JSONRPCNotification(
            jsonrpc="2.0", method=method, params=dict(params) if params is not None else None
        )
        await self.send(encode(message.model_dump(mode="json", by_alias=True, exclude_none=True)))

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Report progress, if the request brought a token for it and is not answered yet.

        What is no more than before is not sent (MCP 2026-07-28, progress).
        """
        if self.progress_token is None or progress <= self.reported:
            return
        self.reported = progress
        params = {
            "progressToken": self.progress_token,
            "progress": progress,
            "total": total,
            "message": message,
        }
        given = {name: value for name, value in params.items() if value is not None}
        await self.notify("notifications/progress", given)

    async def log(self, level: LoggingLevel, data: Any) -> None:
        """Send a log message, if the request wants one of this level and is not answered yet."""
        if self.log_level and LEVELS.index(level) >= LEVELS.index(self.log_level):
            await self.notify("notifications/message", {"level": level, "data": data})

    def close(self) -> None:
        """Drop whatever is sent from now on: the request is answered."""
        self.progress_token = None
        self.log_level = None


def caller(context: ServerRequestContext[Any, Call]) -> Call:
    """Return the :class:`Call` that :class:`Dispatch` put in."""
    if context.request is None:
        raise RuntimeError("the SDK lost the request context")
    return context.request


def tool_context(
    context: ServerRequestContext[Any, Call], interview: Interview | None = None
) -> ToolContext:
    """Return what a plugin may know of the request; without an ``interview`` it cannot ask."""
    call = caller(context)
    return ToolContext(
        call.principal,
        call.progress,
        call.log,
        interview or Interview(None),
        call.trace,
        call.find_user,
        call.locale,
    )

"""Requests that take several rounds, because the client is asked something first.

MCP 2026-07-28, multi round-trip requests. What one round must tell the next goes through the
client, sealed: ``requestState``. It is good for the same caller and the same request only.
"""

import functools
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    InputRequiredResult,
    InputResponseRequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcpserve.errors import BadSeal
from mcpserve.principal import Principal
from mcpserve.protocol.dispatch import Call, caller
from mcpserve.questions import CannotAsk, InputRequired, Interview, Transcript, dump

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class Seal(Protocol):
    """Keeps what goes through a client secret and unchanged, for a while."""

    async def seal(self, plain: bytes, *, bound_to: bytes) -> str:
        """Return a text that yields ``plain`` to whoever names the same ``bound_to``."""

    async def open(self, sealed: str, *, bound_to: bytes) -> bytes:
        """Return what was sealed. Raises :class:`~mcpserve.errors.BadSeal`."""


class Rounds:
    """Serves single rounds. One instance serves all of them, at the same time."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    async def serve(
        self,
        context: ServerRequestContext[Any, Call],
        params: InputResponseRequestParams,
        run: Callable[[Interview], Awaitable[Result]],
        *,
        target: str,
        arguments: Mapping[str, Any] | None = None,
    ) -> Result | InputRequiredResult:
        """Run what may ask something, or return what has to be asked.

        ``target`` and ``arguments`` are the request, as far as an answer depends on it. Raises
        :class:`MCPError` for a state that was not made for it, and for a client that does not take
        what it has to be asked; and whatever ``run`` raises.
        """
        principal = caller(context).principal
        bound_to = functools.partial(binding, principal, context.method, target, arguments or {})
        interview = await self._interview(context, params, bound_to, principal=principal)
        try:
            return await run(interview)
        except InputRequired:
            transcript = interview.transcript.model_dump_json().encode()
            state = await self._seal.seal(transcript, bound_to=bound_to())
            return InputRequiredResult(input_requests=interview.open, request_state=state)
        except CannotAsk as error:
            if error.required is None:  # The client's protocol has no word for this.
                raise
            raise MCPError(
                code=MISSING_REQUIRED_CLIENT_CAPABILITY,
                message=str(error),
                data={"requiredCapabilities": dump(error.required)},
            ) from error

    async def _interview(
        self,
        context: ServerRequestContext[Any, Call],
        params: InputResponseRequestParams,
        bound_to: Callable[[], bytes],
        *,
        principal: Principal,
    ) -> Interview:
        # A state is worth something to one caller only, and without a login there is no "one".
        if context.protocol_version not in MODERN_PROTOCOL_VERSIONS or principal.anonymous:
            return Interview(None)
        earlier = None
        if params.request_state is not None:
            try:
                opened = await self._seal.open(params.request_state, bound_to=bound_to())
            except BadSeal:
                logger.info("refused a requestState on %s", context.method)
                raise MCPError(
                    code=INVALID_PARAMS, message="Invalid or expired requestState"
                ) from None
            earlier = Transcript.model_validate_json(opened)
        return Interview(
            context.session.client_capabilities,
            earlier=earlier,
            responses=params.input_responses or {},
        )


def binding(principal: Principal, method: str, target: str, arguments: Mapping[str, Any]) -> bytes:
    """Return what tells this caller's request from every other one, whatever round it is."""
    digest = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()
    parts = [principal.client_id, principal.subject, method, target, digest]
    return json.dumps(parts).encode()

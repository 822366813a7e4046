"""What server and worker say to each other: JSON, each message after its length."""

import struct
from collections.abc import Mapping
from typing import Any, Literal

from mcp_types import ClientCapabilities, InputRequest, LoggingLevel
from pydantic import BaseModel

from mcpserve.principal import Principal, User
from mcpserve.questions import Answered, Transcript
from mcpserve.settings import PluginSettings
from mcpserve.surrogates import encoded

LENGTH = struct.Struct(">I")

REQUESTED = "mcpserve:requested"
"""Stands for the URI that was asked for, which a worker is not told."""


def frame(message: Mapping[str, Any]) -> bytes:
    """Return a message as it is sent."""
    body = encoded(message, by_alias=True, exclude_none=True, inf_nan_mode="null")
    return LENGTH.pack(len(body)) + body


class Start(BaseModel):
    """The first message to a worker."""

    plugin: str
    settings: PluginSettings
    path: list[str]
    """Where modules are looked for, as in the server."""
    level: int
    """The least severe messages that are logged."""

    @property
    def longest(self) -> int:
        """Bytes of one message of the worker, its length included."""
        return 2 * self.settings.results.max_size + 2**20


class Asked(BaseModel):
    """What the interview of a call is about, before a run."""

    capabilities: ClientCapabilities | None = None
    earlier: Transcript | None = None
    responses: dict[str, Any] = {}


class Call(BaseModel):
    """A call of what the worker offers. ``do`` says how."""

    id: int
    do: Literal["call", "complete"]
    kind: str
    name: str
    arguments: dict[str, Any]
    principal: Principal
    trace: dict[str, str] = {}
    locale: str | None = None
    request_id: str = ""
    interview: Asked = Asked()


class Offered(BaseModel):
    """One tool, resource or prompt of a worker."""

    kind: str
    name: str
    definition: dict[str, Any]
    arguments: list[str]
    input_schema: dict[str, Any] | None = None
    mime_type: str | None = None
    uri: str | None = None
    scopes: frozenset[str]
    timeout: float | None = None
    is_completed: bool = False


class Ready(BaseModel):
    """The first message of a worker: what it offers, or why it cannot start."""

    offers: list[Offered] = []
    observes: bool = False
    config_schema: dict[str, Any] | None = None
    problem: str | None = None


Failure = Literal[
    "tool error", "wrong arguments", "not found", "cannot ask", "crash", "timeout", "asked"
]


class Ended(BaseModel):
    """How a call ended: with a result, or else a failure."""

    id: int
    result: Any = None
    failure: Failure | None = None
    text: str = ""
    required: ClientCapabilities | None = None
    opened: dict[str, InputRequest] = {}
    answered: dict[str, Answered] = {}


class Told(BaseModel):
    """What a call tells its client, or wants to know; it goes on when that is acknowledged."""

    id: int
    number: int
    do: Literal["progress", "log", "user"]
    progress: float = 0
    total: float | None = None
    message: str | None = None
    level: LoggingLevel = "info"
    data: Any = None


class Acknowledged(BaseModel):
    """The answer to what was told."""

    id: int
    number: int
    user: User | None = None

"""What passes between the three programs: who asks for processes, their supervisor, and they."""

import dataclasses
import json
import os
from dataclasses import dataclass
from enum import Enum
from typing import Self

VARIABLE = "_MCPSERVE_PROCESS"
"""What a process is told at its start, out of the way of plugins and of the command line."""


class Word(Enum):
    """What supervisor and processes say to each other, a byte each."""

    READY = b"r"
    """It serves."""
    WANTED = b"w"
    """It was asked to reload, which is a matter of all."""
    PREPARE = b"?"
    """Make what the configuration says now, and say whether that went well."""
    PREPARED = b"o"
    REFUSED = b"n"
    """What the configuration says now cannot be used."""
    SWAP = b"+"
    """All are prepared: serve what was made."""
    KEEP = b"-"
    """One is not: stay as it was."""
    ANNOUNCE = b"a"
    """All are ready: say so to whoever started the server."""
    HURRY = b"h"
    """Wait for no request any more."""


@dataclass(frozen=True)
class Log:
    """How lines of the log look."""

    level: str
    format: str


@dataclass(frozen=True)
class Plan:
    """What a supervisor has to know. It is on its command line, so there is no secret in it."""

    count: int
    command: list[str]
    """What a process is started with: what the first was started with."""
    sockets: list[int]
    """Descriptors of the sockets that listen."""
    log: Log
    data_dir: str | None
    """Of the embedded database; ``None`` if there is another."""
    connections: int
    """Most connections to it at a time."""
    patience: float
    """Seconds in which a process has ended that was told to."""

    def dumps(self) -> str:
        """Return it as text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def loads(cls, text: str) -> Self:
        """Return what was a plan."""
        said = json.loads(text)
        return cls(**{**said, "log": Log(**said["log"])})


@dataclass(frozen=True)
class Embedded:
    """The embedded database, which the supervisor runs."""

    dsn: str
    version: str
    data_dir: str
    socket_path: str


@dataclass(frozen=True)
class Place:
    """What a process has to know of its supervisor."""

    number: int
    """From 1; whoever replaces a process has its number."""
    channel: int
    """Descriptor of the connection to the supervisor."""
    lock: int
    """Descriptor of the file by which they take turns in the log."""
    sockets: list[int]
    embedded: Embedded | None

    def environment(self) -> dict[str, str]:
        """Return the environment of the process."""
        return {**os.environ, VARIABLE: json.dumps(dataclasses.asdict(self))}

    @classmethod
    def take(cls) -> Self | None:
        """Return what a supervisor said, once: what this process starts shall not read it."""
        if (text := os.environ.pop(VARIABLE, None)) is None:
            return None
        said = json.loads(text)
        embedded = said.pop("embedded")
        return cls(**said, embedded=Embedded(**embedded) if embedded else None)

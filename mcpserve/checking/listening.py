"""Listening to what a plugin writes into the log and prints."""

import io
import logging
import sys
from collections.abc import Iterator
from typing import TextIO

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError

from mcpserve.checking import rules
from mcpserve.checking.findings import Finding
from mcpserve.hooks import reason

SHORTEST_SECRET = 4
"""Shorter ones are in many a text by chance."""
KEPT_CHARACTERS = 1_000_000


def secrets_in(value: object) -> list[str]:
    """Return every secret in a plugin's config."""
    match value:
        case SecretStr():
            found = value.get_secret_value()
            return [found] if len(found) >= SHORTEST_SECRET else []
        case SecretBytes():
            return secrets_in(SecretStr(value.get_secret_value().decode(errors="replace")))
        case BaseModel():
            return secrets_in([getattr(value, name) for name in type(value).model_fields])
        case dict():
            return secrets_in(list(value.values()))
        case list() | tuple() | set() | frozenset():
            return [secret for item in value for secret in secrets_in(item)]
        case _:
            return []


def cause(error: BaseException) -> str:
    """Tell an exception in one line, without a page of pydantic's and what it refused."""
    if not isinstance(error, ValidationError):
        return reason(error)
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in problems)


class Listener(logging.Handler):
    """Keeps what is written, as far as it has to be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))
        self.secrets: list[str] = []
        self.written = io.StringIO()
        self.slow: list[str] = []
        self.closing: list[str] = []
        self.last_line = ""
        """Of what was logged last: its exception if it has one."""

    @classmethod
    def start(cls) -> "Listener":
        """Listen to all logging from ``INFO`` on, and to what is printed."""
        listener = cls()
        logging.basicConfig(level=logging.INFO, handlers=[listener])
        sys.stdout = Printed(sys.stdout, listener)
        sys.stderr = Printed(sys.stderr, listener)
        return listener

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line."""
        text = self.format(record)
        failed = record.exc_info[1] if record.exc_info else None
        self.last_line = cause(failed) if failed else text.rpartition("\n")[2]
        if record.name == "asyncio" and text.startswith("Executing "):
            self.slow.append(text)
        elif record.name.startswith("mcpserve.") and "failed while closing" in text:
            self.closing.append(self.last_line)
        self.keep(text)

    def keep(self, text: str) -> None:
        """Keep a text, unless there is too much already."""
        if self.written.tell() < KEPT_CHARACTERS:
            self.written.write(text[:KEPT_CHARACTERS])

    def tells(self, text: str) -> bool:
        """Whether a secret is in the text."""
        return any(secret in text for secret in self.secrets)

    def failures_of_closing(self) -> Iterator[Finding]:
        """Yield why closing the plugin failed."""
        for text in self.closing:
            yield Finding(rules.CLOSE, detail=f"fails while it is closed: {text}")


class Printed(io.TextIOBase):
    """Standard output or error that is listened to, too."""

    def __init__(self, stream: TextIO, listener: Listener) -> None:
        self._stream = stream
        self._listener = listener

    def write(self, text: str) -> int:
        """Write it."""
        self._listener.keep(text)
        return self._stream.write(text)

    def flush(self) -> None:
        """Flush it."""
        self._stream.flush()

    def fileno(self) -> int:
        """Return the descriptor, for processes that inherit it."""
        return self._stream.fileno()

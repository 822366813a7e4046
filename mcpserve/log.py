"""Logging to standard error: JSON lines or text, with the request's id and without secrets."""

import contextlib
import contextvars
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
network: contextvars.ContextVar[str] = contextvars.ContextVar("network", default="")
"""Where the request comes from, as far as failures are counted by it."""
operator: contextvars.ContextVar[str] = contextvars.ContextVar("operator", default="")
"""The operating system's user who runs a command."""

AUDIT = "mcpserve.audit"
"""The logger of security events, whose lines are always written and always JSON."""

SECRET_WORDS = ("token", "secret", "password", "code", "state", "authorization", "cookie")
"""An extra field whose name contains one of these is never written."""

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

OURS = frozenset({"asyncio", "httpx", "mcpserve", "root", "tornado"})
"""Loggers that are the server's own; of those below them as well."""

access = logging.getLogger("mcpserve.access")

ENCODER = json.JSONEncoder(default=str, ensure_ascii=False)
"""``json.dumps`` would make one for every line."""


def extras(record: logging.LogRecord) -> dict[str, Any]:
    """Return what was given as ``extra``, with secrets blotted out."""
    return {
        name: "[redacted]" if any(word in name.lower() for word in SECRET_WORDS) else value
        for name, value in vars(record).items()
        if name not in STANDARD
    }


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current := request_id.get():
            line["request_id"] = current
        line |= extras(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _visible(ENCODER.encode(line))


def _visible(text: str) -> str:
    """Escape what a terminal would obey or a reader not see, in a text that is JSON."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


class TextFormatter(logging.Formatter):
    """One readable line, and a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        if record.name == AUDIT:
            return JsonFormatter().format(record)
        parts = [self.formatTime(record, "%H:%M:%S"), f"{record.levelname.lower():<7}"]
        parts.append(record.getMessage())
        parts += [f"{name}={value}" for name, value in extras(record).items()]
        if current := request_id.get():
            parts.append(f"[{current}]")
        line = _visible(" ".join(parts))
        if record.exc_info:
            # Indented, line by line: what an exception quotes may come from anybody.
            told = self.formatException(record.exc_info).split("\n")
            line += "".join(f"\n  {_visible(part)}" for part in told)
        return line


class Form(Protocol):
    """What is written, and how: ``log`` in the settings."""

    @property
    def level(self) -> str:
        """From which level on."""

    @property
    def format(self) -> str:
        """``json``, ``text`` or ``auto``."""


def add_pid() -> None:
    """Let each line name the process from now on, because several write to one log."""
    for handler in logging.root.handlers:
        handler.addFilter(with_pid)


def with_pid(record: logging.LogRecord) -> bool:
    """Add the id of the process to a record."""
    record.pid = os.getpid()
    return True


def configure(settings: Form) -> None:
    """Send every logger of the process to standard error in one form."""
    as_text = settings.format == "text" or (settings.format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    for former in logging.root.handlers:  # Configured anew, a process is traced as before.
        for kept in former.filters:
            handler.addFilter(kept)
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    logging.getLogger(AUDIT).setLevel(logging.INFO)
    # Tornado's own would repeat ours, and write the query string.
    logging.getLogger("tornado.access").disabled = True
    # These quote what they could not read of a request, or the URL they ask.
    for name in ("tornado.general", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextlib.contextmanager
def kept(plugin: str) -> Iterator[None]:
    """Undo what a plugin does in the block to the logging of the server, and tell it.

    ``logging.config.dictConfig``, say, would silence every logger that it does not name.
    """
    handlers, before = list(logging.root.handlers), state()
    try:
        yield
    except GeneratorExit:
        # Given up some time ago; what is so now is somebody else's.
        raise
    except BaseException:
        undo(plugin, handlers, before)
        raise
    undo(plugin, handlers, before)


def undo(plugin: str, handlers: list[logging.Handler], before: dict[str, Any]) -> None:
    """Bring back handlers and levels, if they are not as before."""
    missing = [handler for handler in handlers if handler not in logging.root.handlers]
    after = state()
    if missing or any(after[name] != value for name, value in before.items()):
        logging.root.handlers[:0] = missing
        logging.disable(before.pop(""))
        for name, (level, disabled) in before.items():
            logger = logging.getLogger(name)
            if level is not None:
                logger.setLevel(level)
            logger.disabled = disabled
        logging.getLogger(__name__).warning(
            "plugins.%s changed the logging of the server, which was undone", plugin
        )


def state() -> dict[str, Any]:
    """Return of each logger whether it is disabled, and the level of the server's own."""
    loggers = {"root": logging.root} | {
        name: logger
        for name, logger in list(logging.root.manager.loggerDict.items())
        if isinstance(logger, logging.Logger)
    }
    ours = {*OURS, "root"}
    return {"": logging.root.manager.disable} | {
        name: (logger.level if name.split(".")[0] in ours else None, logger.disabled)
        for name, logger in loggers.items()
    }


def log_request(handler: Any) -> None:
    """Write the access line: the path without its query, which may carry codes and states."""
    status = handler.get_status()
    level = logging.INFO if status < 500 else logging.ERROR
    if not access.isEnabledFor(level):
        return
    known = {
        "ms": round(handler.request.request_time() * 1000, 1),
        "from": handler.network,
        "client_id": handler.client_id,
    }
    access.log(
        level,
        "%s %s %d",
        handler.request.method,
        handler.request.path,
        status,
        extra={name: value for name, value in known.items() if value},
    )

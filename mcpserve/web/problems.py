"""Errors as they are told to the other side; the one place that knows statuses."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import tornado.web
from tornado.iostream import StreamClosedError

from mcpserve.errors import (
    ConfigError,
    DatabaseError,
    DocumentError,
    InvalidClient,
    KeyNotHere,
    OAuthError,
    Overloaded,
    PageError,
    RateLimited,
    RequestRefused,
)

logger = logging.getLogger(__name__)

BASIC_CHALLENGE = 'Basic realm="mcpserve", charset="UTF-8"'


@dataclass(frozen=True)
class Problem:
    """An error as it is told to the other side."""

    status: int
    error: str
    description: str
    headers: Mapping[str, str] = field(default_factory=dict)
    is_last: bool = False
    """Whether the connection is closed afterwards."""

    def told(self, request_id: str) -> dict[str, str]:
        """Return the body of the answer (RFC 6749 §5.2)."""
        body = {"error": self.error, "error_description": self.description}
        return body | {"error_id": request_id} if self.status == 500 else body


def describe(error: BaseException | None, status: int) -> Problem:
    """Map an exception to what is told of it."""
    match error:
        case InvalidClient():
            challenge = {"WWW-Authenticate": BASIC_CHALLENGE}
            return Problem(error.status, error.error, error.description, challenge)
        case OAuthError():
            return Problem(error.status, error.error, error.description)
        case PageError():
            # Its message may quote the request, in letters that RFC 6749 §5.2 does not allow.
            return Problem(error.status, error.error, error.title)
        case RequestRefused(status=503):
            after = {"Retry-After": "5"}
            return Problem(503, "temporarily_unavailable", error.description, after, is_last=True)
        case RequestRefused():
            return Problem(error.status, "invalid_request", error.description)
        case RateLimited():
            after = {"Retry-After": str(max(1, error.retry_after))}
            return Problem(429, "temporarily_unavailable", str(error), after)
        case DatabaseError() | DocumentError() | KeyNotHere() | Overloaded():
            after = {"Retry-After": str(error.retry_after)}
            return Problem(
                503,
                "temporarily_unavailable",
                "this cannot be answered now, try again soon",
                after,
            )
        case tornado.web.HTTPError(status_code=code) if code < 500:
            return Problem(code, "invalid_request", HTTPStatus(code).phrase)
        case _:
            return Problem(
                status if status >= 500 else 500, "server_error", "something failed here"
            )


def log_problem(error: BaseException | None) -> None:
    """Log what was raised: on purpose in a line, by mistake with its traceback."""
    if isinstance(error, StreamClosedError):
        logger.debug("the client hung up")
    elif describe(error, 500).status == 500 or isinstance(error, ConfigError):
        logger.error("unexpected error", exc_info=error)
    elif isinstance(error, DatabaseError | KeyNotHere | Overloaded):
        logger.warning("%s", error)
    else:
        logger.info("refused: %s", error)

"""What a call is over there: who calls, and what came of it."""

from typing import Any

from mcpserve import log
from mcpserve.bound import CallFailed, Outcome
from mcpserve.isolation import wire
from mcpserve.questions import CannotAsk, InputRequired, Transcript
from mcpserve.resources import ResourceNotFound
from mcpserve.tools import ToolContext, ToolError, WrongArguments


def caller(context: ToolContext | None) -> dict[str, Any]:
    """Return who calls, for the worker."""
    if context is None:
        return {"principal": {"client_id": "", "subject": "", "scopes": []}}
    return {
        "principal": context.principal,
        "trace": context.trace,
        "locale": context.locale,
        "request_id": log.request_id.get(),
        "interview": context.interview.brief,
    }


def outcome(ended: wire.Ended, context: ToolContext | None) -> Any:
    """Return the result, or raise what the function raised."""
    text = ended.text
    if ended.failure is None:
        return ended.result
    match ended.failure:
        case "asked" if context:
            transcript = Transcript(answered=ended.answered)
            context.interview.adopt(opened=ended.opened, transcript=transcript)
            raise InputRequired
        case "tool error":
            raise ToolError(text)
        case "wrong arguments":
            raise WrongArguments(text)
        case "not found":
            raise ResourceNotFound(text)
        case "cannot ask":
            raise CannotAsk(text, ended.required)
        case failure:
            known = Outcome.TIMEOUT if failure == "timeout" else Outcome.CRASH
            raise CallFailed(known, text)

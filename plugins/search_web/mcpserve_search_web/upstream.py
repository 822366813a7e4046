"""Asking a provider. Every way in which that can fail becomes words that say what to do."""

import re
from email.utils import parsedate_to_datetime

import httpx
from pydantic import ValidationError

from mcpserve import ToolError
from mcpserve_search_web.provider import CONFIG, Provider, Search
from mcpserve_search_web.results import Found


async def ask(
    http: httpx.AsyncClient, provider: Provider, search: Search, *, name: str
) -> list[Found]:
    """Return what the provider found.

    Raises :class:`ToolError`, which never quotes a failed answer: that may repeat the key.
    """
    try:
        response = await provider.ask(http, search)
    except httpx.TimeoutException as error:
        raise ToolError(
            f"{name} did not answer in time: try again, and if that goes on, the operator must "
            f"check {CONFIG}.{name}.base_url or raise {CONFIG}.timeout."
        ) from error
    except httpx.RequestError as error:
        raise ToolError(
            f"{name} cannot be reached ({type(error).__name__}): the operator must check "
            f"{CONFIG}.{name}.base_url and the network."
        ) from error
    if not response.is_success:
        todo = what_to_do(response, name=name, advice=provider.advice(response))
        raise ToolError(f"{name} answered HTTP {response.status_code}: {todo}.")
    try:
        return provider.found(response.content)
    except ValidationError as error:
        kind = "is not JSON" if is_no_json(error) else "has a shape that this plugin does not know"
        raise ToolError(
            f"{name} sent an answer that {kind}: the operator must check {CONFIG}.{name}.base_url."
        ) from error


def what_to_do(response: httpx.Response, *, name: str, advice: str) -> str:
    """Return the advice of the provider, or what the status alone tells."""
    status, pause = response.status_code, wait(response.headers.get("Retry-After", ""))
    if status == 429:
        return "; ".join(filter(None, [f"too many searches, {pause}", advice]))
    if advice:
        return advice
    if status >= 500:
        return f"it has a problem of its own, {pause} and try again"
    if status in (401, 403):
        return f"it refuses access, the operator must check {CONFIG}.{name}"
    if response.is_redirect:
        return f"the operator must set {CONFIG}.{name}.base_url to where it redirects to"
    return (
        "it did not accept the search, make the query simpler; if no query works, the operator "
        f"must check {CONFIG}.{name}.base_url"
    )


def wait(told: str) -> str:
    """Say how long to wait, by what ``Retry-After`` told, if anything (RFC 9110 §10.2.3)."""
    if re.fullmatch(r"[0-9]{1,6}", told):
        return f"wait {told} s"
    try:
        return f"wait until {parsedate_to_datetime(told):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError):  # no date, or one beyond all calendars
        return "wait a minute"


def is_no_json(error: ValidationError) -> bool:
    """Whether it was the syntax of JSON that failed."""
    return any(problem["type"] == "json_invalid" for problem in error.errors(include_url=False))

"""What the head of a request is asked, and what the head of every answer says."""

import logging
import re
import secrets
from collections.abc import Mapping
from http.client import responses

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPConnection, HTTPServerRequest

from mcpserve import ratelimit
from mcpserve.errors import RequestRefused
from mcpserve.settings import CorsSettings, Settings
from mcpserve.web.network import client_address, host_is_allowed

logger = logging.getLogger(__name__)

FORM_LIMIT = 64 * 1024
"""Bytes of a body that may come from anybody."""

URI_LIMIT = 16 * 1024

LINE_BREAK = re.compile(r"[\r\n]")


def check_host(request: HTTPServerRequest, settings: Settings) -> None:
    """Refuse a request that came under a name which is not ours."""
    host = request.headers.get("Host", "")
    if host_is_allowed(host, settings.server.public_host, settings.mcp.allowed_hosts):
        return
    logger.warning(
        "refused Host %r: if clients reach this server under that name, set server.public_url "
        "or add it to mcp.allowed_hosts",
        host,
    )
    raise RequestRefused(421, "this server is not reached under that host name")


def check_uri(request: HTTPServerRequest) -> None:
    """Refuse an endless address."""
    if len(request.uri or "") > URI_LIMIT:
        raise RequestRefused(414, "the address is too long")


def check_body(request: HTTPServerRequest, limit: int) -> None:
    """Refuse a body that would not be understood, or has more than so many bytes."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RequestRefused(415, "a compressed body is not understood")
    if announced_length(request) > limit:
        raise too_large(limit)


def too_large(limit: int) -> RequestRefused:
    """Return the refusal of a body of more bytes."""
    return RequestRefused(413, f"the body may have {limit} bytes at most")


def announced_length(request: HTTPServerRequest) -> int:
    """Return how many bytes the body is said to have; 0 if nothing is said."""
    # Said twice, it must be the same (RFC 9112 §6.3), which Tornado sees to.
    length = request.headers.get("Content-Length", "0").partition(",")[0].strip()
    # A number that is too long to be read is too large in any case.
    return int(length[:20]) if length.isdecimal() else 0


def close_when_answered(connection: HTTPConnection | None) -> None:
    """Take no further request on this connection, and let the answer say so (RFC 9112 §9.6)."""
    # Tornado has no other way to say it once the head of the request was read.
    connection._disconnect_on_finish = True  # type: ignore[union-attr]


def is_closed_when_answered(connection: HTTP1Connection) -> bool:
    """Tell whether this answer is the last on the connection."""
    return connection._disconnect_on_finish


def network(request: HTTPServerRequest, settings: Settings) -> str:
    """Return what failures of this caller are counted by."""
    address = client_address(
        request.remote_ip or "",
        request.headers.get_list("X-Forwarded-For"),
        settings.server.trusted_proxies,
    )
    return ratelimit.network(address)


def new_request_id() -> str:
    """Return a name for a request, in the log and for whoever sent it."""
    return secrets.token_hex(8)


def standard_headers(settings: Settings, request_id: str) -> Mapping[str, str]:
    """Say nothing of the software, and nothing that may be stored or sniffed."""
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "X-Request-Id": request_id,
    }
    if settings.server.https:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers


def written(status: int, headers: Mapping[str, str]) -> bytes:
    """Return the head of an answer as it goes over the wire (RFC 9112).

    Raises :class:`ValueError` for a line break in a header, which would begin another one.
    """
    if LINE_BREAK.search("".join(headers.values())):
        raise ValueError("there is a line break in a header")
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status} {responses[status]}", *lines, "", ""])
    return head.encode("latin-1")


def allowed_origin(origin: str | None) -> dict[str, str]:
    """Let a page of this origin read the answer (CORS); ``None`` lets nobody."""
    if origin is None:
        return {}
    # Nothing else varies here.
    vary = {} if origin == "*" else {"Vary": "Origin"}
    return {"Access-Control-Allow-Origin": origin, **vary}


def configured_origin(request: HTTPServerRequest, cors: CorsSettings) -> str | None:
    """Return the origin of this request if ``cors.origins`` names it."""
    asked = request.headers.get("Origin")
    if "*" in cors.origins:
        return "*"
    return asked if asked in cors.origins else None

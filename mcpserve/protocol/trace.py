"""The trace that a request belongs to (W3C Trace Context and Baggage), for a tool's own calls."""

import re
from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mcpserve.protocol.messages import Headers

NAMES = {"traceparent", "tracestate", "baggage"}
TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
TRACESTATE_MEMBER = re.compile(
    r"(?:[a-z0-9][a-z0-9_*/-]{0,240}@)?[a-z0-9][a-z0-9_*/-]{0,255}"
    r"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)
TRACESTATE_MEMBERS = 32
BAGGAGE_VALUE = r"[!#-+\--:<-\[\]-~]*"
BAGGAGE_KEY = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
BAGGAGE_MEMBER = re.compile(
    rf"{BAGGAGE_KEY}[ \t]*=[ \t]*{BAGGAGE_VALUE}"
    rf"(?:[ \t]*;[ \t]*{BAGGAGE_KEY}(?:[ \t]*=[ \t]*{BAGGAGE_VALUE})?)*"
)
LENGTH = 8192
"""What baggage may take (W3C Baggage); more would only keep a tool's own calls from arriving."""
PROPAGATOR = TraceContextTextMapPropagator()
"""Knows no baggage: what a client says about itself is not for whomever a tool asks."""


def trace_of(meta: Any, headers: Headers) -> dict[str, str]:
    """Return what came of ``traceparent``, ``tracestate`` and ``baggage`` and is valid.

    What the message itself says (MCP 2026-07-28, ``_meta``) wins over headers, which whatever lies
    between may have added; the two are never mixed.
    """
    return valid(meta if isinstance(meta, dict) else {}) or valid(combined(headers))


def valid(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the valid ones of these; a ``tracestate`` means nothing without its parent."""
    if NAMES.isdisjoint(given):
        return {}
    parent, state, baggage = (
        value if isinstance(value, str) else ""
        for value in (given.get("traceparent"), given.get("tracestate"), given.get("baggage"))
    )
    kept = {}
    if TRACEPARENT.fullmatch(parent):
        kept["traceparent"] = parent
        if state.count(",") < TRACESTATE_MEMBERS and is_list(state, TRACESTATE_MEMBER):
            kept["tracestate"] = state
    if is_list(baggage, BAGGAGE_MEMBER):
        kept["baggage"] = baggage
    return kept


def combined(headers: Headers) -> dict[str, str]:
    """Return the headers of these names, several of one as a list (RFC 9110)."""
    return {
        name: ",".join(value for line, value in headers.lines if line == name)
        for name in NAMES & headers.folded.keys()
    }


def is_list(text: str, member: re.Pattern[str]) -> bool:
    """Whether this is a list of such members, separated by commas."""
    return len(text) <= LENGTH and all(
        member.fullmatch(part.strip(" \t")) for part in text.split(",")
    )


def remote_parent(trace: Mapping[str, str]) -> Context:
    """Return a context in which a new span continues this trace, or begins one if it is none."""
    return PROPAGATOR.extract(trace, Context())


def current_trace(trace: Mapping[str, str]) -> dict[str, str]:
    """Return this trace with the current span as the parent of what comes next."""
    told = {name: value for name, value in trace.items() if name == "baggage"}
    PROPAGATOR.inject(told)
    return told

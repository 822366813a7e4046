"""The trace of a request, as a tool is told of it (W3C Trace Context and Baggage)."""

import pytest
from exchanges import exchange, handshake, modern

from mcpserve import ToolContext
from mcpserve.protocol import Headers
from mcpserve.protocol.trace import trace_of

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-" + "a" * 32 + "-" + "b" * 16 + "-00"
NOBODY = Headers.of([])


@pytest.mark.parametrize("parent", [PARENT, OTHER, "01" + PARENT[2:], "fe" + PARENT[2:]])
def test_a_valid_parent_is_told(parent):
    assert trace_of({"traceparent": parent}, NOBODY) == {"traceparent": parent}


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "x",
        3,
        None,
        [PARENT],
        "ff" + PARENT[2:],
        PARENT.upper(),
        PARENT[:-1],
        PARENT + "0",
        PARENT + "\n",
        " " + PARENT,
        "00-" + "0" * 32 + PARENT[35:],
        PARENT[:36] + "0" * 16 + "-01",
        f"{PARENT},{OTHER}",
    ],
)
def test_an_invalid_parent_is_not_told_and_neither_is_its_state(parent):
    assert trace_of({"traceparent": parent, "tracestate": "a=1"}, NOBODY) == {}


MANY = ",".join(f"k{number}=v" for number in range(32))


@pytest.mark.parametrize(
    "state", ["a=1", "a=1,b@c=2", "a=1 , b=2", "fw529a3039@dt=FfC1;4", "0a/-_*=a b", MANY]
)
def test_a_valid_state_is_told_with_its_parent_only(state):
    given = {"traceparent": PARENT, "tracestate": state}
    assert trace_of(given, NOBODY) == given
    assert trace_of({"tracestate": state}, NOBODY) == {}


@pytest.mark.parametrize(
    "state",
    ["", "a", "a=", "A=1", "=1", "a=1;b=\u00e9", "a=1\r\nX: y", "a=b=c", MANY + ",x=y", 3, "a=1,,"],
)
def test_an_invalid_state_is_not_told(state):
    given = {"traceparent": PARENT, "tracestate": state}
    assert trace_of(given, NOBODY) == {"traceparent": PARENT}


@pytest.mark.parametrize(
    "baggage",
    ["a=1", "a=1,b=2;p;q=3", "id=Am%C3%A9lie", "a = 1 ; p = 2 , b=", "a=" + "x" * 8190],
)
def test_valid_baggage_is_told(baggage):
    assert trace_of({"baggage": baggage}, NOBODY) == {"baggage": baggage}


@pytest.mark.parametrize(
    "baggage",
    ["", "a", "=1", 'a="1"', "a=\u00e9", "a b=1", "a=1\r\nX: y", "a=1,,b=2", "a=" + "x" * 8191, {}],
)
def test_invalid_baggage_is_not_told(baggage):
    assert trace_of({"baggage": baggage}, NOBODY) == {}


def test_what_the_message_says_wins_over_headers_and_is_not_mixed_with_them():
    headers = Headers.of([("Traceparent", OTHER), ("tracestate", "b=2"), ("baggage", "c=3")])
    assert trace_of({"traceparent": PARENT}, headers) == {"traceparent": PARENT}
    whole = {"traceparent": OTHER, "tracestate": "b=2", "baggage": "c=3"}
    assert trace_of({"traceparent": "x"}, headers) == trace_of(None, headers) == whole


def test_lists_may_come_in_several_headers_and_a_parent_may_not():
    state = [("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]
    assert trace_of({}, Headers.of(state))["tracestate"] == "a=1,b=2"
    assert trace_of({}, Headers.of([*state, ("traceparent", OTHER)])) == {}


@pytest.mark.parametrize("name", ["traceparent", "tracestate", "baggage"])
@pytest.mark.parametrize("text", ["a=1," * 2_000_000, "a" * 4_000_000, "a=" + " " * 4_000_000])
def test_a_huge_value_costs_no_time(name, text):
    given = {"traceparent": PARENT} | {name: text}
    assert name not in trace_of(given, NOBODY)


@pytest.mark.parametrize("call", [modern, handshake])
async def test_a_tool_is_told_the_trace_of_its_call(call):
    told = []

    async def go(ctx: ToolContext) -> str:
        """Go on."""
        told.append(ctx.trace)
        return ""

    params = {"name": "go", "_meta": {"traceparent": PARENT, "baggage": "a=1"}}
    await call(exchange(go), "tools/call", params)
    await call(exchange(go), "tools/call", {"name": "go"})
    assert told == [{"traceparent": PARENT, "baggage": "a=1"}, {}]

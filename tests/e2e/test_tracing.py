"""Traces of really started servers: what a collector gets, and what the services of tools see."""

import json
import os
import signal
import time

import postgres
import pytest
from collector import listening, told
from e2e.process import add_user, configure, started, until
from mcp_client import McpClient
from serving import USER

PLUGIN = '''
"""Asks other services."""

import logging
import urllib.request

import httpx
import httpx2
from mcpserve import ToolContext, hookimpl, prompt, resource
from opentelemetry import trace
from pydantic import BaseModel

log = logging.getLogger(__name__)


class Config(BaseModel, extra="forbid"):
    url: str


@hookimpl
def mcpserve_config():
    return Config


@hookimpl
def mcpserve_tools(config):
    url = config.url + "/path-secret?key=query-secret"

    async def waits(text: str = "") -> str:
        """Ask without blocking."""
        log.warning("asking")
        async with httpx.AsyncClient(trust_env=False) as http:
            await http.get(url.replace("//", "//user:userinfo-secret@"))
        return "result-secret"

    async def newer() -> str:
        """Ask with the other library."""
        async with httpx2.AsyncClient(trust_env=False) as http:
            await http.get(url)
        return ""

    def blocks() -> str:
        """Ask from a thread."""
        with httpx.Client(trust_env=False) as http:
            http.get(url)
        return ""

    def by_hand(ctx: ToolContext) -> str:
        """Ask with a library that knows of no trace."""
        urllib.request.urlopen(urllib.request.Request(url, headers=dict(ctx.trace))).close()
        return ""

    async def own() -> str:
        """Make a span of its own."""
        with trace.get_tracer("asker").start_as_current_span("own span") as span:
            span.add_event("own event")
        return ""

    async def crash() -> str:
        """Fail with a text that quotes a secret."""
        async with httpx.AsyncClient(trust_env=False) as http:
            await http.get(url, headers={"x-key": "header-secret\\n"})
        return ""

    return [waits, newer, blocks, by_hand, own, crash]


@hookimpl
def mcpserve_resources():
    @resource("ask://{what}")
    def thing(what: str) -> str:
        """Something."""
        return "result-secret"

    return [thing]


@hookimpl
def mcpserve_prompts():
    @prompt
    def suggest(what: str) -> str:
        """Suggest something."""
        return "result-secret"

    return [suggest]
'''

SAMPLED, UNSAMPLED = "01", "00"
IDS = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{'-'.join(IDS)}-{SAMPLED}"
TRACE = {"traceparent": PARENT, "tracestate": "a=1", "baggage": "user=alice"}
OTHER = f"00-{'a' * 32}-{'b' * 16}-{SAMPLED}"
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "20"}
"""Environment in which spans are delivered after 20 milliseconds."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder in which the plugin is installed."""
    site = tmp_path_factory.mktemp("site")
    (site / "asker.py").write_text(PLUGIN)
    information = site / "asker-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: asker\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[mcpserve]\nasker = asker\n")
    return site


@pytest.fixture(scope="module")
def prepared(cluster, template, tmp_path_factory, site):
    """Return a function that starts a server with the plugin, this service and this tracing."""
    folder = tmp_path_factory.mktemp("server")
    with postgres.new_database(cluster, template=template) as dsn:
        add_user(configure(folder, dsn=dsn))

        def start(service, tracing, **env):
            asker = {"config": {"url": service.url}}
            path = configure(folder, dsn=dsn, plugins={"asker": asker}, tracing=tracing)
            # Behind the plugin whatever the tests themselves were given.
            python_path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
            return started(path, PYTHONPATH=python_path, **SOON | env)

        yield start


@pytest.fixture(scope="module")
def traced(prepared):
    """A server, its collector, and the service that its tools ask."""
    environment = {"OTEL_RESOURCE_ATTRIBUTES": "place=here"}
    with listening() as collector, listening() as service:
        tracing = {"endpoint": collector.url, "headers": {"x-api-key": "the key"}}
        with prepared(service, tracing, **environment) as process:
            yield process, collector, service


@pytest.fixture
def server(traced):
    """The server of this module, whose collector and service forgot what other tests did."""
    _, collector, service = traced
    collector.received.clear()
    service.received.clear()
    return traced


def ids(header):
    """Return trace, span and flags of a ``traceparent``."""
    return header.split("-")[1:]


async def call(client, tool, meta=None, **headers):
    """Call a tool with ``_meta`` and more headers; return what it answered."""
    message = client.message("tools/call", {"name": tool, "arguments": {}})
    if meta:
        message["params"].setdefault("_meta", {}).update(meta)
    answer = await client.post(message, **headers)
    assert answer.status_code == 200
    return answer.json()["result"]


def spans_of(collector, count):
    """Wait for so many spans and return them by name."""
    until(lambda: len(collector.spans) >= count)
    assert len(collector.spans) == count
    return {span.name: span for span in collector.spans}


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize(
    ("meta", "headers"),
    [
        (TRACE, {"traceparent": OTHER}),
        ({"traceparent": "x"}, TRACE),
    ],
    ids=["meta", "header"],
)
async def test_a_call_continues_the_callers_trace_up_to_the_service_asked(
    server, modern, meta, headers
):
    process, collector, service = server
    client = (await McpClient.authorized(process)).in_era(modern)
    for tool in ("waits", "newer", "blocks"):
        collector.received.clear()
        service.received.clear()
        await call(client, tool, meta, **headers)
        spans = spans_of(collector, 2)
        ours, asked = spans[f"tools/call {tool}"], spans["GET"]
        ((seen, _),) = service.received
        assert (ours.trace, ours.parent) == IDS
        assert (asked.trace, asked.parent) == (ours.trace, ours.id)
        assert ids(seen["traceparent"]) == [ours.trace, asked.id, SAMPLED]
        assert seen["tracestate"] == "a=1"
        assert "baggage" not in seen


async def test_a_tool_hands_on_by_itself_the_span_in_which_it_runs(server):
    process, collector, service = server
    client = await McpClient.authorized(process)
    await call(client, "by_hand", TRACE)
    ours = spans_of(collector, 1)["tools/call by_hand"]
    ((seen, _),) = service.received
    assert ids(seen["traceparent"]) == [IDS[0], ours.id, SAMPLED]
    assert (seen["tracestate"], seen["baggage"]) == ("a=1", "user=alice")


async def test_a_span_tells_what_was_used_and_how_it_ended_and_nothing_else(server):
    process, collector, service = server
    client = await McpClient.authorized(process)
    arguments = {"text": "argument-secret"}
    call_waits = client.message("tools/call", {"name": "waits", "arguments": arguments})
    call_waits["id"] = "id-secret"
    await client.post(call_waits)
    assert (await call(client, "crash"))["isError"]
    await call(client, "own")
    read = client.message("resources/read", {"uri": "ask://argument-secret"})
    assert (await client.post(read)).status_code == 200
    get = {"name": "suggest", "arguments": {"what": "argument-secret"}}
    assert (await client.post(client.message("prompts/get", get))).status_code == 200
    unknown = client.message("tools/call", {"name": "name-secret", "arguments": {}})
    assert "error" in (await client.post(unknown)).json()
    missing = client.message("resources/read", {"uri": "gone://name-secret"})
    assert "error" in (await client.post(missing)).json()

    until(lambda: len(collector.spans) >= len(ORDER))
    waits, asked, crash, crashed, own_span, own, read, got, unknown, missing = sorted(
        collector.spans, key=lambda span: ORDER.index(key_of(span))
    )
    common = {"mcp.protocol.version": "2026-07-28", "mcpserve.plugin": "asker"}
    tool = common | {"mcp.method.name": "tools/call", "gen_ai.operation.name": "execute_tool"}
    assert waits.attributes == tool | {"gen_ai.tool.name": "waits", "mcpserve.outcome": "ok"}
    assert not waits.failed
    assert asked.attributes == {
        "http.method": "GET",
        "http.url": service.url,
        "http.status_code": 200,
    }
    assert crash.attributes == tool | {
        "gen_ai.tool.name": "crash",
        "mcpserve.outcome": "crash",
        "error.type": "tool_error",
    }
    assert crash.failed
    assert crashed.failed
    assert own_span.parent == own.id
    assert read.attributes == common | {
        "mcp.method.name": "resources/read",
        "mcpserve.resource.name": "thing",
    }
    assert got.attributes == common | {
        "mcp.method.name": "prompts/get",
        "gen_ai.prompt.name": "suggest",
    }
    for refused in (unknown, missing):
        assert refused.failed
        assert refused.attributes["error.type"] == "-32602"

    delivered = b"".join(body for _, body in collector.received)
    assert b"own event" in delivered
    assert b"exception.type" in delivered
    assert b"secret" not in delivered
    assert USER.encode() not in delivered
    assert client.token.encode() not in delivered
    assert all(headers["x-api-key"] == "the key" for headers, _ in collector.received)
    resource = told(collector.requests[0].resource_spans[0].resource.attributes)
    assert (resource["service.name"], resource["place"]) == ("mcpserve", "here")
    assert "the key" not in process.log


ORDER = [
    "tools/call waits",
    "GET",
    "tools/call crash",
    "GET failed",
    "own span",
    "tools/call own",
    "resources/read thing",
    "prompts/get suggest",
    "tools/call",
    "resources/read",
]


def key_of(span):
    """Return the name of a span, and whether it is the request that failed."""
    return "GET failed" if span.name == "GET" and span.failed else span.name


async def test_a_caller_cannot_hide(server):
    process, collector, _ = server
    client = await McpClient.authorized(process)
    await call(client, "own", {"traceparent": PARENT[:-2] + UNSAMPLED})
    assert spans_of(collector, 2)["tools/call own"].parent == IDS[1]


async def test_log_lines_of_a_call_name_its_trace(server):
    process, collector, _ = server
    client = await McpClient.authorized(process)
    await call(client, "waits", {"traceparent": OTHER})
    spans_of(collector, 2)
    lines = [json.loads(line) for line in process.log.splitlines()]
    assert [line["trace_id"] for line in lines if line["message"] == "asking"][-1] == "a" * 32
    assert "trace_id" not in lines[0]


async def test_no_caller_decides_what_is_recorded(prepared):
    low, high = "0" * 31 + "1", "f" * 32
    with (
        listening() as collector,
        listening() as service,
        prepared(service, {"endpoint": collector.url, "sample": 0}) as process,
    ):
        client = await McpClient.authorized(process)
        for trace in (low, high):
            await call(client, "waits", {"traceparent": f"00-{trace}-{IDS[1]}-{SAMPLED}"})
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert collector.received == []
        seen = [ids(headers["traceparent"]) for headers, _ in service.received]
    assert [(trace, flags) for trace, _, flags in seen] == [(low, UNSAMPLED), (high, UNSAMPLED)]


async def test_a_dead_collector_costs_no_call_two_lines_of_log_and_no_long_stop(prepared):
    with (
        listening() as collector,
        prepared(collector, {"endpoint": collector.url}) as process,
    ):
        client = await McpClient.authorized(process)
        collector.status = 400
        for attempt in range(1, 6):
            await call(client, "own")
            until(lambda: len(collector.received) >= attempt)  # noqa: B023 - at once
        collector.status = 200
        await call(client, "own")
        until(lambda: "takes spans again" in process.log)

        collector.released.clear()
        for _ in range(5):
            await call(client, "own")
        begun = time.monotonic()
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert time.monotonic() - begun < 8
    told = [json.loads(line) for line in process.log.splitlines() if "spans" in line]
    assert [line["level"] for line in told] == ["warning", "info", "warning"]
    assert "gave up" in told[2]["message"]


async def test_a_stop_delivers_what_is_left(prepared):
    with (
        listening() as collector,
        prepared(
            collector, {"endpoint": collector.url}, OTEL_BSP_SCHEDULE_DELAY="60000"
        ) as process,
    ):
        await call(await McpClient.authorized(process), "own")
        assert not collector.received
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert len(collector.spans) == 2


async def test_without_a_collector_nothing_is_traced(prepared):
    nobody = "http://127.0.0.1:9"
    with (
        listening() as service,
        prepared(service, {}, OTEL_EXPORTER_OTLP_ENDPOINT=nobody) as process,
    ):
        client = await McpClient.authorized(process)
        await call(client, "waits", {"traceparent": PARENT})
        await call(client, "by_hand", {"traceparent": PARENT})
        (waits, _), (by_hand, _) = service.received
    assert "traceparent" not in waits
    assert by_hand["traceparent"] == PARENT
    assert "trace_id" not in process.log

"""What leaves of a span, which requests are recorded, and when it is told that nothing leaves."""

import logging
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Status, StatusCode
from pydantic import ValidationError

from mcpserve import tracing
from mcpserve.errors import ConfigError
from mcpserve.settings import TracingSettings
from mcpserve.telemetry import Delivery, Share, discreet, service_name

COLLECTOR = TracingSettings(endpoint="http://localhost:4318")


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [
        ({"http.url": "http://u:p@h:1/a?b#c"}, {"http.url": "http://h:1"}),
        ({"url.full": "https://h/a?b"}, {"url.full": "https://h"}),
        ({"url.path": "/a", "url.query": "b", "http.target": "/a?b", "x": 1}, {"x": 1}),
    ],
)
def test_no_path_and_no_query_leaves(attributes, kept):
    assert discreet(ReadableSpan("GET", attributes=attributes)).attributes == kept


def test_of_an_exception_only_its_type_leaves():
    texts = {"exception.type": "E", "exception.message": "m", "exception.stacktrace": "s"}
    raised, own = Event("exception", texts), Event("own", {"exception.message": "m"})
    span = ReadableSpan("x", events=[raised, own], status=Status(StatusCode.ERROR, "text"))
    left = discreet(span)
    assert [event.attributes for event in left.events] == [
        {"exception.type": "E"},
        {"exception.message": "m"},
    ]
    assert (left.status.status_code, left.status.description) == (StatusCode.ERROR, None)


@pytest.mark.parametrize(("share", "least", "most"), [(0, 0, 0), (0.5, 400, 600), (1, 1000, 1000)])
@pytest.mark.parametrize("trace_id", [1, 2**128 - 1])
def test_a_share_is_recorded_whatever_the_id(share, least, most, trace_id):
    decisions = [Share(share).should_sample(None, trace_id, "x").decision for _ in range(1000)]
    assert least <= decisions.count(Decision.RECORD_AND_SAMPLE) <= most


class Told(SpanExporter):
    """Answers what it was told to answer."""

    def __init__(self, *results):
        self._results = iter(results)

    def export(self, spans):
        return next(self._results)


def test_only_changes_of_the_collector_are_logged(caplog):
    caplog.set_level(logging.INFO)
    good, bad = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
    delivery = Delivery(Told(good, bad, bad, good, good, bad), "http://c")
    for _ in range(6):
        delivery.export([])
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]


@pytest.mark.parametrize(
    ("settings", "environment", "name"),
    [
        ({}, {}, "mcpserve"),
        ({}, {"OTEL_SERVICE_NAME": "outside"}, "outside"),
        ({}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=outside"}, "outside"),
        ({"service_name": "inside"}, {"OTEL_SERVICE_NAME": "outside"}, "inside"),
    ],
)
def test_the_service_is_named_by_settings_or_by_opentelemetrys_environment(
    settings, environment, name, monkeypatch
):
    for variable in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert service_name(TracingSettings(**settings)) == name


async def test_without_the_extra_tracing_is_refused_with_its_name(monkeypatch):
    monkeypatch.delitem(sys.modules, "mcpserve.telemetry")
    monkeypatch.delattr("mcpserve.telemetry")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    message = r"tracing\.endpoint: .*pip install 'mcpserve\[tracing\]'"
    with pytest.raises(ConfigError, match=message):
        tracing.require(COLLECTOR)
    with pytest.raises(ConfigError, match=message):
        async with tracing.open_tracer(COLLECTOR):
            pass
    tracing.require(TracingSettings())
    async with tracing.open_tracer(TracingSettings()) as tracer:
        assert tracer is None


def test_nothing_of_the_sdk_is_loaded_unless_it_is_wanted():
    program = """
import sys, mcpserve.app, mcpserve.cli
wanted = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.instrumentation")
print([name for name in sys.modules if name.startswith(wanted)])
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stdout.strip() == b"[]"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("http://localhost:4318", "http://localhost:4318"),
        ("http://localhost:4318/", "http://localhost:4318"),
        ("https://c.example/base/v1/traces", "https://c.example/base"),
        ("http://[::1]:4318", "http://[::1]:4318"),
    ],
)
def test_a_collector_is_named_by_its_base_url(given, kept):
    assert TracingSettings(endpoint=given).endpoint == kept


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "localhost:4318"},
        {"endpoint": "ftp://localhost"},
        {"endpoint": "http://"},
        {"endpoint": "http://user:password@localhost"},
        {"endpoint": "http://localhost?key=1"},
        {"endpoint": "http://localhost#1"},
        {"endpoint": "http://localhost:99999"},
        {"headers": {"a b": "c"}},
        {"headers": {"a": "b\nc"}},
        {"headers": {"a": "é"}},
        {"headers": {"a": ""}},
        {"sample": -0.1},
        {"sample": 1.1},
        {"sample": "nan"},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        TracingSettings.model_validate(wrong)

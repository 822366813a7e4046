"""OpenTelemetry's SDK as this server uses it: who is traced, what is told, and to whom.

Spans wait in a queue of bounded length and are delivered from a thread of their own.
"""

import asyncio
import contextlib
import importlib.util
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, Status, Tracer, TraceState
from opentelemetry.util.types import Attributes, AttributeValue

from mcpserve.settings import TracingSettings
from mcpserve.threads import in_thread
from mcpserve.version import __version__

logger = logging.getLogger(__name__)

FLUSH_TIMEOUT = 3.0
"""Seconds that the collector gets at shutdown for what is still in the queue."""

HTTP_CLIENTS = {"httpx": HTTPXClientInstrumentor, "httpx2": HTTPX2ClientInstrumentor}
"""The libraries whose requests carry the trace."""

QUIETED = {
    # It tells of each batch and each attempt; :class:`Delivery` tells of changes.
    "opentelemetry.exporter": logging.CRITICAL,
    # A queue that is full while nothing can be delivered is no news.
    "opentelemetry.sdk._shared_internal": logging.ERROR,
}

WHOLE = 1 << 32
"""Lots, of which a share wins."""

WHOLE_URLS = frozenset({"http.url", "url.full"})
PARTS_OF_URLS = frozenset({"http.target", "url.path", "url.query", "url.fragment"})
EXCEPTION = "exception"


@asynccontextmanager
async def exporting(settings: TracingSettings) -> AsyncIterator[Tracer]:
    """Yield a tracer whose spans go to the configured collector; deliver the last at the end."""
    exporter = OTLPSpanExporter(
        endpoint=f"{settings.endpoint}/v1/traces",
        headers={name: value.get_secret_value() for name, value in settings.headers.items()},
    )
    share = Share(settings.sample)
    provider = TracerProvider(
        # Whoever calls chooses trace and flags; neither may decide what is recorded here.
        sampler=ParentBased(share, remote_parent_sampled=share, remote_parent_not_sampled=share),
        resource=Resource.create({SERVICE_NAME: service_name(settings)}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(Delivery(exporter, settings.endpoint)))
    # For plugins that make spans of their own.
    trace.set_tracer_provider(provider)
    for name, level in QUIETED.items():
        logging.getLogger(name).setLevel(level)
    with ExitStack() as exit_stack:
        exit_stack.enter_context(traced_clients(provider))
        exit_stack.enter_context(filtered(add_trace_id))
        try:
            yield provider.get_tracer("mcpserve", __version__)
        finally:
            await flush(provider)


async def flush(provider: TracerProvider) -> None:
    """Deliver what is left; a collector that does not answer is not waited for long."""
    try:
        async with asyncio.timeout(FLUSH_TIMEOUT):
            await in_thread(provider.shutdown, ended=lambda: None)
    except TimeoutError:
        logger.warning("gave up the last spans: the collector did not take them in time")


def service_name(settings: TracingSettings) -> str:
    """Return what the service is called: as configured, or in OpenTelemetry's environment."""
    told = OTELResourceDetector().detect().attributes.get(SERVICE_NAME)
    return settings.service_name or str(told or "mcpserve")


@contextlib.contextmanager
def traced_clients(provider: TracerProvider) -> Iterator[None]:
    """Give requests of these HTTP clients a span, and a ``traceparent`` that names it."""
    instrumentors = [
        instrumentor()
        for name, instrumentor in HTTP_CLIENTS.items()
        if importlib.util.find_spec(name)
    ]
    for instrumentor in instrumentors:
        instrumentor.instrument(tracer_provider=provider)
    try:
        yield
    finally:
        for instrumentor in instrumentors:
            instrumentor.uninstrument()


@contextlib.contextmanager
def filtered(function: Callable[[logging.LogRecord], bool]) -> Iterator[None]:
    """Let every handler of the root logger see records through this."""
    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(function)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(function)


def add_trace_id(record: logging.LogRecord) -> bool:
    """Write the trace into a log record that belongs to one."""
    current = trace.get_current_span().get_span_context()
    if current.is_valid:
        record.trace_id = trace.format_trace_id(current.trace_id)
    return True


class Share(Sampler):
    """Records this share of what it is asked about, whatever the trace's id is.

    Deciding by the id, as usual, would let a caller choose: the id is the caller's.
    """

    def __init__(self, share: float) -> None:
        self._share = share

    def should_sample(  # noqa: PLR0917 - as the SDK calls it
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Draw lots."""
        parent = trace.get_current_span(parent_context).get_span_context()
        drawn = secrets.randbelow(WHOLE) < self._share * WHOLE
        decision = Decision.RECORD_AND_SAMPLE if drawn else Decision.DROP
        return SamplingResult(decision, attributes, parent.trace_state)

    def get_description(self) -> str:
        """Tell what this is."""
        return f"Share({self._share:g})"


class Delivery(SpanExporter):
    """Delivers what may be told of spans; says once that it cannot, and once that it can again."""

    def __init__(self, exporter: SpanExporter, collector: str) -> None:
        self._exporter = exporter
        self._collector = collector
        self._works = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Deliver a batch, or drop it. Called by one thread."""
        result = self._exporter.export([discreet(span) for span in spans])
        works = result is SpanExportResult.SUCCESS
        if self._works and not works:
            logger.warning("%s takes no spans; they are dropped until it does", self._collector)
        if works and not self._works:
            logger.info("%s takes spans again", self._collector)
        self._works = works
        return result

    def shutdown(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()


def discreet(span: ReadableSpan) -> ReadableSpan:
    """Return what may leave of a span, whichever library made it.

    Paths and queries hold arguments and keys, and texts of exceptions whatever they like to quote.
    """
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=without_paths(span.attributes or {}),
        events=[without_text(event) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def without_paths(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Return attributes with scheme, host and port left of URLs."""
    return {
        name: origin(str(value)) if name in WHOLE_URLS else value
        for name, value in attributes.items()
        if name not in PARTS_OF_URLS
    }


def origin(url: str) -> str:
    """Return scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def without_text(event: Event) -> Event:
    """Return an event; of an exception its type only."""
    if event.name != EXCEPTION:
        return event
    attributes = event.attributes or {}
    kept = {name: value for name, value in attributes.items() if name == "exception.type"}
    return Event(event.name, kept, event.timestamp)

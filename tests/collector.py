"""A collector of spans and a service that tools ask, both on this machine."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Listener:
    """A server that remembers what it was sent."""

    url: str = ""
    status: int = 200
    """What it answers."""
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """Headers, with names in lower case, and body of each request."""
    released: threading.Event = field(default_factory=threading.Event)
    """It does not answer before this is set."""

    @property
    def requests(self) -> list[ExportTraceServiceRequest]:
        """What was delivered to it as a collector."""
        return [ExportTraceServiceRequest.FromString(body) for _, body in self.received]

    @property
    def spans(self) -> list["Span"]:
        """Every span that was delivered to it as a collector."""
        return [
            Span.of(span)
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@dataclass(frozen=True)
class Span:
    """What the tests want to know of a span."""

    name: str
    trace: str
    id: str
    parent: str
    state: str
    failed: bool
    attributes: dict[str, Any]

    @classmethod
    def of(cls, span: Any) -> "Span":
        """Return what was delivered as this."""
        return cls(
            span.name,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.trace_state,
            span.status.code == span.status.STATUS_CODE_ERROR,
            told(span.attributes),
        )


def told(attributes: Any) -> dict[str, Any]:
    """Return attributes by name."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def listening(change: Callable[[Listener], None] = lambda _: None) -> Iterator[Listener]:
    """Serve on a free port until the block ends."""
    listener = Listener()
    listener.released.set()
    change(listener)

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            listener.received.append((headers, body))
            listener.released.wait(30)
            self.send_response(listener.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    listener.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield listener
    finally:
        listener.released.set()
        server.shutdown()
        thread.join()
        server.server_close()

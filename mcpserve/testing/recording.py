"""HTTP of tools, recorded once and replayed in every test.

What httpx and httpx2 send is answered from a file in the plugin's own repository. No header of a
request is kept, few of an answer, and no secret of a URL or a body.
"""

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from mcpserve.testing.masking import Mask

KEPT_HEADERS = frozenset(
    {"content-type", "content-language", "etag", "last-modified", "link", "location", "retry-after"}
)
"""Of an answer. Others are of the moment, are secrets, or would not fit the decoded content."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""This machine is no network: requests to it, such as those to the server under test, pass."""


class UnrecordedRequest(Exception):
    """A request was replayed that the recording does not have."""


@dataclass(frozen=True)
class Exchanged:
    """A request and its answer, as they stand in the file."""

    method: str
    url: str
    body: str | None
    """Of the request; secrets masked."""
    status: int
    headers: dict[str, str]
    text: str | None
    base64: str | None = None
    """Content that is not UTF-8 text."""

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What a request is recognized by."""
        return self.method, self.url, self.body

    @property
    def content(self) -> bytes:
        """What was answered."""
        return (self.text or "").encode() if self.base64 is None else base64.b64decode(self.base64)


@dataclass
class Recorder:
    """A recording in use: identical requests are answered in their order, each once."""

    path: Path
    records: bool
    mask: Mask = field(default_factory=Mask, repr=False)
    passes: frozenset[str] = LOOPBACK
    """Hosts that are always asked."""
    exchanges: list[Exchanged] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    """Requests that could not be answered."""
    _used: Counter[tuple[str, str, str | None]] = field(default_factory=Counter)

    def answer(self, request: Any, library: ModuleType) -> Any:
        """Return the recorded answer to a request that has been read, as a response of the library.

        Raises :class:`UnrecordedRequest`, which :func:`recorded_http` raises once more at its end,
        because tools hide what goes wrong in them.
        """
        key = self.key(request)
        found = [exchange for exchange in self.exchanges if exchange.key == key]
        if self._used[key] >= len(found):
            times = f"only {len(found)} time{'s' * (len(found) > 1)}" if found else "not"
            self.unrecorded.append(f"{key[0]} {key[1]} is {times} in {self.path}")
            raise UnrecordedRequest(self.unrecorded[-1])
        exchange = found[self._used[key]]
        self._used[key] += 1
        return library.Response(exchange.status, headers=exchange.headers, content=exchange.content)

    def keep(self, request: Any, response: Any, library: ModuleType) -> Any:
        """Add a request and its answer, which have been read; return the answer, decoded.

        The tool gets what came, its secrets included: it may need them for the next request.
        """
        mask = self.mask.knowing(request)
        method, url, body = self.key(request)
        try:
            text, encoded = mask.text(response.content.decode()), None
        except UnicodeDecodeError:
            text, encoded = None, base64.b64encode(response.content).decode()
        kept = {name: value for name, value in response.headers.items() if name in KEPT_HEADERS}
        headers = {
            name: mask.url(value) if name == "location" else mask.values_in(value)
            for name, value in kept.items()
        }
        status = response.status_code
        self.exchanges.append(Exchanged(method, url, body, status, headers, text, encoded))
        return library.Response(status, headers=kept, content=response.content)

    def key(self, request: Any) -> tuple[str, str, str | None]:
        """Return what a request is recognized by, without its secrets."""
        mask = self.mask.knowing(request)
        content = request.content
        body = mask.body(content, request.headers.get("content-type", "")) if content else None
        return request.method, mask.url(str(request.url)), body

    def write(self) -> None:
        """Write the file, readable and with a final line break, so that changes can be reviewed."""
        kept = [
            {name: value for name, value in asdict(exchange).items() if value is not None}
            for exchange in self.exchanges
        ]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"exchanges": kept}, indent=2, ensure_ascii=False)
        self.path.write_text(text + "\n", encoding="utf-8")

    def read(self) -> None:
        """Read the file; one that is missing has nothing."""
        if not self.path.exists():
            return
        absent: dict[str, Any] = {"body": None, "text": None}
        for exchange in json.loads(self.path.read_text(encoding="utf-8"))["exchanges"]:
            self.exchanges.append(Exchanged(**(absent | exchange)))


@contextmanager
def recorded_http(
    path: Path,
    *,
    record: bool = False,
    hide: Sequence[str] = (),
    passes: frozenset[str] = LOOPBACK,
) -> Iterator[Recorder]:
    """Answer what httpx and httpx2 send from a file, or ``record`` it anew.

    ``hide`` are names of more query parameters and fields whose values are secrets; ``passes`` are
    hosts that are always asked. Raises :class:`UnrecordedRequest` at the end for requests that the
    file does not have. A recording is written only if the block ends well.
    """
    recorder = Recorder(path, record, Mask.of(hide), passes)
    if not record:
        recorder.read()
    with ExitStack() as patches:
        for library in libraries():
            for name, make in (("", sync_handler), ("Async", async_handler)):
                transport = getattr(library, f"{name}HTTPTransport")
                method = f"handle_{name.lower()}_request".replace("__", "_")
                real = getattr(transport, method)
                handler = make(recorder, real, library)
                patches.enter_context(patch.object(transport, method, handler))
        yield recorder
    if recorder.unrecorded:
        told = "\n".join(recorder.unrecorded)
        raise UnrecordedRequest(f"{told}\nrecord what is asked now: pytest --record-http")
    if record:
        recorder.write()


def libraries() -> list[ModuleType]:
    """Return httpx and httpx2, as far as they are installed."""
    found = []
    for name in ("httpx", "httpx2"):
        try:
            found.append(import_module(name))
        except ImportError:
            continue
    return found


def sync_handler(
    recorder: Recorder, real: Callable[..., Any], library: ModuleType
) -> Callable[..., Any]:
    """Return what stands for ``HTTPTransport.handle_request``."""

    def handle(transport: Any, request: Any) -> Any:
        if request.url.host in recorder.passes:
            return real(transport, request)
        request.read()
        if not recorder.records:
            return recorder.answer(request, library)
        response = real(transport, request)
        response.read()
        response.close()
        return recorder.keep(request, response, library)

    return handle


def async_handler(
    recorder: Recorder, real: Callable[..., Any], library: ModuleType
) -> Callable[..., Any]:
    """Return what stands for ``AsyncHTTPTransport.handle_async_request``."""

    async def handle(transport: Any, request: Any) -> Any:
        if request.url.host in recorder.passes:
            return await real(transport, request)
        await request.aread()
        if not recorder.records:
            return recorder.answer(request, library)
        response = await real(transport, request)
        await response.aread()
        await response.aclose()
        return recorder.keep(request, response, library)

    return handle

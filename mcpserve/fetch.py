"""Fetching from a server that nobody vouched for; for plugins too.

The URL is taken apart once, the host is resolved once, every address is checked, and the
connection goes to what was checked: nobody after the check looks at the URL or asks DNS again.
No redirects, proxies, cookies or decompression; little memory, and one limit of time for it all.
"""

import asyncio
import functools
import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from typing import Any

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.netutil import Resolver
from tornado.tcpclient import TCPClient

from mcpserve.addresses import is_public
from mcpserve.errors import FetchError, NoAddress

__all__ = ["Address", "FetchError", "Fetcher", "NoAddress", "Response", "is_public"]

Address = IPv4Address | IPv6Address

MAX_HEADER_BYTES = 16384
MAX_ANSWERS = 20
"""The last one is the answer; those before it say "100 Continue" and the like."""
MAX_AGE = 2**31
"""Longer lifetimes are not counted (RFC 9111 §1.2.2)."""

_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<authority>(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+)(?::(?P<port>[0-9]{1,5}))?)"
    r"(?P<target>[/?][!$-;=?-Z_a-z~]*)?"
)
# The last label begins with a letter, so that no resolver reads the name as a number.
_NAME = re.compile(
    r"(?=.{1,253}\Z)"
    r"(?:[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?\.)*"
    r"[A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?"
)
_JSON = re.compile(r"application/json|[a-z0-9.!#$&^_-]+/[a-z0-9.!#$&^_+-]+\+json")


_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Response:
    """What a server answered, whatever it is; the body as it came, even if it is compressed."""

    status: int
    headers: HTTPHeaders
    body: bytes


@dataclass(frozen=True)
class Fetched:
    """A document, and how long its server lets it be kept: ``None`` when it does not say."""

    body: bytes
    lifetime: timedelta | None


class Fetcher:
    """Fetches from addresses that ``is_allowed``, whatever their names are.

    ``schemes`` are those of the URLs that are taken: ``http`` only if it is among them.
    ``ca_certs`` is a file of certificates to trust instead of the system's, ``timeout`` the seconds
    for one answer with all that comes before it.
    """

    def __init__(
        self,
        *,
        resolver: Resolver | None = None,
        is_allowed: Callable[[Address], bool] = is_public,
        schemes: Sequence[str] = ("https",),
        ca_certs: str | None = None,
        timeout: float = 5.0,
    ) -> None:
        self._resolver = resolver or ThreadResolver()
        self._tcp = TCPClient(GuardedResolver(resolver=self._resolver, is_allowed=is_allowed))
        self._ca_certs = ca_certs
        self._schemes = schemes
        self._timeout = timeout

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made when it is needed, because reading the system's certificates takes a while."""
        return ssl.create_default_context(cafile=self._ca_certs)

    def close(self) -> None:
        """Close the resolver; fetches that run fail."""
        self._resolver.close()

    async def get_json(self, url: str, *, max_bytes: int = 65536) -> Fetched:
        """Return the document at an ``https`` URL.

        Raises :class:`~mcpserve.errors.FetchError` for everything that can go wrong.
        """
        response = await self.get(url, max_bytes=max_bytes, headers={"Accept": "application/json"})
        check_json(response)
        return Fetched(response.body, lifetime(response.headers))

    async def get(
        self, url: str, *, max_bytes: int, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Response:
        """Return what the server at the URL answers, of any status. A redirect is not followed.

        ``headers`` are sent instead of or beside the usual ones, which tell little. Raises
        :class:`~mcpserve.errors.FetchError` if there is no complete answer, and
        :class:`~mcpserve.errors.NoAddress` if there is no address to ask.
        """
        location = _Location.parse(url, self._schemes)
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._get(location, max_bytes, headers)
        except FetchError:
            raise
        except TimeoutError:
            raise FetchError(f"no complete answer within {self._timeout} s") from None
        except Exception as error:  # Whatever a foreign server or its DNS makes the client raise.
            cause = getattr(error, "real_error", None) or error
            raise FetchError(f"no answer: {cause!r}") from error
        return Response(answer.status, answer.headers, bytes(answer.body))

    async def _get(
        self, location: "_Location", max_bytes: int, headers: Mapping[str, str]
    ) -> "_Answer":
        stream = await self._tcp.connect(
            location.host,
            location.port,
            ssl_options=self._tls if location.scheme == "https" else None,
            # What is read in one piece, beside the body: the headers and a chunk.
            max_buffer_size=max_bytes + MAX_HEADER_BYTES + 65536,
        )
        try:
            connection = HTTP1Connection(
                stream,
                True,
                HTTP1ConnectionParameters(
                    no_keep_alive=True, max_header_size=MAX_HEADER_BYTES, max_body_size=max_bytes
                ),
            )
            asked = HTTPHeaders(
                {
                    "Host": location.authority,
                    "User-Agent": "mcpserve",
                    "Accept": "*/*",
                    "Accept-Encoding": "identity",
                    "Connection": "close",
                }
            )
            asked.update(headers)
            answer = _Answer(stream.close)
            connection.write_headers(RequestStartLine("GET", location.target, ""), asked)
            connection.finish()
            await connection.read_response(answer)
        finally:
            stream.close()
        if not answer.complete:
            raise FetchError(f"not an HTTP answer of at most {max_bytes} bytes")
        return answer


class GuardedResolver(Resolver):
    """Another resolver, whose answer counts only if every address in it is allowed."""

    def initialize(self, resolver: Resolver, is_allowed: Callable[[Address], bool]) -> None:
        """Take the resolver to ask."""
        self._resolver = resolver
        self._is_allowed = is_allowed

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        """Return the addresses of a host; of an address, itself.

        Raises :class:`~mcpserve.errors.NoAddress` if there is none or one of them is not allowed.
        """
        found = await self._found(host, port, family) if _is_name(host) else [(host, port)]
        if not found:
            raise NoAddress(f"{host} has no address")
        return [self._checked(host, *address[:2]) for address in found]

    async def _found(self, host: str, port: int, family: socket.AddressFamily) -> list[Any]:
        try:
            return [address for _, address in await self._resolver.resolve(host, port, family)]
        except OSError as error:
            raise NoAddress(f"{host} has no address: {error}") from error

    def _checked(self, host: str, text: str, port: int) -> tuple[int, Any]:
        """Return the socket address, made anew of what was checked."""
        address = ip_address(text)
        if not self._is_allowed(address):
            raise NoAddress(f"{host} has the address {address}, which is not allowed")
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        return family, (str(address), port)


class ThreadResolver(Resolver):
    """The system's resolver in threads of its own.

    A lookup cannot be stopped, so slow ones would use up the threads that everybody shares.
    """

    def initialize(self) -> None:
        """Take few threads."""
        self._executor = ThreadPoolExecutor(4, thread_name_prefix="dns")

    def close(self) -> None:
        """Begin no more lookups."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        """Return the addresses of a host."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._executor, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM
        )
        return [(family, address) for family, _, _, _, address in found]


@dataclass(frozen=True)
class _Location:
    """What a URL says, once and for all."""

    scheme: str
    authority: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, url: str, schemes: Sequence[str] = ("https",)) -> "_Location":
        """Take a URL apart that needs no repair; raise FetchError for any other."""
        match = _URL.fullmatch(url)
        if match is None or match["scheme"] not in schemes:
            wanted = " or ".join(schemes)
            raise FetchError(f"no URL of {wanted}, or with user, fragment or odd characters")
        host, port = match["host"], int(match["port"] or _PORTS[match["scheme"]])
        if not 0 < port < 65536:
            raise FetchError(f"no such port: {port}")
        target = match["target"] or "/"
        return cls(
            scheme=match["scheme"],
            authority=match["authority"],
            host=host if _is_name(host) else _literal(host),
            port=port,
            target=target if target.startswith("/") else f"/{target}",
        )


def _is_name(host: str) -> bool:
    return _NAME.fullmatch(host) is not None


def _literal(host: str) -> str:
    """Return the address that stands in a URL, without brackets."""
    try:
        if host.startswith("["):
            return str(IPv6Address(host[1:-1]))
        return str(IPv4Address(host))
    except ValueError:
        raise FetchError(f"neither a name nor an address: {host}") from None


class _Answer(HTTPMessageDelegate):
    """An HTTP response as it arrives."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        self._give_up = give_up
        self.status = 0
        self.headers = HTTPHeaders()
        self.body = bytearray()
        self._answers = 0
        self.complete = False

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        if isinstance(start_line, ResponseStartLine):
            self.status = start_line.code
        self.headers = headers
        self._answers += 1
        if self._answers > MAX_ANSWERS:
            self._give_up()

    def data_received(self, chunk: bytes) -> None:
        self.body += chunk

    def finish(self) -> None:
        # What had arrived before we hung up is still read to its end.
        self.complete = self._answers <= MAX_ANSWERS


def check_json(response: Response) -> None:
    """Raise FetchError unless this is a document of JSON, as it is."""
    if response.status != 200:
        raise FetchError(f"status {response.status}")
    if "Content-Encoding" in response.headers:
        raise FetchError(f"encoded: {response.headers['Content-Encoding']!r}")
    media_type = response.headers.get("Content-Type", "")
    if not _JSON.fullmatch(media_type.partition(";")[0].strip().lower()):
        raise FetchError(f"not JSON: {media_type!r}")
    if not response.body:
        raise FetchError("empty")


def lifetime(headers: HTTPHeaders) -> timedelta | None:
    """Return how long a response stays fresh (RFC 9111 §4.2); zero when that is garbled."""
    fresh = _freshness(headers)
    if fresh is None:
        return None
    age = timedelta(seconds=_seconds(headers.get("Age", "0")))
    return max(fresh - age, timedelta(0))


def _freshness(headers: HTTPHeaders) -> timedelta | None:
    directives = [
        (name.strip().lower(), value.strip().strip('"'))
        for name, _, value in (
            directive.partition("=") for directive in headers.get("Cache-Control", "").split(",")
        )
    ]
    if {"no-store", "no-cache"} & {name for name, _ in directives}:
        return timedelta(0)
    max_ages = [_seconds(value) for name, value in directives if name == "max-age"]
    if max_ages:
        return timedelta(seconds=min(max_ages))
    if "Expires" not in headers:
        return None
    try:
        return _date(headers["Expires"]) - _date(headers.get("Date", ""))
    except ValueError:
        return timedelta(0)


def _seconds(text: str) -> int:
    if not re.fullmatch("[0-9]+", text):
        return 0
    # No more digits than needed: int() refuses thousands of them.
    return min(int(text.lstrip("0")[:11] or "0"), MAX_AGE)


def _date(text: str) -> datetime:
    return datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)

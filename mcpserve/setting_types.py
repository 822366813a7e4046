"""The types of single settings: what is accepted, and how it is told if it is not.

A parser returns what the setting holds, or raises :class:`ValueError` with what it must be.
"""

import ipaddress
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    WithJsonSchema,
)

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
SIZES = {"GiB": 1024**3, "MiB": 1024**2, "KiB": 1024}
NUMBER = r"[0-9]+(?:\.[0-9]+)?"
DURATION = re.compile(rf"(?:{NUMBER}[dhms])+|{NUMBER}")
LONGEST_DURATION = timedelta(days=3650)
"""Far below what a timestamp can hold."""
ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
HOST = re.compile(r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
DOCUMENT_HOST = re.compile(r"(?:[a-z0-9-]+\.)+[a-z][a-z0-9-]*(?::[0-9]{1,5})?")
"""A name with a dot in it, which ends in no number: no address."""
COLLECTOR = re.compile(r"https?://[!$-;=@-~]+")
"""Neither query nor fragment; what comes in is checked further."""
KEY_LENGTH = 32
MOST_PROCESSES = 256
SCOPE = re.compile(r"[!#-\[\]-~]+")
"""RFC 6749 §3.3."""


def parse_duration(value: object) -> timedelta:
    """``15m``, ``1h30m`` or a number of seconds; anything else is refused."""
    if isinstance(value, timedelta):
        return value
    text = str(value)
    if DURATION.fullmatch(text):
        parts = re.findall(rf"({NUMBER})([dhms]?)", text)
        seconds = sum(float(count) * UNITS.get(unit, 1) for count, unit in parts)
        if seconds <= LONGEST_DURATION.total_seconds():
            return timedelta(seconds=seconds)
    raise ValueError("must be a duration such as 30s, 15m, 12h or 30d; 3650d at most")


def format_duration(value: timedelta) -> str:
    """Return the shortest form that :func:`parse_duration` reads back."""
    seconds = value.total_seconds()
    for unit, size in UNITS.items():
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:f}".rstrip("0").rstrip(".") + "s"


def duration_within(
    *, least: timedelta = timedelta(0), most: timedelta = LONGEST_DURATION
) -> Callable[[object], timedelta]:
    """Return a parser of durations that refuses shorter and longer ones."""

    def parse(value: object) -> timedelta:
        duration = parse_duration(value)
        if duration < least:
            raise ValueError(f"must be at least {format_duration(least)}")
        if duration > most:
            raise ValueError(f"must be {format_duration(most)} at most")
        return duration

    return parse


parse_lifetime = duration_within(least=timedelta(seconds=1))
"""A duration in which something can happen."""
parse_code_lifetime = duration_within(least=timedelta(seconds=1), most=timedelta(minutes=10))
"""RFC 6749 §4.1.2 recommends ten minutes at most."""
parse_reuse_window = duration_within(most=timedelta(hours=1))
"""No long one: a repeated answer needs its access token, which cleanup deletes."""
parse_events_kept = duration_within(least=timedelta(days=30))
"""No short time: what the database keeps, cleanup cannot delete."""


def parse_timeout(value: object) -> timedelta:
    """Refuse 0s: it would end every call, and somebody may have meant "no limit" by it."""
    timeout = parse_duration(value)
    if not timeout:
        raise ValueError("must be more than 0s")
    return timeout


def parse_size(value: object) -> int:
    """``512KiB``, ``4MiB`` or a number of bytes; anything else is refused."""
    found = re.fullmatch(r"([0-9]{1,12})\s*([KMG]iB)?", str(value))
    if not found or isinstance(value, bool):
        raise ValueError("must be a size such as 512KiB, 4MiB or a number of bytes")
    return int(found[1]) * SIZES.get(found[2], 1)


def format_size(value: int) -> str:
    """Return the shortest form that :func:`parse_size` reads back."""
    for unit, size in SIZES.items():
        if value and value % size == 0:
            return f"{value // size}{unit}"
    return f"{value} bytes"


def parse_scope(value: str) -> str:
    """One scope token of RFC 6749 §3.3."""
    if not SCOPE.fullmatch(value):
        raise ValueError('must be printable ASCII without space, " and \\')
    return value


def parse_network(value: str) -> str:
    """Accept an address or a network in CIDR form."""
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError("must be an address or a network such as 10.0.0.0/8") from None
    return value


def parse_processes(value: object) -> int | str:
    """Accept a number of processes, as text from the environment as well, or ``auto``."""
    if value == "auto":
        return "auto"
    if re.fullmatch("[0-9]{1,3}", text := str(value)) and 1 <= int(text) <= MOST_PROCESSES:
        return int(text)
    raise ValueError(f"must be a whole number from 1 to {MOST_PROCESSES}, or auto")


def parse_origin(value: str) -> str:
    """``scheme://host[:port]`` as browsers send it; a slash at the end is forgiven."""
    value = value.removesuffix("/")
    if not ORIGIN.fullmatch(value):
        raise ValueError(
            "must be like https://mcp.example.org, in lower case, without path, query and user"
        )
    urlsplit(value).port  # noqa: B018 - raises ValueError above 65535
    # Browsers and the Host header leave the default port out.
    return value.removesuffix(":443" if value.startswith("https:") else ":80")


def parse_public_url(value: str) -> str:
    """Nothing, or an origin: of https, or of this machine (OAuth 2.1 §1.5)."""
    if not value:
        return value
    origin = parse_origin(value)
    parts = urlsplit(origin)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
        raise ValueError("must be https unless its host is localhost")
    return origin


def parse_cors_origin(value: str) -> str:
    """Accept an origin, or ``*`` for any."""
    return value if value == "*" else parse_origin(value)


def parse_host(value: str) -> str:
    """Accept ``host[:port]``, as in a ``Host`` header."""
    if not HOST.fullmatch(value):
        raise ValueError("must be like mcp.example.org or localhost:3000, in lower case")
    return value


def parse_document_host(value: str) -> str:
    """Accept ``host[:port]``, or ``*`` for any; nothing but names is ever looked up."""
    if value != "*" and (not DOCUMENT_HOST.fullmatch(value) or value.endswith(".localhost")):
        raise ValueError(
            "must be a host name such as client.example.org, in lower case, or * for any; an "
            "address or localhost is never fetched from"
        )
    return value


def parse_https_url(value: str) -> str:
    """Nothing, or an absolute URL of https, as it is."""
    if value and not re.fullmatch(r"https://[!-~]+", value):
        raise ValueError("must be an https URL")
    return value


def parse_collector_url(value: str) -> str:
    """Nothing, or where OTLP over HTTP is taken; the path that OTLP adds is forgiven."""
    if not value:
        return value
    value = value.removesuffix("/").removesuffix("/v1/traces")
    parts = urlsplit(value)
    if not COLLECTOR.fullmatch(value) or not parts.hostname or "@" in parts.netloc:
        raise ValueError("must be a URL such as http://localhost:4318, without user and query")
    parts.port  # noqa: B018 - raises ValueError above 65535
    return value


def parse_header_value(value: SecretStr) -> SecretStr:
    """Accept what a header of HTTP can carry."""
    if not re.fullmatch(r"[!-~](?:[ -~]*[!-~])?", value.get_secret_value()):
        raise ValueError("must be printable ASCII without space at the ends")
    return value


def parse_key(value: SecretStr) -> SecretStr:
    """Accept what cannot be guessed."""
    if len(value.get_secret_value()) < KEY_LENGTH:
        raise ValueError(f"must have {KEY_LENGTH} characters at least: see mcpserve key add")
    return value


def fitting(pattern: str, words: str) -> Callable[[str], str]:
    """Return a parser of text that tells in words what fits the pattern."""

    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {words}")
        return value

    return parse


def as_pattern(pattern: str) -> WithJsonSchema:
    """Tell editors the pattern."""
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


TOOL_NAME = "[A-Za-z0-9_.-]{1,128}"
CLIENT_ID = "[!-~]{1,200}"
HEADER_NAME = "[A-Za-z0-9_-]{1,100}"
APPS_CHALLENGE = "[!-~]{0,1000}"

AS_TEXT = PlainSerializer(format_duration)
AS_SCHEMA = WithJsonSchema({"type": ["string", "number"], "examples": ["15m"]})
Duration = Annotated[timedelta, BeforeValidator(parse_duration), AS_TEXT, AS_SCHEMA]
Lifetime = Annotated[timedelta, BeforeValidator(parse_lifetime), AS_TEXT, AS_SCHEMA]
CodeLifetime = Annotated[timedelta, BeforeValidator(parse_code_lifetime), AS_TEXT, AS_SCHEMA]
ReuseWindow = Annotated[timedelta, BeforeValidator(parse_reuse_window), AS_TEXT, AS_SCHEMA]
EventsKept = Annotated[timedelta, BeforeValidator(parse_events_kept), AS_TEXT, AS_SCHEMA]
Timeout = Annotated[timedelta, BeforeValidator(parse_timeout), AS_TEXT, AS_SCHEMA]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["4MiB"]}),
]
Scope = Annotated[str, AfterValidator(parse_scope)]
Origin = Annotated[str, AfterValidator(parse_origin)]
PublicUrl = Annotated[str, AfterValidator(parse_public_url)]
CorsOrigin = Annotated[str, AfterValidator(parse_cors_origin)]
Host = Annotated[str, AfterValidator(parse_host)]
Network = Annotated[str, AfterValidator(parse_network)]
Port = Annotated[int, Field(ge=0, le=65535)]
Processes = Annotated[
    Annotated[int, Field(ge=1, le=MOST_PROCESSES)] | Literal["auto"],
    BeforeValidator(parse_processes),
]
ToolName = Annotated[
    str, AfterValidator(fitting(TOOL_NAME, "1 to 128 of A-Z a-z 0-9 _ . -")), as_pattern(TOOL_NAME)
]
ClientId = Annotated[
    str,
    AfterValidator(fitting(CLIENT_ID, "1 to 200 characters of printable ASCII without space")),
    as_pattern(CLIENT_ID),
]
DocumentHost = Annotated[str, AfterValidator(parse_document_host)]
HttpsUrl = Annotated[str, AfterValidator(parse_https_url)]
CollectorUrl = Annotated[str, AfterValidator(parse_collector_url)]
HeaderName = Annotated[
    str,
    AfterValidator(fitting(HEADER_NAME, "1 to 100 of A-Z a-z 0-9 _ -")),
    as_pattern(HEADER_NAME),
]
AppsChallenge = Annotated[
    str,
    AfterValidator(fitting(APPS_CHALLENGE, "printable ASCII without space, 1000 at most")),
    as_pattern(APPS_CHALLENGE),
]
HeaderValue = Annotated[SecretStr, AfterValidator(parse_header_value)]
Key = Annotated[SecretStr, AfterValidator(parse_key)]
Preset = Literal[
    "chatgpt",
    "claude",
    "claude-code",
    "codex",
    "cursor",
    "gemini-cli",
    "inspector",
    "mcp-remote",
    "vscode",
]
PRESETS: tuple[Preset, ...] = get_args(Preset)
ChallengeForm = Literal["auto", "http", "tool"]

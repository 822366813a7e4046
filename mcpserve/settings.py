"""The settings: ``config.yaml`` and the environment, read once, as one strict and frozen tree.

:mod:`mcpserve.config` reads them. The description of each field is its documentation:
``config.yaml.example`` and ``docs/reference/config.md`` are generated from it.
"""

import difflib
import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mcpserve.setting_types import (
    LOOPBACK_HOSTS,
    PRESETS,
    AppsChallenge,
    ChallengeForm,
    ClientId,
    CodeLifetime,
    CollectorUrl,
    CorsOrigin,
    DocumentHost,
    Duration,
    EventsKept,
    HeaderName,
    HeaderValue,
    Host,
    HttpsUrl,
    Key,
    Lifetime,
    Network,
    Origin,
    Port,
    Preset,
    Processes,
    PublicUrl,
    ReuseWindow,
    Scope,
    Size,
    Timeout,
    ToolName,
)

MESSAGES = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "extra_forbidden": "unknown key",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "invalid_key": "must be text; put it in quotes",
    "missing": "is missing",
    "model_type": "must be a mapping",
    "string_type": "must be text; put it in quotes",
    "too_short": "must have at least 1 item",
    "tuple_type": "must be a list",
}
"""Problems that pydantic reports in words of Python."""


class Section(BaseModel):
    """Base of every section: unknown keys are refused, nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_section_is_absent(cls, data: object) -> object:
        """``server:`` with nothing below it is null in YAML, and means what ``{}`` means.

        A single value that is missing (``port:``) stays an error.
        """
        if not isinstance(data, dict):
            return {} if data is None else data
        sections = {
            name
            for name, field in cls.model_fields.items()
            if isinstance(field.default, Section | dict | tuple)
        }
        return {
            key: value for key, value in data.items() if value is not None or key not in sections
        }


class ServerSettings(Section):
    """Where the server listens and what it is called from outside."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(3000, description="Port to listen on.")
    public_url: PublicUrl = Field(
        "",
        description="Origin under which clients reach the server; it is the OAuth issuer. "
        "Empty: http://localhost and the port.",
    )
    processes: Processes = Field(
        "auto",
        description="How many processes serve on this port; each takes 65 MB and its own "
        "database.pool_size. auto: one per core, but no more than 90 connections allow; one with "
        "the embedded database.",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="Addresses or networks of proxies whose X-Forwarded-For is believed."
    )
    shutdown_grace: Duration = Field(
        timedelta(seconds=30),
        description="How long requests in flight may take to end at shutdown.",
    )

    @property
    def issuer(self) -> str:
        """The public origin, without a slash at the end."""
        return self.public_url or f"http://localhost:{self.port}"

    @property
    def public_host(self) -> str:
        """Host and port of the issuer, as a ``Host`` header would carry them."""
        return urlsplit(self.issuer).netloc

    @property
    def https(self) -> bool:
        """Whether people reach the server over TLS."""
        return self.issuer.startswith("https:")

    @property
    def loopback(self) -> bool:
        """Whether the public URL is reachable from this machine only."""
        return urlsplit(self.issuer).hostname in LOOPBACK_HOSTS


class DatabaseSettings(Section):
    """The PostgreSQL that holds everything."""

    url: SecretStr = Field(
        SecretStr(""),
        description="postgresql://user:password@host/name. "
        "Empty: an embedded PostgreSQL in data_dir.",
    )
    pool_size: Annotated[int, Field(ge=1, le=200)] = Field(
        10,
        description="Connections that this process keeps open at the most; one more listens for "
        "commands.",
    )
    migrate: bool = Field(
        False,
        description="Apply pending migrations at start. The embedded database always does.",
    )


class ClientSettings(Section):
    """A client that the operator configures; written to the database at every start."""

    id: ClientId = Field(description="The client_id.", examples=["my-client"])
    name: str = Field("", max_length=100, description="Shown on the consent page. Empty: the id.")
    secret: SecretStr = Field(
        SecretStr(""),
        description="Set: client_secret_basic and _post. Without secret and keys: a public client.",
    )
    jwks: dict[str, Any] = Field(
        {},
        description="Its public keys (RFC 7517), for private_key_jwt.",
        examples=[{"keys": []}],
    )
    jwks_uri: HttpsUrl = Field("", description="Or where its public keys are published.")
    redirect_uris: tuple[str, ...] = Field(
        min_length=1,
        max_length=20,
        description="Exact redirect URIs; at least one.",
        examples=[["https://client.example.org/callback"]],
    )
    scopes: tuple[Scope, ...] = Field(
        (), description="What it gets when it asks for nothing. Empty: the server's default."
    )
    refresh_reuse_window: ReuseWindow | None = Field(
        None, description="Overrides oauth.refresh_reuse_window for this client."
    )

    introspection: bool = Field(
        False,
        description="Whether it may ask about the access tokens of all clients at /introspect.",
    )

    @model_validator(mode="after")
    def _authenticates_in_one_way(self) -> "ClientSettings":
        ways = sum(map(bool, (self.secret.get_secret_value(), self.jwks, self.jwks_uri)))
        if ways > 1:
            raise ValueError("only one of secret, jwks and jwks_uri can be set")
        if self.introspection and not ways:
            raise ValueError("introspection needs a secret, jwks or jwks_uri")
        return self


class MetadataDocumentsSettings(Section):
    """Clients whose id is the URL of a document about them (Client ID Metadata Documents)."""

    enabled: bool = Field(True, description="Whether such clients are let in.")
    hosts: tuple[DocumentHost, ...] = Field(
        (),
        description="Hosts whose documents are fetched; * for any. Those of presets are known by "
        "their URLs, which opens no host.",
    )


class RegistrationSettings(Section):
    """Clients that register themselves (RFC 7591)."""

    enabled: bool = Field(True, description="Whether /register exists.")
    redirects: Literal["presets", "any"] = Field(
        "presets",
        description="presets: only to this machine or as a preset has it. any: any https URL, too.",
    )
    per_network: Annotated[int, Field(ge=1)] = Field(
        60, description="Registrations in an hour from one network."
    )
    max_unused: Annotated[int, Field(ge=1)] = Field(
        1000, description="Registered clients with which nobody logged in yet."
    )
    unused_lifetime: Lifetime = Field(
        timedelta(hours=24), description="How long a client stays with which nobody logs in."
    )
    idle_lifetime: Lifetime = Field(
        timedelta(days=90),
        description="How long a client stays after its last login; always until its grants are "
        "gone.",
    )


class ClientsSettings(Section):
    """The applications that may ask people for access."""

    presets: tuple[Preset, ...] = Field(
        PRESETS, description="Well-known clients that may connect without being configured."
    )
    configured: tuple[ClientSettings, ...] = Field(
        (), description="Clients to keep in the database. AUTO_SEED_CLIENT_ID and so on add one."
    )
    metadata_documents: MetadataDocumentsSettings = MetadataDocumentsSettings()
    registration: RegistrationSettings = RegistrationSettings()

    @model_validator(mode="before")
    @classmethod
    def _is_no_list(cls, data: object) -> object:
        if isinstance(data, list | tuple):
            raise ValueError("must be a mapping; the list belongs below oauth.clients.configured")
        return data

    @field_validator("configured")
    @classmethod
    def _ids_differ(cls, value: tuple[ClientSettings, ...]) -> tuple[ClientSettings, ...]:
        ids = [client.id for client in value]
        if twice := [client_id for client_id in ids if ids.count(client_id) > 1]:
            raise ValueError(f"the id {twice[0]!r} is there twice")
        return value


class OAuthSettings(Section):
    """The authorization server."""

    access_token_lifetime: Lifetime = Field(
        timedelta(minutes=15), description="How long an access token works."
    )
    refresh_token_lifetime: Lifetime = Field(
        timedelta(days=30),
        description="How long a login lasts; refreshing does not extend it.",
    )
    authorization_code_lifetime: CodeLifetime = Field(
        timedelta(minutes=1), description="How long a code may wait to be exchanged; 10m at most."
    )
    refresh_reuse_window: ReuseWindow = Field(
        timedelta(0),
        description="How long a rotated refresh token may be repeated by a client that lost the "
        "answer; 1h at most. 0s: every reuse ends the grant.",
    )
    auto_approve: bool = Field(
        False,
        description="Approve without asking. For development: public_url must be localhost.",
    )
    scopes: dict[Scope, str] = Field(
        {},
        description="Scopes of your own, or other words for known ones: name to text.",
        examples=[{"weather.read": "Read the weather"}],
    )
    scope_implies: dict[Scope, tuple[Scope, ...]] = Field(
        {},
        description="Which scopes a scope includes: whoever has the key may do what the values "
        "allow, and what these include.",
        examples=[{"weather.write": ["weather.read"]}],
    )
    keys: tuple[Key, ...] = Field(
        (),
        description="Secrets for the reuse window, the one to use first; see mcpserve key. "
        "Empty: they are made and kept in the database.",
    )
    clients: ClientsSettings = ClientsSettings()

    @model_validator(mode="after")
    def _lifetimes_are_sane(self) -> "OAuthSettings":
        if self.refresh_token_lifetime < self.access_token_lifetime:
            raise ValueError("refresh_token_lifetime must not be below access_token_lifetime")
        return self


class LoginSettings(Section):
    """People logging in with name and password."""

    session_lifetime: Lifetime = Field(
        timedelta(hours=12), description="How long a browser stays logged in."
    )
    password_min_length: Annotated[int, Field(ge=8, le=72)] = Field(
        12, description="Shortest password in characters; the longest is 72 bytes."
    )
    bcrypt_rounds: Annotated[int, Field(ge=4, le=16)] = Field(
        12, description="Cost of a password hash; each step doubles it (12 is about 0.2 s)."
    )


class LimitSettings(Section):
    """How many failures are allowed in a window of time."""

    # Either half may be left out: LimitsSettings fills it in.
    model_config = ConfigDict(json_schema_extra={"required": []})

    failures: Annotated[int, Field(ge=1)] = Field(description="Failures allowed in the window.")
    window: Lifetime = Field(description="Length of the window.")


class UseLimitSettings(Section):
    """How much use is allowed in a window of time."""

    # As above.
    model_config = ConfigDict(json_schema_extra={"required": []})

    uses: Annotated[int, Field(ge=1)] = Field(description="Uses allowed in the window.")
    window: Lifetime = Field(description="Length of the window.")


class LimitsSettings(Section):
    """Failures after which an endpoint answers 429; successes count only without a login."""

    authorize: LimitSettings = Field(
        LimitSettings(failures=60, window=timedelta(minutes=5)),
        description="Refused authorization requests, per network; and as many documents of clients "
        "that are read for the first time.",
    )
    token: LimitSettings = Field(
        LimitSettings(failures=60, window=timedelta(minutes=5)),
        description="Refused token requests of one kind, per client and network.",
    )
    revoke: LimitSettings = Field(
        LimitSettings(failures=60, window=timedelta(minutes=5)),
        description="Refused revocation requests of one kind, per client and network.",
    )
    introspect: LimitSettings = Field(
        LimitSettings(failures=60, window=timedelta(minutes=5)),
        description="Refused introspection requests of one kind, per client and network.",
    )
    login: LimitSettings = Field(
        LimitSettings(failures=10, window=timedelta(minutes=15)),
        description="Wrong passwords, per user and network; ten times as many per network alone.",
    )
    anonymous: UseLimitSettings = Field(
        UseLimitSettings(uses=60, window=timedelta(minutes=1)),
        description="Uses of what is open (plugins.NAME.tools.TOOL.open) without a login, "
        "per network.",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _missing_half_is_the_default(cls, value: object, info: ValidationInfo) -> object:
        """Whoever sets ``failures`` alone keeps the window."""
        default: Section = cls.model_fields[str(info.field_name)].default
        return {**default.model_dump(), **value} if isinstance(value, dict) else value


class LogSettings(Section):
    """What is written to standard error."""

    format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto: text on a terminal, JSON lines elsewhere."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is written."
    )


class TracingSettings(Section):
    """Spans of requests and of what tools ask other services, for OpenTelemetry."""

    endpoint: CollectorUrl = Field(
        "",
        description="Base URL of a collector that takes OTLP over HTTP, such as "
        "http://localhost:4318. Empty: no tracing. Needs the extra mcpserve[tracing].",
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        {}, description="Headers that it wants, such as a key.", examples=[{"x-api-key": "my-key"}]
    )
    service_name: str = Field(
        "", description="Name of this service in traces. Empty: OTEL_SERVICE_NAME, else mcpserve."
    )
    sample: Annotated[float, Field(ge=0, le=1)] = Field(
        1.0, description="Share of requests that is recorded; what callers ask for does not count."
    )


class McpSettings(Section):
    """The MCP endpoint."""

    name: str = Field("mcpserve", min_length=1, description="Name of the server in the protocol.")
    instructions: str = Field(
        "",
        description="What a model should know of this server; clients read about 500 characters.",
    )
    allowed_hosts: tuple[Host, ...] = Field(
        (), description="Host headers accepted beside that of public_url and localhost."
    )
    allowed_origins: tuple[Origin, ...] = Field(
        (), description="Origin headers accepted beside public_url and cors.origins."
    )
    max_body: Annotated[int, Field(ge=1024)] = Field(
        4 * 1024 * 1024,
        description="Largest request in bytes; without a login 65536 at the most.",
    )
    challenge: ChallengeForm = Field(
        "auto",
        description="How a client is told that its token lacks a scope for a tool. http: 403 with "
        "WWW-Authenticate. tool: a result of the tool. auto: tool for ChatGPT, else http.",
    )
    openai_apps_challenge: AppsChallenge = Field(
        "",
        description="Token by which OpenAI verifies the domain of a plugin that is submitted to "
        "its directory, told at /.well-known/openai-apps-challenge.",
    )


class CorsSettings(Section):
    """Browser-based clients."""

    origins: tuple[CorsOrigin, ...] = Field(
        (), description="Origins that may read answers of /token, /revoke and /mcp, or *."
    )


class CleanupSettings(Section):
    """Deleting what is spent and expired."""

    enabled: bool = Field(True, description="Clean up at start and at the interval.")
    interval: Lifetime = Field(timedelta(minutes=15), description="Time between two runs.")
    events_kept: EventsKept = Field(
        timedelta(days=365), description="How long security events are kept; 30d at least."
    )


class OfferSettings(Section):
    """What the operator decides about one resource or prompt."""

    enabled: bool = Field(True, description="Whether it is offered.")
    timeout: Timeout | None = Field(None, description="Longest time for one call.")
    scopes: tuple[Scope, ...] = Field((), description="Scopes needed in addition.")
    open: bool = Field(
        False,
        description="Whether everybody may use it without logging in. Then nothing else may ask "
        "for scopes.",
    )


class ToolSettings(OfferSettings):
    """What the operator decides about one tool; for resources and prompts the same but aliases."""

    aliases: tuple[ToolName, ...] = Field(
        (), description="Names that it had before: they may still be called, but are not listed."
    )


class ResultSettings(Section):
    """What the operator allows in the results of a plugin."""

    max_size: Annotated[Size, Field(ge=1024)] = Field(
        4 * 1024 * 1024,
        description="Largest result in bytes, as it is sent (or 512KiB, 4MiB). A larger one is an "
        "error that the model reads.",
    )
    redact: tuple[str, ...] = Field(
        (),
        description="Regular expressions (syntax of RE2). What they find in the text and the "
        "structured content of a result becomes [redacted]. Needs the extra "
        "mcpserve[redaction].",
    )
    untrusted: bool = Field(
        False,
        description="Whether the text is by others, such as pages of the web: it is marked as "
        "such.",
    )


class BreakerSettings(Section):
    """When a plugin that keeps failing is left alone."""

    failures: Annotated[int, Field(ge=0)] = Field(
        10, description="Crashes and timeouts in a row after which its calls are refused. 0: never."
    )
    pause: Timeout = Field(timedelta(seconds=30), description="How long; then one call is tried.")


class PluginSettings(Section):
    """One plugin; being listed is what loads it."""

    timeout: Timeout | None = Field(
        None, description="Longest time for one call, waiting for a slot included."
    )
    load_timeout: Timeout = Field(
        timedelta(seconds=30), description="Longest time for its import and its hooks together."
    )
    concurrency: Annotated[int, Field(ge=1, le=1000)] = Field(
        16, description="Calls at a time; also the threads for plain functions."
    )
    isolation: Literal["none", "process"] = Field(
        "none",
        description="process: its functions run in a process of their own, which is started again "
        "when it dies.",
    )
    memory: Annotated[Size, Field(ge=64 * 1024 * 1024)] | None = Field(
        None,
        description="Address space that this process may have, such as 1GiB. Not on macOS.",
    )
    results: ResultSettings = ResultSettings()
    breaker: BreakerSettings = BreakerSettings()
    scopes: tuple[Scope, ...] = Field(
        (), description="Scopes that all its tools, resources and prompts need in addition."
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop",
        description="stop: the server does not start without it. skip: it starts and says so.",
    )
    tools: dict[str, ToolSettings] = Field(
        {},
        description="Decisions about single tools, by name.",
        examples=[
            {
                "my_tool": {
                    "enabled": True,
                    "timeout": "30s",
                    "scopes": [],
                    "open": False,
                    "aliases": [],
                }
            }
        ],
    )
    resources: dict[str, OfferSettings] = Field(
        {}, description="Decisions about single resources, by name (not by URI)."
    )
    prompts: dict[str, OfferSettings] = Field(
        {}, description="Decisions about single prompts, by name."
    )
    config: dict[str, Any] = Field({}, description="The plugin's own settings; its model decides.")


class Settings(Section):
    """The whole configuration."""

    server: ServerSettings = ServerSettings()
    data_dir: Path = Field(
        Path(".mcpserve"),
        description="Where the embedded database lives; relative to the folder of config.yaml.",
    )
    plugins_dir: str = Field(
        "",
        description="Where mcpserve plugin install puts packages; relative to the folder of "
        "config.yaml. Empty: plugins, in data_dir.",
    )
    tools_lock: str = Field(
        "",
        description="The file with the tools as you reviewed them, such as tools.lock; relative to "
        "the folder of config.yaml. A tool that differs is left out. Empty: off.",
    )
    database: DatabaseSettings = DatabaseSettings()
    oauth: OAuthSettings = OAuthSettings()
    login: LoginSettings = LoginSettings()
    limits: LimitsSettings = LimitsSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    mcp: McpSettings = McpSettings()
    cors: CorsSettings = CorsSettings()
    cleanup: CleanupSettings = CleanupSettings()
    plugins: dict[str, PluginSettings] = Field(
        {}, description="Plugins by entry-point name; being listed is what loads one."
    )

    @property
    def plugins_folder(self) -> Path:
        """Where packages beside those of the installation are; perhaps it is not there."""
        return Path(os.path.abspath(self.plugins_dir or self.data_dir / "plugins"))

    @model_validator(mode="after")
    def _auto_approve_stays_at_home(self) -> "Settings":
        if self.oauth.auto_approve and not self.server.loopback:
            raise ValueError(
                "oauth.auto_approve is for development: server.public_url must be localhost"
            )
        return self


def explain(
    error: ValidationError, *prefix: str, known: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """One line for each problem, each starting with its key path. Never shows a value.

    ``known`` are settings by key path without the prefix, with their descriptions: these stand for
    regular expressions, and those for what was mistyped.
    """
    lines = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        path = ".".join(str(part) for part in (*prefix, *problem["loc"]) if part != "[key]")
        message = MESSAGES.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        setting = ".".join(part for part in problem["loc"] if isinstance(part, str))
        if problem["type"] == "string_pattern_mismatch" and known.get(setting):
            message = f"does not fit what it is for: {known[setting]}"
        if problem["type"] == "extra_forbidden":
            message += did_you_mean(setting, known)
        lines.append(f"{path}: {message}" if path else message)
    return lines


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'port'?`` if a known name is like this one; else nothing."""
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""

"""Every exception that is raised on purpose. Nothing else sets an error status.

``description`` is public text; ``detail`` is for the log only.
"""

from typing import ClassVar


class MCPServeError(Exception):
    """Base of all errors below."""


class ConfigError(MCPServeError):
    """The configuration cannot be used. The message starts with the key path; CLI exit 2."""


class PluginError(ConfigError):
    """A plugin cannot be loaded. The message starts with ``plugins.<name>:``."""

    def __init__(self, plugin: str, message: str) -> None:
        super().__init__(f"plugins.{plugin}: {message}")
        self.plugin = plugin


class UsageError(MCPServeError):
    """A command cannot do what was asked, e.g. no such user. The CLI exits with 1."""


class EmbeddedPostgresError(MCPServeError):
    """The embedded PostgreSQL cannot be started. The message is one line that says what to do."""


class MigrationError(MCPServeError):
    """The database schema is behind, ahead of, or different from this program."""


class DatabaseError(MCPServeError):
    """The database did not answer as needed; the request may be repeated later (HTTP 503)."""

    retry_after = 5


class DatabaseUnavailable(DatabaseError):
    """No connection, or the connection broke. Whether a COMMIT took effect is then unknown."""


class DatabaseTimeout(DatabaseError):
    """A statement or a lock took longer than allowed.

    In a transaction nothing was written; a single statement may still take effect.
    """


class DatabaseConflict(DatabaseError):
    """Another transaction came in between (deadlock, serialization); nothing was written."""


class KeyNotHere(MCPServeError):
    """A key of the reuse window is kept where other replicas look, but not here (HTTP 503)."""

    retry_after = 5


class BadSeal(MCPServeError):
    """What a client brought back was not sealed here, or for something else, or is too old."""


class Overloaded(MCPServeError):
    """A bounded resource (the password-hashing pool) is full (HTTP 503)."""

    retry_after = 2


class RateLimited(MCPServeError):
    """Too much of something, mostly of failures (HTTP 429). The message is told."""

    def __init__(self, retry_after: int, message: str) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class FetchError(MCPServeError):
    """A document of another server cannot be had. The message is for the log only.

    Whoever asked for the document is answered the same for every reason, so that nobody can look
    into our network through us.
    """


class NoAddress(FetchError):
    """A host has no address, or one to which nobody may be led."""


class DocumentError(MCPServeError):
    """What a client publishes about itself cannot be had or used. The message is for the log only.

    To the outside it looks the same whatever the reason is, as with :class:`FetchError`.
    """

    retry_after = 30


class RequestRefused(MCPServeError):
    """An HTTP request that is refused before any protocol looks at it (405, 413, 415, 421 …)."""

    def __init__(self, status: int, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.description = description


class OAuthError(MCPServeError):
    r"""An error of the OAuth protocol: ``error`` and HTTP status are class attributes.

    ``description`` may use only the characters of RFC 6749 §5.2: printable ASCII without ``"``
    and ``\``.
    """

    error: ClassVar[str] = "invalid_request"
    status: ClassVar[int] = 400

    def __init__(self, description: str, *, detail: str = "") -> None:
        if not all(" " <= c <= "~" and c not in '"\\' for c in description):
            raise ValueError(f"not allowed in error_description: {description!r}")
        super().__init__(f"{self.error}: {description}" + (f" ({detail})" if detail else ""))
        self.description = description
        self.detail = detail


class InvalidRequest(OAuthError):
    """A parameter is missing, repeated or malformed (RFC 6749 §5.2)."""


class InvalidClient(OAuthError):
    """Client authentication failed (RFC 6749 §5.2). Always with a ``WWW-Authenticate: Basic``."""

    error = "invalid_client"
    status = 401

    def __init__(
        self, description: str = "client authentication failed", *, detail: str = ""
    ) -> None:
        super().__init__(description, detail=detail)


class InvalidGrant(OAuthError):
    """The code or refresh token is not valid for this client (RFC 6749 §5.2).

    ``guessed`` tells that it never was one of ours.
    """

    error = "invalid_grant"

    def __init__(self, description: str, *, detail: str = "", guessed: bool = False) -> None:
        super().__init__(description, detail=detail)
        self.guessed = guessed


class UnsupportedGrantType(OAuthError):
    """The grant type is not known here (RFC 6749 §5.2)."""

    error = "unsupported_grant_type"


class InvalidScope(OAuthError):
    """A scope is unknown, malformed, or wider than allowed (RFC 6749 §5.2)."""

    error = "invalid_scope"


class InvalidTarget(OAuthError):
    """The resource is not ours (RFC 8707 §2)."""

    error = "invalid_target"


class UnsupportedResponseType(OAuthError):
    """Only ``code`` is offered (RFC 6749 §4.1.2.1)."""

    error = "unsupported_response_type"


class AccessDenied(OAuthError):
    """The person said no (RFC 6749 §4.1.2.1)."""

    error = "access_denied"


class LoginRequired(OAuthError):
    """``prompt=none`` and nobody is logged in (OpenID Connect Core §3.1.2.6)."""

    error = "login_required"


class ConsentRequired(OAuthError):
    """``prompt=none`` and consent would have to be asked (OpenID Connect Core §3.1.2.6)."""

    error = "consent_required"


class RequestNotSupported(OAuthError):
    """The ``request`` parameter is not offered (OpenID Connect Core §3.1.2.6)."""

    error = "request_not_supported"


class RequestUriNotSupported(OAuthError):
    """The ``request_uri`` parameter is not offered (OpenID Connect Core §3.1.2.6)."""

    error = "request_uri_not_supported"


class RegistrationNotSupported(OAuthError):
    """The ``registration`` parameter is not offered (OpenID Connect Core §3.1.2.6)."""

    error = "registration_not_supported"


class InvalidRedirectUri(OAuthError):
    """A redirect URI cannot be registered (RFC 7591 §3.2.2)."""

    error = "invalid_redirect_uri"


class InvalidClientMetadata(OAuthError):
    """What a client says of itself cannot be registered (RFC 7591 §3.2.2)."""

    error = "invalid_client_metadata"


class InvalidSoftwareStatement(OAuthError):
    """A software statement is malformed (RFC 7591 §3.2.2)."""

    error = "invalid_software_statement"


class InvalidToken(OAuthError):
    """The bearer token is missing, unknown, spent or for another audience (RFC 6750 §3.1).

    ``presented`` tells whether a token was sent: without one the challenge carries no ``error``.
    """

    error = "invalid_token"
    status = 401

    def __init__(self, description: str, *, presented: bool = True) -> None:
        super().__init__(description)
        self.presented = presented


class InsufficientScope(OAuthError):
    """The token is good but lacks ``scopes`` (RFC 6750 §3.1)."""

    error = "insufficient_scope"
    status = 403

    def __init__(self, description: str, *, scopes: frozenset[str]) -> None:
        super().__init__(description)
        self.scopes = scopes


class PageError(MCPServeError):
    """An error shown to the person as a page, never redirected (RFC 6749 §4.1.2.1)."""

    def __init__(
        self, status: int, title: str, message: str, *, error: str = "invalid_request"
    ) -> None:
        super().__init__(f"{title}: {message}")
        self.status = status
        self.title = title
        self.message = message
        self.error = error

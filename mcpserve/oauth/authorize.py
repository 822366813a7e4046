"""The authorization endpoint (OAuth 2.1 §4.1): checking a request, and the answers to it.

Until client and redirect URI are known to belong together an error is a page. After that an
:class:`AuthorizationRequest` exists, and only it can send an answer to the client.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from mcpserve.errors import (
    ConsentRequired,
    DocumentError,
    InvalidRequest,
    LoginRequired,
    OAuthError,
    PageError,
    RegistrationNotSupported,
    RequestNotSupported,
    RequestUriNotSupported,
    UnsupportedResponseType,
)
from mcpserve.oauth import redirect_uris, resources
from mcpserve.oauth.forms import Parameters
from mcpserve.oauth.scopes import Scopes, names_no_access
from mcpserve.oauth.store.browsers import BrowserSession, NewRequest
from mcpserve.oauth.store.clients import Client

logger = logging.getLogger(__name__)

Resolve = Callable[[str], Awaitable[Client | None]]
"""Finds an enabled client by its id. Raises :class:`~mcpserve.errors.DocumentError`."""

CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
"""Base64url of a SHA-256 (RFC 7636 §4.2)."""

PARAMETERS = (
    "response_type",
    "response_mode",
    "state",
    "code_challenge",
    "code_challenge_method",
    "scope",
    "prompt",
    "nonce",
    "request",
    "request_uri",
    "registration",
)
"""What may be there once only; ``resource`` has a rule of its own."""


@dataclass(frozen=True)
class Server:
    """What this authorization server is, as far as a request is judged by it."""

    issuer: str
    resource: str
    scopes: Scopes
    presets: Collection[str] = ()
    """The well-known clients that are let in, by name."""


@dataclass(frozen=True)
class AuthorizationRequest:
    """A request whose client and redirect URI are proven; it is filled in check by check."""

    client: Client
    redirect_uri: str
    parameters: Parameters
    state: str | None = None
    scopes: frozenset[str] = frozenset()
    usual_scopes: bool = False
    """It named no access: once the person is known, what they granted last is meant."""
    resource: str = ""
    code_challenge: str = ""
    prompt: frozenset[str] = frozenset()

    def to_keep(self) -> NewRequest:
        """Return what is stored while the person logs in and decides."""
        return NewRequest(
            client_id=self.client.client_id,
            redirect_uri=self.redirect_uri,
            state=self.state,
            scopes=self.scopes,
            usual_scopes=self.usual_scopes,
            resource=self.resource,
            code_challenge=self.code_challenge,
            fresh_login="login" in self.prompt,
            client_document_digest=self.client.document_digest,
        )


class Refused(OAuthError):
    """A refused request with the redirect that tells the client (OAuth 2.1 §4.1.2.1).

    Without ``at_once`` the person decides whether to follow it: anybody may have made the client,
    to send people on from here to where it likes (OAuth 2.1 §7.13.2).
    """

    def __init__(
        self, error: OAuthError, request: AuthorizationRequest, server: Server, *, state: str | None
    ) -> None:
        super().__init__(error.description)
        uri = request.redirect_uri
        self.location = error_answer(uri, server.issuer, state=state, error=error)
        self.host = redirect_uris.host(uri)
        vouched_for = request.client.vouched_for(server.presets)
        self.at_once = vouched_for or redirect_uris.is_loopback(uri)


def answer(redirect_uri: str, issuer: str, *, state: str | None, **parameters: str) -> str:
    """Return the URL of an answer; every one carries ``iss`` (RFC 9207 §2) and the exact state."""
    parameters["iss"] = issuer
    if state is not None:
        parameters["state"] = state
    separator = "&" if "?" in redirect_uri else "?"
    if redirect_uri.endswith(("?", "&")):
        separator = ""
    return redirect_uri + separator + urlencode(parameters)


def error_answer(redirect_uri: str, issuer: str, *, state: str | None, error: OAuthError) -> str:
    """Return the URL that tells the client of an error."""
    return answer(
        redirect_uri, issuer, state=state, error=error.error, error_description=error.description
    )


def state_of(parameters: Parameters) -> str | None:
    """Return the state to send back; none if it was the parameter that is there twice."""
    try:
        return parameters.one("state")
    except InvalidRequest:
        return None


async def validate(
    server: Server, parameters: Parameters, resolve: Resolve
) -> AuthorizationRequest:
    """Return the request if all of it is good; ``resolve`` finds the client by its id.

    Client and redirect URI first: until both hold, errors are pages
    (:class:`~mcpserve.errors.PageError`); after that, :class:`Refused`.
    """
    client = await _client(parameters, resolve)
    redirect_uri = _redirect_uri(client, parameters)
    request = AuthorizationRequest(client, redirect_uri, parameters)
    try:
        for check in CHECKS:
            request = check(request, server)
    except OAuthError as error:
        raise Refused(error, request, server, state=state_of(parameters)) from error
    return request


async def _client(parameters: Parameters, resolve: Resolve) -> Client:
    try:
        client_id = parameters.required("client_id")
    except InvalidRequest as error:
        raise _incomplete(error) from error
    try:
        client = await resolve(client_id)
    except DocumentError as error:
        logger.warning("the client %r is not let in: %s", client_id, error)
        raise PageError(
            400,
            "This application cannot be reached",
            "Its id is the address of a description of it, which could not be read or is not "
            "accepted here. Try again in a minute, or ask who runs this server to look into its "
            "log.",
            error="invalid_client",
        ) from error
    if client is None:
        raise PageError(
            400,
            "This application is not known here",
            "The server has no client with this id, or it was disabled. Remove the connection in "
            "the application and add it again, or ask who runs this server to register it.",
            error="invalid_client",
        )
    return client


def _redirect_uri(client: Client, parameters: Parameters) -> str:
    try:
        uri = parameters.required("redirect_uri")
    except InvalidRequest as error:
        raise _incomplete(error) from error
    if not redirect_uris.is_registered(uri, client.redirect_uris):
        raise PageError(
            400,
            "The application asks for an answer at the wrong place",
            "Remove the connection in the application and add it again, or ask who runs this "
            f"server. The redirect URI is not registered for {client.name}: {uri}",
        )
    return uri


def _incomplete(error: InvalidRequest) -> PageError:
    return PageError(
        400,
        "This link is incomplete",
        f"The application sent you here with a request that cannot be used: {error.description}.",
    )


def response_mode_is_query(request: AuthorizationRequest, server: Server) -> AuthorizationRequest:
    """Accept no other response mode."""
    if request.parameters.one("response_mode") not in (None, "query"):
        raise InvalidRequest("only response_mode=query is supported")
    return request


def parameters_are_single(request: AuthorizationRequest, server: Server) -> AuthorizationRequest:
    """Refuse a parameter that is there twice (OAuth 2.1 §3.1)."""
    request.parameters.require_single(*PARAMETERS)
    return replace(request, state=request.parameters.one("state"))


def no_request_objects(request: AuthorizationRequest, server: Server) -> AuthorizationRequest:
    """Refuse what OpenID Connect Core §6 and §7.2.1 make optional."""
    for name, error in (
        ("request", RequestNotSupported),
        ("request_uri", RequestUriNotSupported),
        ("registration", RegistrationNotSupported),
    ):
        if request.parameters.one(name) is not None:
            raise error(f"{name} is not supported")
    return request


def response_type_is_code(request: AuthorizationRequest, server: Server) -> AuthorizationRequest:
    """Offer the authorization code only."""
    if request.parameters.required("response_type") != "code":
        raise UnsupportedResponseType("only response_type=code is supported")
    return request


def pkce_is_s256(request: AuthorizationRequest, server: Server) -> AuthorizationRequest:
    """Demand PKCE with S256; an absent method would mean ``plain`` (RFC 7636 §4.3)."""
    challenge = request.parameters.required("code_challenge")
    if request.parameters.required("code_challenge_method") != "S256":
        raise InvalidRequest("code_challenge_method must be S256")
    if not CHALLENGE.fullmatch(challenge):
        raise InvalidRequest("code_challenge must be 43 characters of base64url")
    return replace(request, code_challenge=challenge)


def scopes_are_known(request: AuthorizationRequest, server: Server) -> AuthorizationRequest:
    """Take the scopes asked for; what the client usually gets if none of them is any access."""
    asked = server.scopes.parse(request.parameters.one("scope"))
    if not names_no_access(asked):
        return replace(request, scopes=asked)
    scopes = asked | server.scopes.usual(request.client.scopes)
    return replace(request, scopes=scopes, usual_scopes=True)


def resource_is_ours(request: AuthorizationRequest, server: Server) -> AuthorizationRequest:
    """Bind the request to our MCP endpoint (RFC 8707 §2)."""
    asked = request.parameters.all("resource")
    return replace(request, resource=resources.canonical(asked, server.resource))


def prompt_makes_sense(request: AuthorizationRequest, server: Server) -> AuthorizationRequest:
    """``none`` stands alone (OpenID Connect Core §3.1.2.1); unknown values are ignored."""
    prompt = frozenset((request.parameters.one("prompt") or "").split())
    if "none" in prompt and len(prompt) > 1:
        raise InvalidRequest("prompt=none cannot be combined")
    return replace(request, prompt=prompt)


CHECKS: tuple[Callable[[AuthorizationRequest, Server], AuthorizationRequest], ...] = (
    response_mode_is_query,
    parameters_are_single,
    no_request_objects,
    response_type_is_code,
    pkce_is_s256,
    scopes_are_known,
    resource_is_ours,
    prompt_makes_sense,
)


def refuse_silent(
    request: AuthorizationRequest, server: Server, session: BrowserSession | None
) -> None:
    """Answer ``prompt=none``: a person is always asked. Raises :class:`Refused`."""
    if "none" not in request.prompt:
        return
    logged_in = session is not None and session.user_id is not None
    error = (
        ConsentRequired("consent is asked every time")
        if logged_in
        else LoginRequired("nobody is logged in")
    )
    raise Refused(error, request, server, state=request.state)

"""Client authentication at the endpoints that clients post to (OAuth 2.1 §2.4).

Exactly one method per request, and one that is registered for the client. An unknown client, a
wrong secret and a wrong signature look the same.
"""

import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from mcpserve.crypto import PasswordHasher
from mcpserve.db import Database, Queryable
from mcpserve.errors import (
    DocumentError,
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    OAuthError,
    RateLimited,
)
from mcpserve.oauth import assertions
from mcpserve.oauth.assertions import Assertion
from mcpserve.oauth.clients import SECRET_METHODS
from mcpserve.oauth.documents import Documents
from mcpserve.oauth.forms import BAD_ESCAPE, Parameters
from mcpserve.oauth.store.clients import Client
from mcpserve.ratelimit import Limit


@dataclass(frozen=True)
class Credentials:
    """Who a request says that it is from, and what shall prove it."""

    client_id: str
    method: str
    """One of ``metadata.AUTH_METHODS``."""
    secret: str = ""
    assertion: Assertion | None = None


def read_credentials(parameters: Parameters, authorization: str | None) -> Credentials:
    """Read the credentials of a request.

    Raises :class:`~mcpserve.errors.InvalidRequest` for more than one method or two ids, and
    :class:`~mcpserve.errors.InvalidClient` for a malformed header, a malformed assertion or one of
    another client, and for no client at all.
    """
    client_id = parameters.one("client_id")
    secret = parameters.one("client_secret")
    assertion = parameters.one("client_assertion")
    assertion_type = parameters.one("client_assertion_type")
    if (authorization, secret, assertion or assertion_type).count(None) < 2:
        raise InvalidRequest("use one method of client authentication, not two")
    if authorization is not None:
        basic = parse_basic(authorization)
        if client_id is not None and client_id != basic.client_id:
            raise InvalidRequest("client_id differs from the Authorization header")
        return basic
    if assertion or assertion_type:
        return _read_assertion(assertion, assertion_type, client_id=client_id)
    if client_id is None:
        raise InvalidClient("client_id is missing")
    if secret is None:
        return Credentials(client_id, "none")
    return Credentials(client_id, "client_secret_post", secret=secret)


def _read_assertion(
    assertion: str | None, assertion_type: str | None, *, client_id: str | None
) -> Credentials:
    if assertion is None or assertion_type != assertions.TYPE:
        raise InvalidClient(detail="no assertion, or not of the one type that is understood")
    parsed = assertions.parse(assertion)
    if client_id is not None and client_id != parsed.client_id:
        raise InvalidClient(detail=f"client_id differs from the assertion of {parsed.client_id!r}")
    return Credentials(parsed.client_id, "private_key_jwt", assertion=parsed)


def parse_basic(authorization: str) -> Credentials:
    """Decode a Basic header; both parts are form-urlencoded inside it (RFC 6749 §2.3.1).

    Raises :class:`~mcpserve.errors.InvalidClient`.
    """
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient("only the Basic scheme is understood here")
    try:
        decoded = base64.b64decode(encoded.strip(" "), validate=True).decode()
        identity, colon, secret = decoded.partition(":")
        client_id, client_secret = _form_decoded(identity), _form_decoded(secret)
    except (binascii.Error, ValueError):
        raise InvalidClient("the Basic header is malformed") from None
    if not colon or not client_id:
        raise InvalidClient("the Basic header is malformed")
    return Credentials(client_id, "client_secret_basic", secret=client_secret)


def _form_decoded(text: str) -> str:
    if BAD_ESCAPE.search(text) or any(character < " " for character in text):
        raise ValueError(text)
    decoded = unquote_to_bytes(text.replace("+", " ")).decode()
    if "\0" in decoded:
        raise ValueError(text)
    return decoded


async def authenticate(
    db: Database,
    client: Client | None,
    credentials: Credentials,
    *,
    hasher: PasswordHasher,
    key_sets: Documents,
    methods: Collection[str],
    audiences: Collection[str],
    limit: Limit,
    network: str,
) -> Client:
    """Return the client, which was found by the id, if these credentials prove it.

    The method must be one of ``methods``, an assertion for one of ``audiences``. A secret is
    hashed and a key is fetched only while the client and network have failures left, so that
    guessing costs no work. Raises :class:`~mcpserve.errors.InvalidClient`,
    :class:`~mcpserve.errors.RateLimited`, :class:`~mcpserve.errors.Overloaded`, and
    :class:`~mcpserve.errors.DocumentError` if the client's keys cannot be had.
    """
    usable = client and credentials.method in methods and credentials.method in client.auth_methods
    registered = client if usable else None
    if credentials.method != "none":
        try:
            await limit.check(db, *_counted_by(InvalidClient.error, client, network))
        except RateLimited:
            if client is None:
                # That it is gone must be told however many ask, or it never registers again.
                raise InvalidClient from None
            raise
    if credentials.method in SECRET_METHODS:
        # Whoever it is: the time must not tell which clients there are, nor what they use.
        secret_hash = registered.secret_hash if registered else None
        if not await hasher.verify_secret(credentials.secret, secret_hash):
            raise InvalidClient
    if registered is None:
        raise InvalidClient
    if credentials.assertion is not None:
        await assertions.verify(
            db, key_sets, registered, credentials.assertion, audiences=audiences
        )
    return registered


async def count_failure(
    db: Queryable,
    error: OAuthError | DocumentError,
    client: Client | None,
    *,
    limit: Limit,
    network: str,
) -> None:
    """Count a refused request; raise :class:`~mcpserve.errors.RateLimited` if it is one too many.

    A client that holds a dead token of ours is told ``invalid_grant`` however often it asks:
    if it never heard that, it would never ask its person to log in again.
    """
    if isinstance(error, InvalidGrant) and not error.guessed:
        return
    code = error.error if isinstance(error, OAuthError) else InvalidClient.error
    try:
        await limit.fail(db, *_counted_by(code, client, network))
    except RateLimited:
        if not (client is None and isinstance(error, InvalidClient)):
            raise


def _counted_by(code: str, client: Client | None, network: str) -> tuple[str, str, str]:
    """Return the key of a failure.

    By kind, so that only wrong proofs can keep a client from giving a right one. All unknown
    clients are one, or each invented id would be worth a hash.
    """
    return code, client.client_id if client else "", network

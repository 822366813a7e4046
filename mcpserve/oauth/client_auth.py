"""Client authentication at /token and /revoke: none, client_secret_basic, client_secret_post.

Exactly one method per request (OAuth 2.1 §2.4). An unknown client and a wrong secret look the same.
"""

import base64
import binascii
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from mcpserve.crypto import PasswordHasher
from mcpserve.db import Queryable
from mcpserve.errors import InvalidClient, InvalidGrant, InvalidRequest, OAuthError
from mcpserve.oauth.forms import BAD_ESCAPE, Parameters
from mcpserve.oauth.store.clients import Client
from mcpserve.ratelimit import Limit

FAILED = "client authentication failed"


@dataclass(frozen=True)
class Credentials:
    """What a request says about the client; ``secret`` is ``None`` for the method ``none``."""

    client_id: str
    secret: str | None


def read_credentials(parameters: Parameters, authorization: str | None) -> Credentials:
    """Read the credentials of a request.

    Raises :class:`~mcpserve.errors.InvalidRequest` for more than one method or two ids, and
    :class:`~mcpserve.errors.InvalidClient` for a malformed header, no client at all, or an
    assertion (RFC 7523), which must not pass as the method ``none``.
    """
    client_id = parameters.one("client_id")
    secret = parameters.one("client_secret")
    assertion = parameters.one("client_assertion")
    if (authorization, secret, assertion).count(None) < 2:
        raise InvalidRequest("use one method of client authentication, not two")
    if assertion is not None:
        raise InvalidClient("assertions are not understood here")
    if authorization is None:
        if client_id is None:
            raise InvalidClient("client_id is missing")
        return Credentials(client_id, secret)
    basic = parse_basic(authorization)
    if client_id is not None and client_id != basic.client_id:
        raise InvalidRequest("client_id differs from the Authorization header")
    return basic


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
    return Credentials(client_id, client_secret)


def _form_decoded(text: str) -> str:
    if BAD_ESCAPE.search(text) or any(character < " " for character in text):
        raise ValueError(text)
    decoded = unquote_to_bytes(text.replace("+", " ")).decode()
    if "\0" in decoded:
        raise ValueError(text)
    return decoded


async def authenticate(
    db: Queryable,
    hasher: PasswordHasher,
    client: Client | None,
    credentials: Credentials,
    *,
    limit: Limit,
    network: str,
) -> Client:
    """Return the client, which was found by the id, if these credentials prove it.

    A secret is hashed only while the client and network have failures left, so that guessing
    does not cost CPU. Raises :class:`~mcpserve.errors.InvalidClient`,
    :class:`~mcpserve.errors.RateLimited` and :class:`~mcpserve.errors.Overloaded`.
    """
    if credentials.secret is None:
        if client is None or not client.public:
            raise InvalidClient(FAILED)
        return client
    await limit.check(db, *_counted_by(InvalidClient.error, client, network))
    secret_hash = client.secret_hash if client else None
    if not await hasher.verify_secret(credentials.secret, secret_hash) or client is None:
        raise InvalidClient(FAILED)
    return client


async def count_failure(
    db: Queryable, error: OAuthError, client: Client | None, *, limit: Limit, network: str
) -> None:
    """Count a refused request; raise :class:`~mcpserve.errors.RateLimited` if it is one too many.

    A client that holds a dead token of ours is told ``invalid_grant`` however often it asks:
    if it never heard that, it would never ask its person to log in again.
    """
    if isinstance(error, InvalidGrant) and not error.guessed:
        return
    await limit.fail(db, *_counted_by(error.error, client, network))


def _counted_by(code: str, client: Client | None, network: str) -> tuple[str, str, str]:
    """Return the key of a failure.

    By kind, so that only wrong secrets can keep a client from proving a right one. All unknown
    clients are one, or each invented id would be worth a hash.
    """
    return code, client.client_id if client else "", network

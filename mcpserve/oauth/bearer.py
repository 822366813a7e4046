"""Bearer tokens at the MCP endpoint (RFC 6750): token to principal, error to challenge.

Every request is decided by PostgreSQL after it arrived; nothing is cached.
"""

import re

from mcpserve.crypto import digest
from mcpserve.db import Queryable
from mcpserve.errors import InsufficientScope, InvalidRequest, InvalidToken
from mcpserve.oauth import scopes
from mcpserve.oauth.metadata import PROTECTED_RESOURCE_PATH
from mcpserve.oauth.store import bearer as store
from mcpserve.principal import Principal

TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""The ``b64token`` of RFC 6750 §2.1."""


async def authenticate(db: Queryable, authorization: list[str], *, resource: str) -> Principal:
    """Return who sends these ``Authorization`` headers.

    Raises :class:`~mcpserve.errors.InvalidToken`, and
    :class:`~mcpserve.errors.InvalidRequest` for two headers.
    """
    if not authorization:
        raise InvalidToken("a bearer token is needed", presented=False)
    if len(authorization) > 1:
        raise InvalidRequest("there is more than one Authorization header")
    scheme, token = _split(authorization[0])
    if scheme != "bearer":
        raise InvalidToken("a bearer token is needed", presented=False)
    principal = None
    if TOKEN.fullmatch(token):
        principal = await store.find_principal(db, digest(token), resource=resource)
    if principal is None:
        raise InvalidToken("the access token is unknown, expired or revoked")
    return principal


async def is_revoked(db: Queryable, authorization: str) -> bool:
    """Tell whether the token of a request that was let in has been revoked since.

    Expiry does not count: what began in time may end.
    """
    return await store.is_revoked(db, digest(_split(authorization)[1]))


def _split(authorization: str) -> tuple[str, str]:
    scheme, _, token = authorization.partition(" ")
    return scheme.lower(), token.strip(" ")


def challenge(
    issuer: str, error: InvalidToken | InsufficientScope, default_scopes: frozenset[str]
) -> str:
    """Return the ``WWW-Authenticate`` header of a 401 or 403 (RFC 6750 §3, RFC 9728 §5.1)."""
    metadata = {"resource_metadata": issuer + PROTECTED_RESOURCE_PATH}
    return plain_challenge(error, default_scopes, **metadata)


def plain_challenge(
    error: InvalidToken | InsufficientScope, default_scopes: frozenset[str], **parameters: str
) -> str:
    """Return the header of RFC 6750 §3 alone, for what is not the MCP endpoint."""
    needed = error.scopes if isinstance(error, InsufficientScope) else default_scopes
    parameters["scope"] = scopes.join(needed)
    if isinstance(error, InsufficientScope) or error.presented:
        parameters = {
            "error": error.error,
            "error_description": error.description,
        } | parameters
    return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parameters.items())

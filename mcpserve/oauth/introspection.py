"""Introspection (RFC 7662): resource servers of the operator ask what a token is worth now."""

from typing import Any

from mcpserve.crypto import digest
from mcpserve.db import Queryable
from mcpserve.oauth import scopes
from mcpserve.oauth.store import bearer as store
from mcpserve.oauth.store.bearer import LiveToken
from mcpserve.oauth.store.clients import Client

INACTIVE = {"active": False}
"""All that is told of a token that is dead, unknown, or none of the client's business."""


async def introspect(
    db: Queryable, client: Client, token: str, *, issuer: str, resource: str
) -> dict[str, Any]:
    """Return what an authenticated client may know of a token (RFC 7662 §2.2).

    What lives is judged as at ``resource`` itself.
    """
    found = await store.find_live(db, digest(token), resource=resource)
    if found is None or not may_see(client, found):
        return INACTIVE
    # Without a type: a refresh token gives nobody access to anything.
    kind = {} if found.is_refresh else {"token_type": "Bearer"}
    # The person agreed to what the client may do, not to be named to it.
    named = {"username": found.user_name} if client.may_introspect else {}
    return (
        kind
        | named
        | {
            "active": True,
            "scope": scopes.join(found.scopes),
            "client_id": found.client_id,
            "sub": found.user_id,
            "iat": found.issued_at,
            "exp": found.expires_at,
            "aud": resource,
            "iss": issuer,
        }
    )


def may_see(client: Client, token: LiveToken) -> bool:
    """Tell whether it is the client's own, or an access token and the operator lets it see those.

    A refresh token is shown to its own client alone.
    """
    own = token.client_id == client.client_id
    return own or (client.may_introspect and not token.is_refresh)

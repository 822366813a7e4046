"""Revocation: by clients (RFC 7009), by people and by operators.

A refresh token, rotated or not, ends its grant; an access token ends alone.
"""

from mcpserve import audit
from mcpserve.audit import Event
from mcpserve.crypto import digest
from mcpserve.db import Database
from mcpserve.errors import InvalidGrant, UsageError
from mcpserve.oauth.store import clients, tokens, users
from mcpserve.oauth.store import grants as store
from mcpserve.oauth.store.clients import Client


async def revoke(db: Database, client: Client, token: str) -> None:
    """Revoke a token of this client; one that is unknown or dead is no error (RFC 7009 §2.2).

    What kind of token it is is found out; a hint is not needed. Raises
    :class:`~mcpserve.errors.InvalidGrant` for the token of another client, which lives on.
    """
    hashed = digest(token)
    async with db.transaction() as tx:
        owner = await tokens.find_owner(tx, hashed)
        grant = await store.lock(tx, owner.grant_id) if owner else None
        if owner is None or grant is None:
            return
        if grant.client_id != client.client_id:
            raise InvalidGrant("the token was not issued to this client")
        if owner.is_refresh:
            ended = await store.end(tx, owner.grant_id, state="revoked")
            await audit.record(tx, Event.GRANT_REVOKED, grants=ended, reason="client")
        elif await tokens.revoke_access_token(tx, hashed):
            await audit.record(tx, Event.TOKEN_REVOKED, grants=[owner.grant_id])


async def disconnect(db: Database, grant_id: str, *, user_id: str) -> bool:
    """End one grant for its person. ``False`` if it is not theirs or not active."""
    async with db.transaction() as tx:
        grant = await store.lock(tx, grant_id)
        if grant is None or grant.user_id != user_id or grant.state != "active":
            return False
        await store.end(tx, grant_id, state="revoked")
        await audit.record(tx, Event.GRANT_REVOKED, grants=[grant_id], reason="person")
        return True


async def revoke_grant(db: Database, grant_id: str) -> None:
    """End one grant for an operator. Raises :class:`~mcpserve.errors.UsageError` for none."""
    async with db.transaction() as tx:
        if not await store.revoke(tx, grant_id):
            raise UsageError(f"there is no active grant {grant_id!r}, see: mcpserve grant list")
        await audit.record(tx, Event.GRANT_REVOKED, grants=[grant_id], reason="operator")


async def revoke_grants(
    db: Database, *, client_id: str | None = None, user_name: str | None = None
) -> int:
    """End all grants of a client, of a user, or of everybody; return how many.

    Raises :class:`~mcpserve.errors.UsageError` for a client or user that does not exist.
    """
    async with db.transaction() as tx:
        if client_id is not None and await clients.find(tx, client_id) is None:
            raise UsageError(f"there is no client {client_id!r}")
        user = await users.find(tx, user_name) if user_name is not None else None
        if user_name is not None and user is None:
            raise UsageError(f"there is no user {user_name!r}")
        ended = await store.end_all(tx, client_id=client_id, user_id=user.id if user else None)
        await audit.record(tx, Event.GRANT_REVOKED, grants=ended, reason="operator")
        return len(ended)

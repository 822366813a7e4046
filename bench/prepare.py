"""Fills the database of a mcpserve that is to be measured; runs with that mcpserve on its path.

    python prepare.py CONFIG

Writes to standard output, as JSON, access tokens that live for a day and refresh tokens. Each has
a grant of its own; among the grants of 10,000 access tokens, that nobody uses.
"""

import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path

from mcpserve import config, crypto, migrate
from mcpserve.crypto import PasswordHasher
from mcpserve.db import Transaction
from mcpserve.oauth import clients, metadata
from mcpserve.oauth.store import tokens, users
from mcpserve.settings import Settings

USER, PASSWORD = "alice", "correct horse battery"
USED = 100
CHAINS = 64
UNUSED = 9_900
SCOPES = frozenset({"mcp.tools.call"})
DAY = timedelta(days=1)

GRANT = """
INSERT INTO mcp_sessions (client_id, user_id, scopes, resource, auth_time, expires_at)
VALUES (%(client)s, %(user)s, %(scopes)s, %(resource)s, clock_timestamp(),
        clock_timestamp() + interval '30 days')
RETURNING id
"""
FILL = """
INSERT INTO oauth_access_tokens (digest, session_id, scopes, expires_at)
SELECT sha256(n::text::bytea), %(grant)s, %(scopes)s, clock_timestamp() + interval '1 day'
FROM generate_series(1, %(count)s) n
"""


async def prepare(settings: Settings) -> dict[str, list[str]]:
    """Make the schema, a client, a user and tokens."""
    dsn = settings.database.url.get_secret_value()
    hasher = PasswordHasher(settings.login.bcrypt_rounds)
    async with migrate.open_database(settings.database, dsn, migrates=True) as db:
        configured = settings.oauth.clients.configured
        await clients.seed(db, hasher, configured)
        user = await users.create(db, USER, await hasher.hash_password(PASSWORD))
        async with db.transaction() as tx:
            made = [
                await issue(
                    tx,
                    client=configured[0].id,
                    user=user,
                    resource=metadata.resource(settings.server.issuer),
                )
                for _ in range(USED + CHAINS)
            ]
            grant = made[0][0]
            await tx.execute(FILL, grant=grant, scopes=sorted(SCOPES), count=UNUSED)
        # As autovacuum would soon: without, the planner guesses.
        await db.execute("ANALYZE")
    hasher.close()
    return {
        "access": [access for _, access, _ in made[:USED]],
        "refresh": [refresh for _, _, refresh in made[USED:]],
    }


async def issue(
    tx: Transaction, *, client: str, user: str | None, resource: str
) -> tuple[str, str, str]:
    """Start a grant; return its id, an access and a refresh token."""
    scopes = sorted(SCOPES)
    row = await tx.one(GRANT, client=client, user=user, scopes=scopes, resource=resource)
    access = crypto.new_token(crypto.ACCESS_TOKEN)
    refresh = crypto.new_token(crypto.REFRESH_TOKEN)
    await tokens.issue(
        tx,
        row.id,
        access=crypto.digest(access),
        refresh=crypto.digest(refresh),
        parent_id=None,
        scopes=SCOPES,
        access_lifetime=DAY,
    )
    return row.id, access, refresh


if __name__ == "__main__":
    print(json.dumps(asyncio.run(prepare(config.load(Path(sys.argv[1])).settings))))

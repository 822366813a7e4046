"""Clients, people, codes and grants straight in a database, and what must hold for them.

Everything is numbered: token ``rt-3`` is of the grant of ``user-3`` to ``client-3``.
"""

from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import timedelta
from typing import Any

import bcrypt

from mcpserve import crypto
from mcpserve.crypto import PasswordHasher
from mcpserve.db import Database
from mcpserve.errors import OAuthError, PageError
from mcpserve.oauth.authorize import Server
from mcpserve.oauth.forms import Parameters, TokenForm
from mcpserve.oauth.grants import Issuance
from mcpserve.oauth.keys import KeyRing
from mcpserve.oauth.scopes import Scopes
from mcpserve.oauth.store import bearer
from mcpserve.oauth.store.clients import Client
from mcpserve.settings import LimitSettings, OAuthSettings

CALLBACK = "https://client.example/callback"
RESOURCE = "https://mcp.example/mcp"
SERVER = Server("https://mcp.example", RESOURCE, Scopes.of({}, ()))
VERIFIER = "v" * 43
OLD_PASSWORD = "the old password"
OLD_HASH = bcrypt.hashpw(OLD_PASSWORD.encode(), bcrypt.gensalt(4)).decode()
KEY = b"k" * 32
PATIENT = LimitSettings(failures=1000, window=timedelta(minutes=1))

POPULATE = """
INSERT INTO server_keys (key_id, secret) VALUES ('{key_id}', '{key}') ON CONFLICT DO NOTHING;
CREATE OR REPLACE FUNCTION pg_temp.d(kind text, number int) RETURNS bytea LANGUAGE sql IMMUTABLE
    AS $$ SELECT sha256(convert_to(kind || '-' || number, 'UTF8')) $$;
CREATE TEMP TABLE made ON COMMIT DROP AS
    SELECT i, 'client-' || i AS client_id, gen_random_uuid() AS user_id,
           gen_random_uuid() AS grant_id, gen_random_uuid() AS browser_id,
           clock_timestamp() AS auth_time, clock_timestamp() + interval '1 hour' AS expires_at
    FROM generate_series({first}, {last}) i;
INSERT INTO oauth_clients (client_id, client_name, redirect_uris, auth_methods, origin)
    SELECT client_id, client_id, ARRAY['{callback}'], ARRAY['none'], 'cli' FROM made;
INSERT INTO users (id, name, password_hash)
    SELECT user_id, 'user-' || i, '{password_hash}' FROM made;
INSERT INTO mcp_sessions (id, client_id, user_id, scopes, resource, auth_time, expires_at)
    SELECT grant_id, client_id, user_id, ARRAY['mcp.tools.call'], '{resource}', auth_time,
           expires_at
    FROM made;
INSERT INTO oauth_authorization_codes (digest, client_id, user_id, redirect_uri, scopes, resource,
        code_challenge, auth_time, expires_at, used_at, session_id)
    SELECT pg_temp.d('used', i), client_id, user_id, '{callback}', ARRAY['mcp.tools.call'],
           '{resource}', '{challenge}', auth_time, expires_at, auth_time - interval '1 minute',
           grant_id
    FROM made
    UNION ALL
    SELECT pg_temp.d('code', i), client_id, user_id, '{callback}', ARRAY['mcp.tools.call'],
           '{resource}', '{challenge}', auth_time, expires_at, NULL, NULL
    FROM made;
INSERT INTO oauth_refresh_tokens (digest, session_id, expires_at)
    SELECT pg_temp.d('rt', i), grant_id, expires_at FROM made;
INSERT INTO oauth_access_tokens (digest, session_id, scopes, expires_at)
    SELECT pg_temp.d('at', i), grant_id, ARRAY['mcp.tools.call'], expires_at FROM made;
INSERT INTO browser_sessions (id, digest, user_id, auth_time, expires_at)
    SELECT browser_id, pg_temp.d('cookie', i), user_id, auth_time, expires_at FROM made;
INSERT INTO authorization_requests (digest, browser_session_id, client_id, redirect_uri, scopes,
        resource, code_challenge, expires_at)
    SELECT pg_temp.d('request', i), browser_id, client_id, '{callback}', ARRAY['mcp.tools.call'],
           '{resource}', '{challenge}', expires_at
    FROM made;
"""

BROKEN = """
SELECT 'live access token of a ' || s.state || ' grant'
    FROM oauth_access_tokens t JOIN mcp_sessions s ON s.id = t.session_id
    WHERE s.state <> 'active' AND t.revoked_at IS NULL
UNION ALL
SELECT 'live refresh token of a ' || s.state || ' grant'
    FROM oauth_refresh_tokens t JOIN mcp_sessions s ON s.id = t.session_id
    WHERE s.state <> 'active' AND t.revoked_at IS NULL
UNION ALL
SELECT 'active grant of the disabled ' || c.client_id
    FROM mcp_sessions s JOIN oauth_clients c USING (client_id)
    WHERE s.state = 'active' AND c.disabled_at IS NOT NULL
UNION ALL
SELECT 'active grant of the disabled ' || u.name
    FROM mcp_sessions s JOIN users u ON u.id = s.user_id
    WHERE s.state = 'active' AND u.disabled_at IS NOT NULL
UNION ALL
SELECT 'browser session of the disabled ' || u.name
    FROM browser_sessions b JOIN users u ON u.id = b.user_id WHERE u.disabled_at IS NOT NULL
UNION ALL
SELECT 'salt of a token whose successor was used'
    FROM oauth_refresh_tokens t JOIN oauth_refresh_tokens child ON child.parent_id = t.id
    WHERE t.salt IS NOT NULL AND (child.rotated_at IS NOT NULL OR child.revoked_at IS NOT NULL)
UNION ALL
SELECT 'grant without a refresh token'
    FROM mcp_sessions s
    WHERE NOT EXISTS (SELECT FROM oauth_refresh_tokens t WHERE t.session_id = s.id)
UNION ALL
SELECT 'active grant without a live refresh token'
    FROM mcp_sessions s
    WHERE state = 'active' AND NOT EXISTS (
        SELECT FROM oauth_refresh_tokens t
        WHERE t.session_id = s.id AND t.rotated_at IS NULL AND t.revoked_at IS NULL)
"""


@contextmanager
def hashing() -> Iterator[PasswordHasher]:
    """Hash passwords, fast."""
    with closing(PasswordHasher(4)) as hasher:
        yield hasher


@asynccontextmanager
async def opened(dsn: str, *, pool_size: int = 10) -> AsyncIterator[Database]:
    """Connect with more patience than a server has: this machine may be busy."""
    async with Database.connect(
        dsn, pool_size=pool_size, acquire_timeout=20, statement_timeout=20, lock_timeout=20
    ) as db:
        yield db


async def populate(db: Database, numbers: range = range(1)) -> None:
    """Make people and clients with a grant each, and with what leads to another one."""
    statements = POPULATE.format(
        key_id=crypto.key_id(KEY),
        key=f"\\x{KEY.hex()}",
        first=numbers[0],
        last=numbers[-1],
        callback=CALLBACK,
        resource=RESOURCE,
        password_hash=OLD_HASH,
        challenge=crypto.pkce_s256(VERIFIER),
    )
    async with db.transaction() as tx:
        await tx.execute(statements)


async def broken(db: Database) -> list[str]:
    """Return what must never be, of the whole database."""
    return [row[0] for row in await db.rows(BROKEN)]


async def state(db: Database, number: int = 0, *, code: str = "used") -> str | None:
    """Return the state of the grant that came of a code."""
    row = await db.row(
        """SELECT s.state FROM mcp_sessions s
           JOIN oauth_authorization_codes c ON c.session_id = s.id
           WHERE c.digest = %(digest)s""",
        digest=crypto.digest(f"{code}-{number}"),
    )
    return row.state if row else None


async def works(db: Database, access_token: str) -> bool:
    """Whether /mcp would accept the token."""
    found = await bearer.find_principal(db, crypto.digest(access_token), resource=RESOURCE)
    return found is not None


async def outcome(call: Awaitable[Any]) -> Any:
    """Return the result, or the error if it is one that clients or people are told."""
    try:
        return await call
    except (OAuthError, PageError) as error:
        return error


def client(number: int = 0) -> Client:
    """Return a public client as :func:`populate` made it."""
    name = f"client-{number}"
    return Client(name, name, (CALLBACK,), ("none",), "cli")


def settings(*, window: float = 0) -> OAuthSettings:
    """Return settings with a refresh reuse window in seconds."""
    return OAuthSettings(refresh_reuse_window=timedelta(seconds=window))


def issuance(*, window: float = 0, keys: KeyRing | None = None) -> Issuance:
    """Return what tokens of this lab depend on; by default the keys are in the database."""
    return Issuance(settings(window=window), RESOURCE, KeyRing({}) if keys is None else keys)


def form(grant_type: str, **fields: str) -> TokenForm:
    """Return a token request."""
    values = {name: (value,) for name, value in fields.items()}
    return TokenForm.of(Parameters({"grant_type": (grant_type,), **values}))


def refresh_form(token: str) -> TokenForm:
    """Return the request that uses a refresh token."""
    return form("refresh_token", refresh_token=token)


def code_form(code: str) -> TokenForm:
    """Return the request that exchanges a code, in the hands of its owner."""
    return form("authorization_code", code=code, code_verifier=VERIFIER, redirect_uri=CALLBACK)

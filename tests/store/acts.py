"""What may happen to number N. All have the same shape, so that any two can be let race."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from store import lab

from mcpserve import crypto
from mcpserve.db import Database
from mcpserve.errors import UsageError
from mcpserve.oauth import clients, decision, grants, keys, revocation, users, withholding
from mcpserve.oauth.authorize import AuthorizationRequest
from mcpserve.oauth.forms import Parameters
from mcpserve.oauth.keys import KeyRing
from mcpserve.oauth.store import bearer, browsers, cleanup
from mcpserve.oauth.users import LoginLimits
from mcpserve.ratelimit import Limit
from mcpserve.settings import ClientSettings, LoginSettings, RegistrationSettings


async def refresh(db: Database, number: int = 0) -> Any:
    """Rotate the refresh token; its reuse compromises the grant."""
    return await grants.refresh_token(
        db,
        lab.issuance(),
        lab.client(number),
        lab.refresh_form(f"rt-{number}"),
    )


async def refresh_in_window(db: Database, number: int = 0, *, token: str = "") -> Any:
    """Rotate the refresh token, or a later one; its reuse gets the same answer."""
    return await grants.refresh_token(
        db,
        lab.issuance(window=60),
        lab.client(number),
        lab.refresh_form(token or f"rt-{number}"),
    )


async def close_windows(db: Database, number: int = 0) -> None:
    """Let every reuse window be over and cleaned up."""
    await db.execute(
        """UPDATE oauth_refresh_tokens SET reusable_until = clock_timestamp()
           WHERE reusable_until IS NOT NULL"""
    )
    await cleanup.purge(db)


async def add_key(db: Database, number: int = 0) -> Any:
    """Make a key, which is used from now on."""
    return await keys.add(db)


async def replace_key(db: Database, number: int = 0) -> Any:
    """Make a key and retire all before it, as far as nobody needs them."""
    await keys.add(db)
    return await retire_keys(db)


async def retire_keys(db: Database, number: int = 0, *, force: bool = False) -> Any:
    """Retire what is not used any more; ``None`` for what is still needed."""
    for key in (await keys.find_all(db, KeyRing({})))[1:]:
        if key.state != "retired":
            with suppress(UsageError):
                await keys.retire(db, KeyRing({}), key.key_id, force=force)


async def start(db: Database, number: int = 0) -> Any:
    """Do what a server does with its keys when it starts."""
    return await keys.prepare(db, KeyRing({}))


async def exchange(db: Database, number: int = 0) -> Any:
    """Exchange the unused code."""
    return await grants.authorization_code(
        db,
        lab.issuance(),
        lab.client(number),
        lab.code_form(f"code-{number}"),
    )


async def replay(db: Database, number: int = 0) -> Any:
    """Exchange the code of the grant once more."""
    return await grants.authorization_code(
        db,
        lab.issuance(),
        lab.client(number),
        lab.code_form(f"used-{number}"),
    )


async def revoke(db: Database, number: int = 0) -> Any:
    """Revoke the refresh token, and with it the grant."""
    return await revocation.revoke(db, lab.client(number), f"rt-{number}")


async def revoke_access(db: Database, number: int = 0) -> Any:
    """Revoke the access token only."""
    return await revocation.revoke(db, lab.client(number), f"at-{number}")


async def revoke_all_of_user(db: Database, number: int = 0) -> Any:
    """Revoke as an operator."""
    return await revocation.revoke_grants(db, user_name=f"user-{number}")


async def revoke_everything(db: Database, number: int = 0) -> Any:
    """Revoke all grants of everybody."""
    return await revocation.revoke_grants(db)


async def use(db: Database, number: int = 0) -> Any:
    """Use the access token at /mcp."""
    return await bearer.find_principal(db, crypto.digest(f"at-{number}"), resource=lab.RESOURCE)


async def disable_client(db: Database, number: int = 0) -> Any:
    """Disable the client."""
    return await clients.set_disabled(db, f"client-{number}", disabled=True)


async def enable_client(db: Database, number: int = 0) -> Any:
    """Enable the client again."""
    return await clients.set_disabled(db, f"client-{number}", disabled=False)


async def disable_user(db: Database, number: int = 0) -> Any:
    """Disable the person."""
    return await users.set_disabled(db, f"user-{number}", disabled=True)


async def enable_user(db: Database, number: int = 0) -> Any:
    """Enable the person again."""
    return await users.set_disabled(db, f"user-{number}", disabled=False)


async def change_password(db: Database, number: int = 0) -> Any:
    """Change the password, which ends the browser's session."""
    with lab.hashing() as hasher:
        return await users.change_password(
            db, hasher, LoginSettings(), name=f"user-{number}", password="the new password"
        )


async def log_in(db: Database, number: int = 0) -> Any:
    """Log in with the old password; the browser keeps its cookie, so that it can be found again."""
    digest = crypto.digest(f"cookie-{number}")
    session = await browsers.find_session(db, digest)
    if session is None:
        return None
    limit = Limit("login", lab.PATIENT)
    with lab.hashing() as hasher:
        cookie = await users.log_in(
            db,
            hasher,
            LoginSettings(),
            session,
            name=f"user-{number}",
            password=lab.OLD_PASSWORD,
            network="192.0.2.1",
            limits=LoginLimits(limit, limit, limit),
        )
    await db.execute(
        "UPDATE browser_sessions SET digest = %(digest)s WHERE id = %(id)s",
        digest=digest,
        id=session.id,
    )
    return cookie


async def log_out(db: Database, number: int = 0) -> Any:
    """Log out; the browser keeps its cookie, so that it can be found again."""
    digest = crypto.digest(f"cookie-{number}")
    session = await browsers.find_session(db, digest)
    return session and await browsers.log_out(db, session.id, digest=digest)


async def ask(db: Database, number: int = 0) -> Any:
    """Send the browser to /authorize."""
    session = await browsers.find_session(db, crypto.digest(f"cookie-{number}"))
    request = AuthorizationRequest(
        lab.client(number),
        lab.CALLBACK,
        Parameters({}),
        scopes=frozenset({"mcp.tools.call"}),
        resource=lab.RESOURCE,
        code_challenge=crypto.pkce_s256(lab.VERIFIER),
    )
    return session and await decision.keep(db, session, request)


async def approve(db: Database, number: int = 0) -> Any:
    """Approve the waiting request."""
    session = await browsers.find_session(db, crypto.digest(f"cookie-{number}"))
    if session is None:
        return None
    request_id = f"request-{number}"
    pending = await browsers.find_request(db, crypto.digest(request_id), session.id)
    return await decision.approve(
        db,
        lab.SERVER,
        session,
        request_id,
        decision.require_open(pending),
        withheld=frozenset(),
        code_lifetime=timedelta(minutes=1),
    )


async def seed(db: Database, number: int = 0) -> Any:
    """Write the client, which has another name and a secret in the configuration."""
    configured = ClientSettings(
        id=f"client-{number}", name="new", redirect_uris=(lab.CALLBACK,), secret="secret"
    )
    with lab.hashing() as hasher:
        return await clients.seed(db, hasher, [configured])


async def purge(db: Database, number: int = 0) -> Any:
    """Clean up."""
    return await cleanup.purge(db)


async def delete_clients(db: Database, number: int = 0) -> Any:
    """Delete the clients that nobody uses."""
    async with db.transaction() as tx:
        return await cleanup.delete_clients(tx, RegistrationSettings())


async def leave_client(db: Database, number: int = 0) -> None:
    """Let the client be one that registered itself long ago, and of which nothing is left."""
    for table in ("oauth_authorization_codes", "mcp_sessions", "authorization_requests"):
        await db.execute(f"DELETE FROM {table} WHERE client_id = %(id)s", id=f"client-{number}")
    await db.execute(
        """UPDATE oauth_clients
           SET origin = 'registration', created_at = clock_timestamp() - interval '25 hours'
           WHERE client_id = %(id)s""",
        id=f"client-{number}",
    )


async def make_old(db: Database, number: int = 0) -> None:
    """Let eight days pass since the grant expired: it is due to be deleted."""
    used = crypto.digest(f"used-{number}")
    await db.execute(
        """WITH old AS (
               UPDATE mcp_sessions SET expires_at = clock_timestamp() - interval '8 days'
               WHERE id = (SELECT session_id FROM oauth_authorization_codes WHERE digest = %(d)s)
               RETURNING id, expires_at),
           access AS (
               UPDATE oauth_access_tokens t SET expires_at = old.expires_at
               FROM old WHERE t.session_id = old.id)
           UPDATE oauth_refresh_tokens t SET expires_at = old.expires_at
           FROM old WHERE t.session_id = old.id""",
        d=used,
    )


async def narrow(db: Database, number: int = 0) -> Any:
    """Save what the person saw, without one tool."""
    return await save(db, number, withheld=frozenset({"a"}))


async def narrow_otherwise(db: Database, number: int = 0) -> Any:
    """Save what the person saw, without another tool."""
    return await save(db, number, withheld=frozenset({"b"}))


async def save(db: Database, number: int = 0, *, withheld: frozenset[str]) -> Any:
    """Look at the grant, and save it with other tools."""
    row = await db.row(
        """SELECT s.* FROM mcp_sessions s JOIN oauth_authorization_codes c ON c.session_id = s.id
           WHERE c.digest = %(digest)s""",
        digest=crypto.digest(f"used-{number}"),
    )
    return row and await withholding.save(
        db,
        row.id,
        user_id=row.user_id,
        before=frozenset(row.withheld_tools),
        withheld=withheld,
    )


async def disconnect(db: Database, number: int = 0) -> Any:
    """End the grant for its person."""
    row = await db.row(
        "SELECT id, user_id FROM mcp_sessions WHERE client_id = %(id)s", id=f"client-{number}"
    )
    return row and await revocation.disconnect(db, row.id, user_id=row.user_id)

"""An authorization request that waits for its person: kept, then approved or denied, once."""

from dataclasses import replace
from datetime import timedelta

from mcpserve import audit, crypto
from mcpserve.audit import Event
from mcpserve.db import Database
from mcpserve.errors import AccessDenied, PageError
from mcpserve.oauth import redirect_uris
from mcpserve.oauth.authorize import AuthorizationRequest, Server, answer, error_answer
from mcpserve.oauth.scopes import Scopes
from mcpserve.oauth.store import browsers, codes
from mcpserve.oauth.store.browsers import BrowserSession, PendingRequest


async def keep(db: Database, session: BrowserSession, request: AuthorizationRequest) -> str:
    """Store a valid request until its person decides; return its id for this browser.

    Raises :class:`~mcpserve.errors.PageError` if the browser's session or the client is gone.
    """
    request_id = crypto.new_token()
    if not await browsers.create_request(
        db, crypto.digest(request_id), session.id, request=request.to_keep()
    ):
        raise PageError(
            400,
            "This request came too late",
            "Go back to the application and start the connection again.",
        )
    return request_id


def require_open(pending: PendingRequest | None) -> PendingRequest:
    """Return the request if it can still be decided. Raises :class:`~mcpserve.errors.PageError`."""
    again = "Go back to the application and start the connection again."
    if pending is None:
        raise PageError(400, "This request is not known in this browser", again)
    if pending.decided:
        raise PageError(400, "This request has been answered already", again)
    if pending.expired:
        raise PageError(400, "This request has expired", again)
    if _has_changed(pending):
        raise PageError(400, "The application has changed since it asked", again)
    return pending


def _has_changed(pending: PendingRequest) -> bool:
    registered = pending.registered
    return (
        registered is None
        or registered.document_digest != pending.client_document_digest
        or not redirect_uris.is_registered(pending.redirect_uri, registered.redirect_uris)
    )


def with_usual_scopes(pending: PendingRequest, scopes: Scopes) -> PendingRequest:
    """Return the request with what is granted if it is approved now.

    To one that named no access that is what its person granted this client last.
    """
    if pending.granted_last is None:
        return pending
    return replace(pending, scopes=scopes.as_last_time(pending.granted_last, pending.scopes))


async def approve(
    db: Database,
    server: Server,
    session: BrowserSession,
    request_id: str,
    pending: PendingRequest,
    *,
    code_lifetime: timedelta,
    withheld: frozenset[str],
    automatically: bool = False,
) -> str:
    """Mint a code for an open request and return the redirect that carries it.

    ``withheld`` names the tools that the person does not allow; ``automatically`` tells that the
    person was not asked. Everything is looked at again under locks. Of two approvals at once one
    gets a :class:`~mcpserve.errors.PageError`.
    """
    code = crypto.new_token(crypto.AUTHORIZATION_CODE)
    digest = crypto.digest(request_id)
    async with db.transaction() as tx:
        registered = await browsers.lock_enabled_client(tx, pending.client_id)
        user_id = await browsers.lock_enabled_user(tx, session.user_id)
        decided = await browsers.decide_request(tx, digest, session.id)
        require_open(replace(pending, decided=not decided, registered=registered))
        if user_id is None:
            raise _logged_out()
        new = codes.NewCode(
            client_id=pending.client_id,
            user_id=user_id,
            redirect_uri=pending.redirect_uri,
            scopes=pending.scopes,
            resource=pending.resource,
            code_challenge=pending.code_challenge,
            client_document_digest=pending.client_document_digest,
            withheld=withheld,
        )
        grant_id = await codes.create(
            tx, crypto.digest(code), session.id, code=new, lifetime=code_lifetime
        )
        if grant_id is None:
            raise _logged_out()
        await audit.record(
            tx,
            Event.CONSENT_GIVEN,
            grants=[grant_id],
            client_id=pending.client_id,
            user_id=user_id,
            client_name=pending.client_name,
            user_name=session.user_name,
            browser_session=session.id,
            scopes=sorted(new.scopes),
            withheld_tools=sorted(new.withheld),
            redirect_host=redirect_uris.host(pending.redirect_uri),
            automatically=automatically,
        )
    return answer(pending.redirect_uri, server.issuer, state=pending.state, code=code)


def _logged_out() -> PageError:
    return PageError(403, "You are not logged in", "Log in and start again.")


async def deny(
    db: Database, server: Server, session: BrowserSession, request_id: str, pending: PendingRequest
) -> str:
    """Close an open request and return the redirect that says so."""
    async with db.transaction() as tx:
        decided = await browsers.decide_request(tx, crypto.digest(request_id), session.id)
        require_open(replace(pending, decided=not decided))
        await audit.record(
            tx,
            Event.CONSENT_DENIED,
            client_id=pending.client_id,
            user_id=session.user_id,
            client_name=pending.client_name,
            user_name=session.user_name,
            browser_session=session.id,
            scopes=sorted(pending.scopes),
            redirect_host=redirect_uris.host(pending.redirect_uri),
        )
    return error_answer(
        pending.redirect_uri,
        server.issuer,
        state=pending.state,
        error=AccessDenied("the person declined"),
    )

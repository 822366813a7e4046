"""``/connections``: what a person allows clients, to be narrowed, widened and ended."""

from dataclasses import dataclass
from datetime import UTC, datetime

from mcpserve import crypto
from mcpserve.errors import InvalidRequest, PageError
from mcpserve.oauth import redirect_uris, revocation, withholding
from mcpserve.oauth.forms import Parameters
from mcpserve.oauth.store import clients, grants
from mcpserve.oauth.store.clients import Client
from mcpserve.oauth.store.grants import Grant
from mcpserve.text import clean
from mcpserve.web import consent
from mcpserve.web.consent import ShownScope
from mcpserve.web.pages import MANY_FIELDS, PageHandler

CONNECTIONS_PATH = "/connections"
LOGIN_PATH = f"{CONNECTIONS_PATH}/login"
LOGOUT_PATH = f"{CONNECTIONS_PATH}/logout"

AGAIN = f"Open {CONNECTIONS_PATH} again."
NOTICES = {
    "saved": "Saved. It holds from the next call on.",
    "disconnected": "Disconnected. That application has to ask you again.",
    "changed": "Nothing was saved: what this page shows has changed meanwhile. Look again.",
}
"""What the page says after a form was sent, by a word of its address."""


@dataclass(frozen=True)
class Connection:
    """A grant as its person sees it."""

    grant_id: str
    client_name: str
    client_id: str
    publisher: str
    """Who publishes the description of the client; empty if nobody does."""
    verified: bool
    since: str
    last_used: str
    scopes: tuple[ShownScope, ...]
    csrf: str
    shown: str


class ConnectionsHandler(PageHandler):
    """The list, and what is done about one of its lines."""

    field_limit = MANY_FIELDS

    async def get(self) -> None:
        """Show what the person who is logged in allows clients."""
        notice = NOTICES.get(self.query().one("done") or "", "")
        session = await self.ensured_session()
        if session.user_id is None:
            self.go(LOGIN_PATH)
            return
        found = await grants.find_active(self.services.db, session.user_id)
        known = await clients.find_some(self.services.db, {grant.client_id for grant in found})
        self.page(
            "connections.html",
            connections=[
                self._connection(grant, known[grant.client_id], session.user_id)
                for grant in found
                if grant.client_id in known
            ],
            user_name=session.user_name,
            notice=notice,
            csrf=crypto.form_token(self.cookie, "logout", session.user_id),
        )

    async def post(self) -> None:
        """Save which tools are allowed, or end the grant."""
        parameters = self.form()
        grant_id = parameters.required("grant")
        session = await self.required_session(AGAIN)
        user_id = session.user_id or ""
        self.check_form(parameters, "connection", grant_id, user_id)
        grant = await self._own(grant_id, user_id)
        match parameters.one("action"):
            case "save":
                done = await self._save(grant, parameters, user_id=user_id) and "saved"
            case "disconnect":
                ended = await revocation.disconnect(self.services.db, grant_id, user_id=user_id)
                done = ended and "disconnected"
            case _:
                raise InvalidRequest("it does not say what to do")
        self.go(f"{CONNECTIONS_PATH}?done={done or 'changed'}")

    async def _save(self, grant: Grant, parameters: Parameters, *, user_id: str) -> bool:
        """Withhold what is not ticked. ``False`` if the form does not show how things are now."""
        lines = self._scopes(grant)
        if not crypto.same(parameters.one("shown") or "", self._shown_token(grant, lines)):
            return False
        return await withholding.save(
            self.services.db,
            grant.id,
            user_id=user_id,
            before=grant.withheld,
            withheld=consent.decided(lines, parameters.all("tool"), grant.withheld),
        )

    async def _own(self, grant_id: str, user_id: str) -> Grant:
        """Return an active grant of this person. Raises ``PageError`` for every other one."""
        for grant in await grants.find_active(self.services.db, user_id) if user_id else ():
            if grant.id == grant_id:
                return grant
        raise PageError(404, "There is no such connection", f"It may have ended. {AGAIN}")

    def _connection(self, grant: Grant, client: Client, user_id: str) -> Connection:
        lines = self._scopes(grant)
        described = redirect_uris.host(client.client_id) if client.document_digest else ""
        return Connection(
            grant.id,
            clean(client.name),
            client.client_id,
            described,
            verified=client.vouched_for(self.services.server.presets),
            since=moment(grant.created_at),
            last_used=moment(grant.last_used_at),
            scopes=lines,
            csrf=crypto.form_token(self.cookie, "connection", grant.id, user_id),
            shown=self._shown_token(grant, lines),
        )

    def _scopes(self, grant: Grant) -> tuple[ShownScope, ...]:
        services = self.services
        tools = services.plugins.registry.tools
        return consent.shown(frozenset(grant.scopes), services.server.scopes, tools, grant.withheld)

    def _shown_token(self, grant: Grant, lines: tuple[ShownScope, ...]) -> str:
        """Return what tells that exactly this was shown of the grant."""
        return crypto.form_token(self.cookie, "shown", grant.id, repr(lines))


class ConnectionsLoginHandler(PageHandler):
    """``/connections/login``: name and password, for nothing but the list."""

    async def get(self) -> None:
        """Show the form."""
        session = await self.required_session(AGAIN)
        if session.user_id is not None:
            self.go(CONNECTIONS_PATH)
            return
        self._form()

    async def post(self) -> None:
        """Log in, and go on to the list."""
        parameters = self.form()
        session = await self.required_session(AGAIN)
        if session.user_id is not None:
            # The person logged in in another tab, which made the form in this one stale.
            self.go(CONNECTIONS_PATH)
            return
        self.check_form(parameters, "login", CONNECTIONS_PATH)
        if await self.log_in(session, parameters):
            self.go(CONNECTIONS_PATH)
            return
        self._form(status=401, name=parameters.one("username") or "", problem=True)

    def _form(self, *, status: int = 200, name: str = "", problem: bool = False) -> None:
        self.login_page(
            LOGIN_PATH,
            crypto.form_token(self.cookie, "login", CONNECTIONS_PATH),
            status=status,
            name=name,
            problem=problem,
        )


class ConnectionsLogoutHandler(PageHandler):
    """``POST /connections/logout``."""

    async def post(self) -> None:
        """Forget who is logged in; grants stay."""
        parameters = self.form()
        session = await self.required_session(AGAIN)
        self.check_form(parameters, "logout", session.user_id or "")
        await self.log_out(session)
        self.go(LOGIN_PATH)


def moment(time: datetime) -> str:
    """Return a time as a page shows it: without scripts it cannot know the reader's zone."""
    there = time.astimezone(UTC)
    return f"{there.day} {there:%B %Y, %H:%M} UTC"

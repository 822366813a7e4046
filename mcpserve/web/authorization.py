"""The pages of an authorization: the request, login, consent, the decision. Forms, no scripts."""

from mcpserve import crypto
from mcpserve.errors import InvalidRequest, PageError
from mcpserve.oauth import authorize, decision, redirect_uris
from mcpserve.oauth.authorize import Refused
from mcpserve.oauth.forms import Parameters
from mcpserve.oauth.store import browsers, clients
from mcpserve.oauth.store.browsers import BrowserSession, PendingRequest
from mcpserve.text import clean
from mcpserve.web import consent
from mcpserve.web.connections import CONNECTIONS_PATH
from mcpserve.web.consent import ShownScope
from mcpserve.web.pages import AGAIN, MANY_FIELDS, PageHandler


class AuthorizeHandler(PageHandler):
    """``GET /authorize`` (OAuth 2.1 §4.1.1)."""

    async def get(self) -> None:
        """Keep a valid request and ask the person."""
        services = self.services
        try:
            parameters = self.query()
            request = await authorize.validate(
                services.server,
                parameters,
                lambda client_id: services.metadata_documents.resolve(
                    services.db, client_id, network=self.network
                ),
            )
            session = await self.session()
            authorize.refuse_silent(request, services.server, session)
        except Refused as refused:
            self._refuse(refused)
            return
        except InvalidRequest as error:
            await self._count_failure()
            raise PageError(
                400,
                "This link is broken",
                "The application sent you here with a request that cannot be read: "
                f"{error.description}.",
            ) from error
        except PageError:
            await self._count_failure()
            raise
        session = session or await self.ensured_session()
        request_id = await decision.keep(services.db, session, request)
        self.go_to("/consent", request_id)

    def _refuse(self, refused: Refused) -> None:
        if refused.at_once:
            self.go(refused.location)
            return
        self.page(
            "refused.html",
            status=400,
            reason=refused.description,
            host=refused.host,
            location=refused.location,
        )

    async def _count_failure(self) -> None:
        await self.services.limits.authorize.fail(self.services.db, self.network)


class WaitingHandler(PageHandler):
    """A page about a waiting authorization request."""

    async def pending(self, session: BrowserSession, request_id: str) -> PendingRequest:
        """Return the request, if it is this browser's and open."""
        found = await browsers.find_request(self.services.db, crypto.digest(request_id), session.id)
        return decision.with_usual_scopes(decision.require_open(found), self.services.server.scopes)

    def scopes(self, pending: PendingRequest) -> tuple[ShownScope, ...]:
        """Return the question; of the tools the person is shown what they allowed last."""
        services = self.services
        return consent.shown(
            pending.scopes,
            services.server.scopes,
            services.plugins.registry.tools,
            pending.withheld_last,
        )

    def shown_token(
        self, session: BrowserSession, request_id: str, scopes: tuple[ShownScope, ...]
    ) -> str:
        """Return what tells that exactly these scopes and tools were shown to this person."""
        return crypto.form_token(
            self.cookie, "shown", request_id, session.user_id or "", repr(scopes)
        )

    def request_id_in(self, parameters: Parameters) -> str:
        """Return the id of the waiting request. Raises ``PageError``."""
        try:
            return parameters.required("request")
        except InvalidRequest as error:
            raise PageError(
                400,
                "This link is incomplete",
                AGAIN,
            ) from error


class LoginHandler(WaitingHandler):
    """``/login``: name and password."""

    async def get(self) -> None:
        """Show the form."""
        request_id = self.request_id_in(self.query())
        session = await self.required_session()
        pending = await self.pending(session, request_id)
        if not pending.login_needed:
            self.go_to("/consent", request_id)
            return
        self._form(request_id, pending)

    async def post(self) -> None:
        """Log in, and go on to the consent page."""
        parameters = self.form()
        request_id = self.request_id_in(parameters)
        session = await self.required_session()
        pending = await self.pending(session, request_id)
        if not pending.login_needed:
            # The person logged in in another tab, which made the form in this one stale.
            self.go_to("/consent", request_id)
            return
        self.check_form(parameters, "login", request_id)
        if await self.log_in(session, parameters):
            self.go_to("/consent", request_id)
            return
        name = parameters.one("username") or ""
        self._form(request_id, pending, status=401, name=name, problem=True)

    def _form(
        self,
        request_id: str,
        pending: PendingRequest,
        *,
        status: int = 200,
        name: str = "",
        problem: bool = False,
    ) -> None:
        self.login_page(
            "/login",
            crypto.form_token(self.cookie, "login", request_id),
            request_id=request_id,
            client_name=clean(pending.client_name),
            status=status,
            name=name,
            problem=problem,
        )


class ConsentHandler(WaitingHandler):
    """``GET /consent``: what is asked for, by whom, and where the answer goes."""

    async def get(self) -> None:
        """Show the question; with ``oauth.auto_approve`` answer it."""
        request_id = self.request_id_in(self.query())
        session = await self.required_session()
        pending = await self.pending(session, request_id)
        if pending.login_needed or session.user_id is None:
            self.go_to("/login", request_id)
            return
        services = self.services
        if services.settings.oauth.auto_approve:
            withheld = pending.withheld_last
            self.go(await approve(self, session, request_id, pending, withheld=withheld))
            return
        scopes = self.scopes(pending)
        client = await clients.find(services.db, pending.client_id)
        self.page(
            "consent.html",
            request_id=request_id,
            csrf=crypto.form_token(self.cookie, "consent", request_id, session.user_id),
            shown=self.shown_token(session, request_id, scopes),
            client_name=clean(pending.client_name),
            client_id=pending.client_id,
            publisher=redirect_uris.host(pending.client_id)
            if pending.client_document_digest
            else "",
            verified=client is not None and client.vouched_for(services.server.presets),
            redirect_host=redirect_uris.host(pending.redirect_uri),
            loopback=redirect_uris.is_loopback(pending.redirect_uri),
            private_scheme=not pending.redirect_uri.startswith(("https:", "http:")),
            scopes=scopes,
            connections=services.server.issuer + CONNECTIONS_PATH,
            user_name=session.user_name,
            resource=pending.resource,
        )


async def approve(
    handler: PageHandler,
    session: BrowserSession,
    request_id: str,
    pending: PendingRequest,
    *,
    withheld: frozenset[str],
) -> str:
    """Return the redirect that carries the code."""
    services = handler.services
    return await decision.approve(
        services.db,
        services.server,
        session,
        request_id,
        pending,
        code_lifetime=services.settings.oauth.authorization_code_lifetime,
        withheld=withheld,
        automatically=services.settings.oauth.auto_approve,
    )


class DecisionHandler(WaitingHandler):
    """``POST /authorize/decision``: the person's answer."""

    field_limit = MANY_FIELDS

    async def post(self) -> None:
        """Approve or deny; only the exact word approves."""
        parameters = self.form()
        request_id = self.request_id_in(parameters)
        session = await self.required_session()
        self.check_form(parameters, "consent", request_id, session.user_id or "")
        pending = await self.pending(session, request_id)
        if pending.login_needed:
            self.go_to("/login", request_id)
            return
        if parameters.one("decision") == "approve":
            scopes = self.scopes(pending)
            shown = self.shown_token(session, request_id, scopes)
            if not crypto.same(parameters.one("shown") or "", shown):
                # Meanwhile the person granted the client something else, or there are other tools.
                self.go_to("/consent", request_id)
                return
            withheld = consent.decided(scopes, parameters.all("tool"), pending.withheld_last)
            self.go(await approve(self, session, request_id, pending, withheld=withheld))
            return
        services = self.services
        self.go(await decision.deny(services.db, services.server, session, request_id, pending))


class LogoutHandler(WaitingHandler):
    """``POST /logout``: use another account for a waiting request."""

    async def post(self) -> None:
        """Forget who is logged in; grants stay."""
        parameters = self.form()
        request_id = self.request_id_in(parameters)
        session = await self.required_session()
        self.check_form(parameters, "consent", request_id, session.user_id or "")
        await self.log_out(session)
        self.go_to("/login", request_id)

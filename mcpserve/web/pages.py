"""Pages for people: log in, consent, the first user. Plain HTML forms, no scripts."""

from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit

from mcpserve import crypto
from mcpserve.errors import InvalidRequest, PageError, UsageError
from mcpserve.oauth import authorize, redirect_uris, users
from mcpserve.oauth.authorize import Refused
from mcpserve.oauth.forms import Parameters
from mcpserve.oauth.store import browsers
from mcpserve.oauth.store import users as user_store
from mcpserve.oauth.store.browsers import BrowserSession, PendingRequest
from mcpserve.web.base import Authentication, BaseHandler, Problem

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"
STYLE = HERE / "static" / "style.css"

# No form-action: it would also stop the redirect that follows the form, to the client and beyond.
SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)

TITLES = {
    405: "This page cannot be used that way",
    413: "That was too much",
    414: "This link is too long",
    421: "This server has another name",
    429: "Too many attempts",
    500: "Something failed here",
    503: "The server is busy",
}


class PageHandler(BaseHandler):
    """A page, with the browser's session in a cookie."""

    authentication: ClassVar[Authentication] = "browser"

    def set_default_headers(self) -> None:
        """No page may be framed, scripted or cached."""
        super().set_default_headers()
        self.set_header("Content-Security-Policy", SECURITY_POLICY)
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")

    @property
    def cookie_name(self) -> str:
        """The cookie's name; over TLS one that no other host can set."""
        return "__Host-mcpserve" if self.services.settings.server.https else "mcpserve"

    @property
    def cookie(self) -> str:
        """The session cookie as the browser sent it; empty without one."""
        return self.get_cookie(self.cookie_name) or ""

    def set_session_cookie(self, value: str) -> None:
        """Give the browser its session."""
        self.set_cookie(
            self.cookie_name,
            value,
            path="/",
            httponly=True,
            samesite="Lax",
            secure=self.services.settings.server.https,
        )

    async def session(self) -> BrowserSession | None:
        """Return the session of this browser, if it has one that lasts."""
        if not self.cookie.isascii() or not self.cookie:
            return None
        return await browsers.find_session(self.services.db, crypto.digest(self.cookie))

    async def required_session(self) -> BrowserSession:
        """Return the session. Raises :class:`~mcpserve.errors.PageError` without one."""
        session = await self.session()
        if session is None:
            raise PageError(
                400,
                "This request is not known in this browser",
                "Cookies may be switched off, or the page was open too long. Go back to the "
                "application and start the connection again.",
            )
        return session

    def page(self, template: str, *, status: int = 200, **values: Any) -> None:
        """Show a page."""
        self.set_status(status)
        self.render(template, server_name=self.services.settings.mcp.name, **values)

    def go(self, location: str) -> None:
        """Redirect so that a form is not sent again (OAuth 2.1 §7.5.3)."""
        self.set_status(303)
        self.set_header("Location", location)
        self.finish()

    def go_to(self, path: str, request_id: str) -> None:
        """Redirect to a page of ours about a waiting request."""
        self.go(f"{path}?{urlencode({'request': request_id})}")

    def check_form(self, parameters: Parameters, *parts: str) -> None:
        """Refuse a form that another site or another browser sent.

        Raises :class:`~mcpserve.errors.PageError`.
        """
        site = self.request.headers.get("Sec-Fetch-Site")
        origin = self.request.headers.get("Origin", "null")
        foreign = (
            site not in ("same-origin", "none")
            if site
            # A page of ours that hides its referrer sends null.
            else origin != "null" and urlsplit(origin).netloc != self.request.host
        )
        token = parameters.one("csrf") or ""
        if foreign or not crypto.same(token, crypto.form_token(self.cookie, *parts)):
            raise PageError(
                403,
                "This form did not come from here",
                "It was sent from another site, another browser, or before you logged in. Go back "
                "and try again.",
            )

    def write_problem(self, problem: Problem) -> None:
        """Write an error as a page, or as JSON for a program that asks for that."""
        if prefers_json(self.request.headers.get("Accept", "")):
            super().write_problem(problem)
            return
        title = TITLES.get(problem.status, "This request cannot be carried out")
        message = problem.description
        self.page(
            "error.html",
            status=problem.status,
            title=title,
            message=message[:1].upper() + message[1:],
            error_id=self.request_id if problem.status == 500 else None,
        )

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Show a page's own title where it has one."""
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        if not isinstance(error, PageError) or prefers_json(self.request.headers.get("Accept", "")):
            super().write_error(status_code, **kwargs)
            return
        self.page(
            "error.html",
            status=error.status,
            title=error.title,
            message=error.message,
            error_id=None,
        )


def prefers_json(accept: str) -> bool:
    """Whether a client asks for JSON rather than for a page."""
    return "application/json" in accept and "text/html" not in accept


class AuthorizeHandler(PageHandler):
    """``GET /authorize`` (OAuth 2.1 §4.1.1)."""

    async def get(self) -> None:
        """Keep a valid request and ask the person."""
        services = self.services
        try:
            parameters = self.query()
            request = await authorize.validate(services.db, services.server, parameters)
            session = await self.session()
            authorize.refuse_silent(request, services.server, session)
        except Refused as refused:
            self.go(refused.location)
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
        if session is None:
            cookie = crypto.new_token()
            session = await browsers.create_session(services.db, crypto.digest(cookie))
            self.set_session_cookie(cookie)
        request_id = await authorize.keep(services.db, session, request)
        self.go_to("/consent", request_id)

    async def _count_failure(self) -> None:
        await self.services.limits.authorize.fail(self.services.db, self.network)


class WaitingHandler(PageHandler):
    """A page about a waiting authorization request."""

    async def pending(self, session: BrowserSession, request_id: str) -> PendingRequest:
        """Return the request, if it is this browser's and open."""
        return authorize.require_open(
            await browsers.find_request(self.services.db, crypto.digest(request_id), session.id)
        )

    def request_id_in(self, parameters: Parameters) -> str:
        """Return the id of the waiting request. Raises ``PageError``."""
        try:
            return parameters.required("request")
        except InvalidRequest as error:
            raise PageError(
                400,
                "This link is incomplete",
                "Go back to the application and start the connection again.",
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
        name = parameters.one("username") or ""
        services = self.services
        cookie = await users.log_in(
            services.db,
            services.hasher,
            services.settings.login,
            session,
            name=name,
            password=parameters.one("password") or "",
            network=self.network,
            limits=services.limits.login,
        )
        if cookie is None:
            self._form(
                request_id, pending, status=401, name=name, problem="Wrong name or password."
            )
            return
        self.set_session_cookie(cookie)
        self.go_to("/consent", request_id)

    def _form(
        self,
        request_id: str,
        pending: PendingRequest,
        *,
        status: int = 200,
        name: str = "",
        problem: str = "",
    ) -> None:
        self.page(
            "login.html",
            status=status,
            request_id=request_id,
            csrf=crypto.form_token(self.cookie, "login", request_id),
            client_name=clean(pending.client_name),
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
            self.go(await approve(self, session, request_id, pending))
            return
        texts = services.server.scopes.texts
        self.page(
            "consent.html",
            request_id=request_id,
            csrf=crypto.form_token(self.cookie, "consent", request_id, session.user_id),
            client_name=clean(pending.client_name),
            client_id=pending.client_id,
            redirect_host=redirect_uris.host(pending.redirect_uri),
            loopback=redirect_uris.is_loopback(pending.redirect_uri),
            scopes=[(scope, texts.get(scope, scope)) for scope in sorted(pending.scopes)],
            user_name=session.user_name,
            resource=pending.resource,
        )


async def approve(
    handler: PageHandler, session: BrowserSession, request_id: str, pending: PendingRequest
) -> str:
    """Return the redirect that carries the code."""
    services = handler.services
    return await authorize.approve(
        services.db,
        services.server,
        session,
        request_id,
        pending,
        code_lifetime=services.settings.oauth.authorization_code_lifetime,
    )


class DecisionHandler(WaitingHandler):
    """``POST /authorize/decision``: the person's answer."""

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
            self.go(await approve(self, session, request_id, pending))
            return
        services = self.services
        self.go(await authorize.deny(services.db, services.server, session, request_id, pending))


class LogoutHandler(WaitingHandler):
    """``POST /logout``: use another account for a waiting request."""

    async def post(self) -> None:
        """Forget who is logged in; grants stay."""
        parameters = self.form()
        request_id = self.request_id_in(parameters)
        session = await self.required_session()
        self.check_form(parameters, "consent", request_id, session.user_id or "")
        cookie = crypto.new_token()
        await browsers.log_out(self.services.db, session.id, digest=crypto.digest(cookie))
        self.set_session_cookie(cookie)
        self.go_to("/login", request_id)


class SetupHandler(PageHandler):
    """``/setup``: the one-time link that creates the first user."""

    async def get(self) -> None:
        """Show the form while the link is good."""
        link = self.query().one("token") or ""
        if not await user_store.setup_link_is_good(self.services.db, crypto.digest(link)):
            raise self._spent()
        self._form(link)

    async def post(self) -> None:
        """Create the user and say how to go on."""
        parameters = self.form()
        link = parameters.one("setup") or ""
        name = parameters.one("username") or ""
        password = parameters.one("password") or ""
        services = self.services
        try:
            if password != (parameters.one("password_again") or ""):
                raise UsageError("the two passwords differ")
            added = await users.add_first(
                services.db,
                services.hasher,
                services.settings.login,
                link=link,
                name=name,
                password=password,
            )
        except UsageError as error:
            self._form(link, status=400, name=name, problem=str(error))
            return
        if not added:
            raise self._spent()
        self.page("ready.html", name=name, mcp_url=services.server.resource)

    def _form(self, link: str, *, status: int = 200, name: str = "", problem: str = "") -> None:
        minimum = self.services.settings.login.password_min_length
        self.page(
            "setup.html",
            status=status,
            link=link,
            name=name,
            problem=problem[:1].upper() + problem[1:],
            minimum=minimum,
        )

    def _spent(self) -> PageError:
        return PageError(
            404,
            "This link does not work any more",
            "It works once, for 24 hours, and only while there is no user. Start the server again "
            "for a new link, or use: mcpserve user add NAME",
        )


class HomeHandler(PageHandler):
    """``GET /``: what this is, for a person who follows the address."""

    authentication = "none"

    async def get(self) -> None:
        """Show the MCP address."""
        self.page("home.html", mcp_url=self.services.server.resource)


class StyleHandler(BaseHandler):
    """The one style sheet."""

    authentication = "none"

    async def get(self) -> None:
        """Return it."""
        self.set_header("Content-Type", "text/css; charset=utf-8")
        self.set_header("Cache-Control", "public, max-age=3600")
        await self.finish(self.application.settings["style"])


def clean(text: str) -> str:
    """Return a name that cannot pretend: no invisible or direction-changing characters, short."""
    return "".join(character for character in text if character.isprintable())[:100] or "unnamed"

"""What all pages for people share: the browser's session, forms that only we can send, errors."""

from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

from mcpserve import crypto
from mcpserve.errors import PageError
from mcpserve.oauth import users
from mcpserve.oauth.forms import Parameters
from mcpserve.oauth.store import browsers
from mcpserve.oauth.store.browsers import BrowserSession
from mcpserve.web.base import Authentication, BaseHandler
from mcpserve.web.problems import Problem

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"
STYLE = HERE / "static" / "style.css"

# No form-action: it would also stop the redirect that follows the form, to the client and beyond.
SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)

MANY_FIELDS = 1000
"""Most fields of a form with a box for every tool."""
AGAIN = "Go back to the application and start the connection again."

TITLES = {
    405: "This page cannot be used that way",
    413: "That was too much",
    414: "This link is too long",
    421: "This server has another name",
    429: "Too many attempts",
    500: "Something failed here",
    503: "Not available right now",
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

    async def ensured_session(self) -> BrowserSession:
        """Return the session of this browser, which gets a new one if it has none that lasts."""
        session = await self.session()
        if session is None:
            cookie = crypto.new_token()
            session = await browsers.create_session(self.services.db, crypto.digest(cookie))
            self.set_session_cookie(cookie)
        return session

    async def required_session(self, again: str = AGAIN) -> BrowserSession:
        """Return the session.

        Raises :class:`~mcpserve.errors.PageError`, which says how to try ``again``, without one.
        """
        session = await self.session()
        if session is None:
            raise PageError(
                400,
                "This request is not known in this browser",
                f"Cookies may be switched off, or the page was open too long. {again}",
            )
        return session

    async def log_in(self, session: BrowserSession, parameters: Parameters) -> bool:
        """Log in with the name and password of a form. ``False`` if one of them is wrong.

        Raises as :func:`mcpserve.oauth.users.log_in` does.
        """
        services = self.services
        cookie = await users.log_in(
            services.db,
            services.hasher,
            services.settings.login,
            session,
            name=parameters.one("username") or "",
            password=parameters.one("password") or "",
            network=self.network,
            limits=services.limits.login,
        )
        if cookie is None:
            return False
        self.set_session_cookie(cookie)
        return True

    async def log_out(self, session: BrowserSession) -> None:
        """Forget who is logged in; the browser gets a new cookie."""
        cookie = crypto.new_token()
        await browsers.log_out(self.services.db, session.id, digest=crypto.digest(cookie))
        self.set_session_cookie(cookie)

    def login_page(
        self,
        action: str,
        csrf: str,
        *,
        request_id: str = "",
        client_name: str = "",
        status: int = 200,
        name: str = "",
        problem: bool = False,
    ) -> None:
        """Show the form that :meth:`log_in` reads, for a waiting request or for none."""
        self.page(
            "login.html",
            status=status,
            action=action,
            csrf=csrf,
            request_id=request_id,
            client_name=client_name,
            name=name,
            problem=problem,
        )

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
            else origin != "null" and origin.partition("://")[2] != self.request.host
        )
        token = parameters.one("csrf") or ""
        if foreign or not crypto.same(token, crypto.form_token(self.cookie, *parts)):
            raise PageError(
                403,
                "This form did not come from here",
                "It was sent from another site or another browser, or you logged in, logged out or "
                "changed the account since it was opened, perhaps in another tab. Open the page "
                "anew, from where you came, and try again.",
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

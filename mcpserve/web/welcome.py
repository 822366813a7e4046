"""Pages beside an authorization: the address, the first user, the style sheet."""

from mcpserve import crypto
from mcpserve.errors import PageError, UsageError
from mcpserve.oauth import users
from mcpserve.oauth.store import users as user_store
from mcpserve.web.base import BaseHandler
from mcpserve.web.pages import PageHandler


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
            "It works once, for 24 hours or until the next start, and only while there is no user. "
            "Start the server again for a new link, or use: mcpserve user add NAME",
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
        self.finish(self.application.settings["style"])

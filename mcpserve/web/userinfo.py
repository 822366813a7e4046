"""``/userinfo`` (OpenID Connect Core §5.3)."""

from dataclasses import replace
from typing import Any

from mcpserve.errors import InsufficientScope, InvalidToken
from mcpserve.oauth import bearer, userinfo
from mcpserve.web.base import BaseHandler


class UserInfoHandler(BaseHandler):
    """Tells a client who its person is. What a POST carries beside its headers is not read."""

    authentication = "bearer"

    def set_default_headers(self) -> None:
        """Let configured browser-based clients read answers and challenges."""
        super().set_default_headers()
        self.allow_origin(self.configured_origin())
        self.set_header("Access-Control-Expose-Headers", "WWW-Authenticate")

    def options(self) -> None:
        """Answer a preflight (CORS)."""
        self.set_status(204)
        if self.configured_origin():
            self.set_header("Access-Control-Allow-Methods", "GET, POST")
            self.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type")
            self.set_header("Access-Control-Max-Age", "600")
        self.finish()

    async def get(self) -> None:
        """Return the claims."""
        services = self.services
        # Every token here is for /mcp. It comes back to the server that issued it, nobody else.
        principal = await bearer.authenticate(
            services.db,
            self.request.headers.get_list("Authorization"),
            resource=services.server.resource,
        )
        self.client_id = principal.client_id
        scopes = services.server.scopes.effective(principal.scopes)
        self.write_json(await userinfo.answer(services.db, replace(principal, scopes=scopes)))

    async def post(self) -> None:
        """Answer as GET does."""
        await self.get()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Add the challenge that tells a client what it needs (RFC 6750 §3)."""
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        if isinstance(error, InvalidToken | InsufficientScope):
            challenge = bearer.plain_challenge(error, userinfo.NEEDED)
            self.set_header("WWW-Authenticate", challenge)
        super().write_error(status_code, **kwargs)

"""``POST /register`` (RFC 7591)."""

from mcpserve.oauth import registration
from mcpserve.web.oauth import ClientHandler

BODY_LIMIT = 16 * 1024


class RegisterHandler(ClientHandler):
    """A client makes itself known; it has nothing yet to authenticate with."""

    authentication = "none"

    @property
    def body_limit(self) -> int:
        """Far more than any client has to say."""
        return BODY_LIMIT

    async def post(self) -> None:
        """Register a client; its secret, if it has one, is told only here."""
        services = self.services
        asked = registration.parse(self.request.headers.get("Content-Type", ""), self.body)
        told = await services.registration.register(services.db, asked, network=self.network)
        self.client_id = told["client_id"]
        self.set_status(201)
        self.write_json(told)

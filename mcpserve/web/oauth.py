"""Endpoints for programs: /token, /revoke, /introspect and the well-known documents."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

from mcpserve.errors import DocumentError, InvalidRequest, OAuthError
from mcpserve.oauth import (
    client_auth,
    clients,
    grants,
    introspection,
    metadata,
    revocation,
)
from mcpserve.oauth.client_auth import Credentials
from mcpserve.oauth.forms import Parameters, TokenForm
from mcpserve.oauth.store.clients import Client
from mcpserve.ratelimit import Limit
from mcpserve.web.base import Authentication, BaseHandler

TOKEN_PARAMETERS = (
    "grant_type",
    "code",
    "code_verifier",
    "redirect_uri",
    "refresh_token",
    "scope",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "token",
    "token_type_hint",
)


class ClientHandler(BaseHandler):
    """An endpoint that clients post to, mostly forms, after authenticating."""

    authentication: ClassVar[Authentication] = "client"
    auth_methods: ClassVar[Collection[str]] = metadata.AUTH_METHODS
    """How they may authenticate."""

    def set_default_headers(self) -> None:
        """Let configured browser-based clients read answers, refusals too."""
        super().set_default_headers()
        self.allow_origin(self.configured_origin())

    def options(self) -> None:
        """Answer a preflight (CORS)."""
        self.set_status(204)
        if self.configured_origin():
            self.set_header("Access-Control-Allow-Methods", "POST")
            self.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type")
            self.set_header("Access-Control-Max-Age", "600")
        self.finish()

    def read(self) -> tuple[Parameters, Credentials]:
        """Return the form and the client's credentials. Raises an ``OAuthError``."""
        parameters = self.form()
        parameters.require_single(*TOKEN_PARAMETERS)
        headers = self.request.headers.get_list("Authorization")
        if len(headers) > 1:
            raise InvalidRequest("there is more than one Authorization header")
        return parameters, client_auth.read_credentials(parameters, next(iter(headers), None))

    async def serve(self, limit: Limit, act: Callable[[Client, Parameters], Any]) -> Any:
        """Authenticate and act; count what is refused."""
        services, network = self.services, self.network
        db, client = services.db, None
        try:
            parameters, credentials = self.read()
            client = await clients.resolve(db, credentials.client_id)
            proven = await client_auth.authenticate(
                db,
                client,
                credentials,
                hasher=services.hasher,
                key_sets=services.key_sets,
                methods=self.auth_methods,
                audiences=metadata.audiences(services.server.issuer, self.request.path),
                limit=limit,
                network=network,
            )
            self.client_id = proven.client_id
            return await act(proven, parameters)
        except (OAuthError, DocumentError) as error:
            await client_auth.count_failure(db, error, client, limit=limit, network=network)
            raise


class TokenHandler(ClientHandler):
    """``POST /token`` (OAuth 2.1 §3.2)."""

    async def post(self) -> None:
        """Exchange a code or a refresh token."""
        answer = await self.serve(self.services.limits.token, self._token)
        self.set_header("Pragma", "no-cache")
        self.write_json(answer)

    async def _token(self, client: Client, parameters: Parameters) -> dict[str, Any]:
        services = self.services
        form = TokenForm.of(parameters)
        return await grants.token(services.db, services.issuance, client, form)


class RevokeHandler(ClientHandler):
    """``POST /revoke`` (RFC 7009)."""

    async def post(self) -> None:
        """Revoke a token; the answer is empty."""
        await self.serve(self.services.limits.revoke, self._revoke)

    async def _revoke(self, client: Client, parameters: Parameters) -> None:
        await revocation.revoke(self.services.db, client, parameters.required("token"))


class IntrospectHandler(ClientHandler):
    """``POST /introspect`` (RFC 7662)."""

    auth_methods = metadata.PROVING_METHODS

    async def post(self) -> None:
        """Tell what a token is worth now."""
        self.write_json(await self.serve(self.services.limits.introspect, self._introspect))

    async def _introspect(self, client: Client, parameters: Parameters) -> dict[str, Any]:
        server = self.services.server
        return await introspection.introspect(
            self.services.db,
            client,
            parameters.required("token"),
            issuer=server.issuer,
            resource=server.resource,
        )


class DocumentHandler(BaseHandler):
    """A well-known document: the same bytes for everybody."""

    authentication = "none"

    def initialize(self, document: Mapping[str, Any] | str) -> None:  # type: ignore[override]
        """Take the document: JSON, or plain text."""
        super().initialize()
        self.document = document

    async def get(self) -> None:
        """Return it, to any page of any origin."""
        text = isinstance(self.document, str)
        body = str(self.document if text else json.dumps(self.document)).encode()
        self.allow_origin("*")
        self.set_header("Content-Type", "text/plain" if text else "application/json")
        self.set_header("Cache-Control", "public, max-age=300")
        self.set_header("Etag", f'"{hashlib.sha256(body).hexdigest()[:32]}"')
        if self.check_etag_header():
            self.set_status(304)
            return
        self.finish(body)

    async def head(self) -> None:
        """Answer as GET does; Tornado leaves the body out."""
        await self.get()

    def options(self) -> None:
        """Answer a preflight (CORS)."""
        self.allow_origin("*")
        self.set_header("Access-Control-Allow-Methods", "GET, HEAD")
        self.set_header("Access-Control-Allow-Headers", "MCP-Protocol-Version")
        self.set_status(204)
        self.finish()


class NotFoundHandler(BaseHandler):
    """Everything else: a plain JSON 404, which discovery of every client understands."""

    authentication = "none"
    any_host = True

    def get(self) -> None:
        """Refuse, once the body is read: Tornado would hang up if that came later."""
        self.set_status(404)
        self.write_json({"error": "not_found", "error_description": "there is nothing here"})

    head = post = put = patch = delete = options = get

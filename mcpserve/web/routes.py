"""The table of URLs, all of it."""

from collections.abc import Mapping
from typing import Any

import tornado.web
from tornado.routing import URLSpec

from mcpserve import log
from mcpserve.oauth import metadata
from mcpserve.oauth.metadata import MCP_PATH
from mcpserve.tools import CALL_SCOPE
from mcpserve.web import (
    authorization,
    connections,
    oauth,
    ops,
    pages,
    registration,
    userinfo,
    welcome,
)
from mcpserve.web.services import Services

WELL_KNOWN = "/.well-known"


def routes(services: Services) -> list[URLSpec]:
    """Return every URL with its handler."""
    return [
        URLSpec("/", welcome.HomeHandler),
        URLSpec("/authorize", authorization.AuthorizeHandler),
        URLSpec("/authorize/decision", authorization.DecisionHandler),
        URLSpec("/login", authorization.LoginHandler),
        URLSpec("/logout", authorization.LogoutHandler),
        URLSpec("/consent", authorization.ConsentHandler),
        URLSpec(connections.CONNECTIONS_PATH, connections.ConnectionsHandler),
        URLSpec(connections.LOGIN_PATH, connections.ConnectionsLoginHandler),
        URLSpec(connections.LOGOUT_PATH, connections.ConnectionsLogoutHandler),
        URLSpec("/setup", welcome.SetupHandler),
        URLSpec("/static/style.css", welcome.StyleHandler),
        URLSpec("/token", oauth.TokenHandler),
        URLSpec("/revoke", oauth.RevokeHandler),
        URLSpec("/introspect", oauth.IntrospectHandler),
        URLSpec(metadata.USERINFO_PATH, userinfo.UserInfoHandler),
        *registration_routes(services),
        URLSpec("/healthz", ops.HealthHandler),
        URLSpec("/readyz", ops.ReadyHandler),
        *(
            URLSpec(path, oauth.DocumentHandler, {"document": document})
            for path, document in documents(services).items()
        ),
    ]


def registration_routes(services: Services) -> list[URLSpec]:
    """Return where clients register, unless the operator does not want them to."""
    enabled = services.settings.oauth.clients.registration.enabled
    return [URLSpec("/register", registration.RegisterHandler)] if enabled else []


def documents(services: Services) -> Mapping[str, Mapping[str, Any] | str]:
    """Return the well-known documents by path; some clients ask under the path of /mcp."""
    server = services.server
    clients = services.settings.oauth.clients
    challenge = services.settings.mcp.openai_apps_challenge
    texts = server.scopes.texts
    authorization_server = metadata.authorization_server(server.issuer, texts, clients=clients)
    openid = metadata.openid_configuration(server.issuer, texts, clients=clients)
    resource = metadata.protected_resource(server.issuer, services.settings.mcp.name, [CALL_SCOPE])
    return {
        f"{WELL_KNOWN}/oauth-authorization-server": authorization_server,
        f"{WELL_KNOWN}/oauth-authorization-server{MCP_PATH}": authorization_server,
        f"{WELL_KNOWN}/openid-configuration": openid,
        f"{WELL_KNOWN}/openid-configuration{MCP_PATH}": openid,
        f"{MCP_PATH}{WELL_KNOWN}/openid-configuration": openid,
        f"{WELL_KNOWN}/oauth-protected-resource": resource,
        metadata.PROTECTED_RESOURCE_PATH: resource,
        f"{WELL_KNOWN}/jwks.json": {"keys": []},
        **({f"{WELL_KNOWN}/openai-apps-challenge": challenge} if challenge else {}),
    }


def application(services: Services) -> tornado.web.Application:
    """Return the application.

    Raises :class:`TypeError` for a handler that does not declare its authentication.
    """
    table = routes(services)
    for spec in table:
        if not hasattr(spec.handler_class, "authentication"):
            raise TypeError(f"{spec.handler_class.__name__} does not declare its authentication")
    return tornado.web.Application(
        list(table),
        services=services,
        style=pages.STYLE.read_bytes(),
        template_path=str(pages.TEMPLATES),
        default_handler_class=oauth.NotFoundHandler,
        log_function=log.log_request,
        serve_traceback=False,
        compress_response=False,
    )

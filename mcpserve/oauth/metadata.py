"""The documents by which clients find everything: RFC 8414, OpenID Discovery, RFC 9728.

Pure functions of the settings: no header of a request can change a byte of them.
"""

from collections.abc import Iterable
from typing import Any

from mcpserve.oauth import jwks
from mcpserve.settings import ClientsSettings

AUTH_METHODS = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]
"""How clients may authenticate at /token and /revoke; each of them really works."""

PROVING_METHODS = [method for method in AUTH_METHODS if method != "none"]
"""And at /introspect, where naming oneself is not enough."""

GRANT_TYPES = ["authorization_code", "refresh_token"]
RESPONSE_TYPES = ["code"]

SIGNING_ALGORITHMS = list(jwks.ALGORITHMS)
"""With what an assertion may be signed."""

CLAIMS = ["sub", "name", "preferred_username", "email", "email_verified"]
"""What UserInfo may tell of a person."""

USERINFO_PATH = "/userinfo"
MCP_PATH = "/mcp"
PROTECTED_RESOURCE_PATH = f"/.well-known/oauth-protected-resource{MCP_PATH}"


def resource(issuer: str) -> str:
    """Return the canonical URI of the MCP endpoint: the audience of every token."""
    return issuer + MCP_PATH


def audiences(issuer: str, path: str) -> frozenset[str]:
    """Return whom a client may make an assertion for that it posts to ``path`` (RFC 7523 §3)."""
    return frozenset({issuer, f"{issuer}/token", issuer + path})


def authorization_server(
    issuer: str, scopes: Iterable[str], *, clients: ClientsSettings
) -> dict[str, Any]:
    """Return the authorization server metadata (RFC 8414 §2), with the ways in for ``clients``."""
    ways_in: dict[str, Any] = {}
    if clients.metadata_documents.enabled:
        ways_in["client_id_metadata_document_supported"] = True
    if clients.registration.enabled:
        ways_in["registration_endpoint"] = f"{issuer}/register"
    return ways_in | {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "revocation_endpoint": f"{issuer}/revoke",
        "response_types_supported": RESPONSE_TYPES,
        "response_modes_supported": ["query"],
        "grant_types_supported": GRANT_TYPES,
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": AUTH_METHODS,
        "token_endpoint_auth_signing_alg_values_supported": SIGNING_ALGORITHMS,
        "revocation_endpoint_auth_methods_supported": AUTH_METHODS,
        "revocation_endpoint_auth_signing_alg_values_supported": SIGNING_ALGORITHMS,
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": PROVING_METHODS,
        "introspection_endpoint_auth_signing_alg_values_supported": SIGNING_ALGORITHMS,
        "scopes_supported": sorted(scopes),
        "authorization_response_iss_parameter_supported": True,
        "userinfo_endpoint": issuer + USERINFO_PATH,
        "claims_supported": CLAIMS,
    }


def openid_configuration(
    issuer: str, scopes: Iterable[str], *, clients: ClientsSettings
) -> dict[str, Any]:
    """Return the same with the members that OpenID Connect Discovery §3 requires.

    No ID token is ever signed, whatever the scope: the key set is empty.
    """
    return authorization_server(issuer, scopes, clients=clients) | {
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        # Left out it would be true.
        "request_uri_parameter_supported": False,
    }


def protected_resource(issuer: str, name: str, scopes: Iterable[str]) -> dict[str, Any]:
    """Return the protected resource metadata (RFC 9728 §2), with the least scopes to begin with."""
    return {
        "resource": resource(issuer),
        "authorization_servers": [issuer],
        "scopes_supported": sorted(scopes),
        "bearer_methods_supported": ["header"],
        "resource_name": name,
    }

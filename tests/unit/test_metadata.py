"""The well-known documents as pure functions of the settings."""

import json

import pytest
from mcp.shared.auth import OAuthMetadata, ProtectedResourceMetadata

from mcpserve.oauth import metadata
from mcpserve.oauth.scopes import Scopes
from mcpserve.tools import CALL_SCOPE

ISSUER = "https://mcp.example.org"
SCOPES = Scopes.of({}, []).texts

METHODS = ["none", "client_secret_basic", "client_secret_post"]
AUTHORIZATION_SERVER = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "response_types_supported": ["code"],
    "response_modes_supported": ["query"],
    "grant_types_supported": ["authorization_code", "refresh_token"],
    "code_challenge_methods_supported": ["S256"],
    "token_endpoint_auth_methods_supported": METHODS,
    "revocation_endpoint_auth_methods_supported": METHODS,
    "scopes_supported": [CALL_SCOPE, "offline_access"],
    "authorization_response_iss_parameter_supported": True,
}


def test_the_authorization_server_says_what_it_has_and_nothing_else():  # MD-01, MD-03, MD-05
    assert metadata.authorization_server(ISSUER, SCOPES) == AUTHORIZATION_SERVER


def test_openid_configuration_adds_what_discovery_requires():  # MD-05, MD-06
    assert metadata.openid_configuration(ISSUER, SCOPES) == AUTHORIZATION_SERVER | {
        "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


def test_the_protected_resource_asks_for_the_least():  # MD-08, RF-12
    document = metadata.protected_resource(ISSUER, "Name", [CALL_SCOPE])
    assert document == {
        "resource": f"{ISSUER}/mcp",
        "authorization_servers": [ISSUER],
        "scopes_supported": [CALL_SCOPE],
        "bearer_methods_supported": ["header"],
        "resource_name": "Name",
    }


@pytest.mark.parametrize("build", [metadata.authorization_server, metadata.openid_configuration])
def test_the_sdk_reads_the_authorization_server(build):  # MD-11
    parsed = OAuthMetadata.model_validate_json(json.dumps(build(ISSUER, SCOPES)))
    assert str(parsed.token_endpoint) == f"{ISSUER}/token"
    assert parsed.code_challenge_methods_supported == ["S256"]
    assert parsed.token_endpoint_auth_methods_supported == METHODS


def test_the_sdk_reads_the_protected_resource():  # MD-11
    document = metadata.protected_resource(ISSUER, "Name", [CALL_SCOPE])
    parsed = ProtectedResourceMetadata.model_validate_json(json.dumps(document))
    assert str(parsed.resource) == f"{ISSUER}/mcp"
    assert parsed.scopes_supported == [CALL_SCOPE]

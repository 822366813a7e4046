"""The well-known documents as pure functions of the settings."""

import json

import pytest
from mcp.shared.auth import OAuthMetadata, ProtectedResourceMetadata

from mcpserve.oauth import metadata
from mcpserve.oauth.scopes import Scopes
from mcpserve.settings import ClientsSettings
from mcpserve.tools import CALL_SCOPE

ISSUER = "https://mcp.example.org"
SCOPES = Scopes.of({}, []).texts

METHODS = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]
ALGORITHMS = ["RS256", "ES256", "EdDSA", "Ed25519"]
AUTHORIZATION_SERVER = {
    "registration_endpoint": f"{ISSUER}/register",
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "response_types_supported": ["code"],
    "response_modes_supported": ["query"],
    "grant_types_supported": ["authorization_code", "refresh_token"],
    "code_challenge_methods_supported": ["S256"],
    "token_endpoint_auth_methods_supported": METHODS,
    "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
    "revocation_endpoint_auth_methods_supported": METHODS,
    "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
    "introspection_endpoint": f"{ISSUER}/introspect",
    "introspection_endpoint_auth_methods_supported": METHODS[1:],
    "introspection_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
    "scopes_supported": ["email", CALL_SCOPE, "offline_access", "openid", "profile"],
    "userinfo_endpoint": f"{ISSUER}/userinfo",
    "claims_supported": ["sub", "name", "preferred_username", "email", "email_verified"],
    "authorization_response_iss_parameter_supported": True,
    "client_id_metadata_document_supported": True,
}


def settings(**sections):
    return ClientsSettings.model_validate(sections)


@pytest.mark.proves("MD-03")
def test_documents_of_clients_are_offered_only_where_they_are_read():
    clients = settings(metadata_documents={"enabled": False})
    for build in (metadata.authorization_server, metadata.openid_configuration):
        document = build(ISSUER, SCOPES, clients=clients)
        assert "client_id_metadata_document_supported" not in document


@pytest.mark.proves("MD-03")
def test_registration_is_offered_only_where_it_is_served():
    clients = settings(registration={"enabled": False})
    for build in (metadata.authorization_server, metadata.openid_configuration):
        assert "registration_endpoint" not in build(ISSUER, SCOPES, clients=clients)


@pytest.mark.proves("MD-01", "MD-03", "MD-05", "RF-12")
def test_the_authorization_server_says_what_it_has_and_nothing_else():
    assert (
        metadata.authorization_server(ISSUER, SCOPES, clients=ClientsSettings())
        == AUTHORIZATION_SERVER
    )


@pytest.mark.proves("MD-05", "MD-06")
def test_openid_configuration_adds_what_discovery_requires():
    assert metadata.openid_configuration(
        ISSUER, SCOPES, clients=ClientsSettings()
    ) == AUTHORIZATION_SERVER | {
        "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "request_uri_parameter_supported": False,
    }


@pytest.mark.proves("MD-08", "RF-12")
def test_the_protected_resource_asks_for_the_least():
    document = metadata.protected_resource(ISSUER, "Name", [CALL_SCOPE])
    assert document == {
        "resource": f"{ISSUER}/mcp",
        "authorization_servers": [ISSUER],
        "scopes_supported": [CALL_SCOPE],
        "bearer_methods_supported": ["header"],
        "resource_name": "Name",
    }


@pytest.mark.proves("MD-11")
@pytest.mark.parametrize("build", [metadata.authorization_server, metadata.openid_configuration])
def test_the_sdk_reads_the_authorization_server(build):
    parsed = OAuthMetadata.model_validate_json(
        json.dumps(build(ISSUER, SCOPES, clients=ClientsSettings()))
    )
    assert str(parsed.token_endpoint) == f"{ISSUER}/token"
    assert parsed.code_challenge_methods_supported == ["S256"]
    assert parsed.token_endpoint_auth_methods_supported == METHODS


@pytest.mark.proves("MD-11")
def test_the_sdk_reads_the_protected_resource():
    document = metadata.protected_resource(ISSUER, "Name", [CALL_SCOPE])
    parsed = ProtectedResourceMetadata.model_validate_json(json.dumps(document))
    assert str(parsed.resource) == f"{ISSUER}/mcp"
    assert parsed.scopes_supported == [CALL_SCOPE]

"""Authlib's client, with every method of authentication that it has."""

import secrets
import time

import httpx
import pytest
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from blackbox.foreign import IDENTITY_CLIENT, KEYS_CLIENT, PLAIN_CLIENT, PLAIN_SECRET, decide
from joserfc.jwk import JWKRegistry
from serving import CALLBACK, PUBLIC_CLIENT, USER

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
HEADERS = {
    "MCP-Protocol-Version": "2025-11-25",
    "Accept": "application/json, text/event-stream",
}
METHODS = {
    "none": (PUBLIC_CLIENT, None),
    # Its Basic header is not encoded as RFC 6749 §2.3.1 has it: no special letters.
    "client_secret_basic": (PLAIN_CLIENT, PLAIN_SECRET),
    "client_secret_post": (PLAIN_CLIENT, PLAIN_SECRET),
}


async def walk(server, client, metadata, renewed):
    """Go all the way: authorization, call, renewal by itself, revocation."""
    verifier = secrets.token_urlsafe(48)
    url, _ = client.create_authorization_url(
        metadata["authorization_endpoint"], code_verifier=verifier, resource=server.resource
    )
    first = await client.fetch_token(
        authorization_response=await decide(url), code_verifier=verifier
    )
    assert first["token_type"] == "Bearer"
    called = await client.post(server.resource, json=PING, headers=HEADERS)
    assert called.status_code == 200

    client.token["expires_at"] = 1
    called = await client.post(server.resource, json=PING, headers=HEADERS)
    assert called.status_code == 200
    [second] = renewed
    assert second["refresh_token"] != first["refresh_token"]

    introspected = await client.introspect_token(
        metadata["introspection_endpoint"], second["access_token"], "access_token"
    )
    # A client that proves nothing may not ask.
    proven = client.token_endpoint_auth_method != "none"
    assert introspected.status_code == (200 if proven else 401)
    assert introspected.json().get("active", False) is proven

    revoked = await client.revoke_token(
        metadata["revocation_endpoint"], second["refresh_token"], "refresh_token"
    )
    assert revoked.status_code == 200
    with pytest.raises(OAuthError) as refused:
        await client.refresh_token(refresh_token=second["refresh_token"])
    assert refused.value.error == "invalid_grant"


@pytest.fixture
def metadata(server):
    url = f"{server.url}/.well-known/oauth-authorization-server"
    return httpx.get(url, verify=False, trust_env=False).json()


@pytest.fixture
def options(metadata):
    """What every client below is made of, and where it says that it renewed its tokens."""
    renewed = []

    async def update(token, **_):
        renewed.append(dict(token))

    return {
        "redirect_uri": CALLBACK,
        "code_challenge_method": "S256",
        "token_endpoint": metadata["token_endpoint"],
        "update_token": update,
        "verify": False,
        "trust_env": False,
    }, renewed


@pytest.mark.parametrize("method", METHODS)
async def test_authlib_goes_all_the_way(server, metadata, options, method):
    given, renewed = options
    client_id, secret = METHODS[method]
    ways = {"token_endpoint_auth_method": method, "revocation_endpoint_auth_method": method}
    async with AsyncOAuth2Client(client_id, secret, **ways, **given) as client:
        await walk(server, client, metadata, renewed)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "Ed25519"])
async def test_authlib_goes_all_the_way_by_signing(server, metadata, options, keys, algorithm):
    given, renewed = options
    endpoint = metadata["token_endpoint"]

    def sign(*request):
        # Left alone it signs for an hour, of which the server takes ten minutes (RFC 7523 §3).
        claims = {"exp": int(time.time()) + 60}
        headers = {"kid": algorithm}
        return PrivateKeyJWT(endpoint, claims, headers, algorithm)(*request)

    method = PrivateKeyJWT.name
    ways = {"token_endpoint_auth_method": method, "revocation_endpoint_auth_method": method}
    key = JWKRegistry.import_key(keys[algorithm])
    async with AsyncOAuth2Client(KEYS_CLIENT, key, **ways, **given) as client:
        client.register_client_auth_method((method, sign))
        await walk(server, client, metadata, renewed)


async def test_authlib_is_told_who_the_person_is(server, metadata, options):
    given, renewed = options
    asked = {"scope": "openid profile", "token_endpoint_auth_method": "client_secret_basic"}
    async with AsyncOAuth2Client(IDENTITY_CLIENT, PLAIN_SECRET, **asked, **given) as client:
        url, _ = client.create_authorization_url(
            metadata["authorization_endpoint"], code_verifier="v" * 43, resource=server.resource
        )
        answer = await decide(url)
        token = await client.fetch_token(authorization_response=answer, code_verifier="v" * 43)
        assert "id_token" not in token
        told = (await client.get(metadata["userinfo_endpoint"])).json()
        assert (told["name"], told["preferred_username"]) == (USER, USER)
        called = await client.post(server.resource, json=PING, headers=HEADERS)
        assert called.status_code == 200
        # It renews with the scopes that it asked for, which are fewer than it was given.
        client.token["expires_at"] = 1
        called = await client.post(server.resource, json=PING, headers=HEADERS)
        assert (called.status_code, len(renewed)) == (200, 1)
        assert set(renewed[0]["scope"].split()) == {"openid", "profile", "mcp.tools.call"}

"""Two strict JavaScript clients, oauth4webapi and openid-client: they accept every answer."""

import pytest
from blackbox.foreign import IDENTITY_CLIENT, KEYS_CLIENT, PLAIN_SECRET, decide, talk
from serving import CALLBACK, PUBLIC_CLIENT, SECRET, SECRET_CLIENT, USER

METHODS = {
    "none": {"clientId": PUBLIC_CLIENT},
    "client_secret_basic": {"clientId": SECRET_CLIENT, "secret": SECRET},
    "client_secret_post": {"clientId": SECRET_CLIENT, "secret": SECRET},
    "private_key_jwt": {"clientId": KEYS_CLIENT},
}
WAYS = [
    ("none", None),
    ("client_secret_basic", None),
    ("client_secret_post", None),
    ("private_key_jwt", "RS256"),
    ("private_key_jwt", "ES256"),
    ("private_key_jwt", "EdDSA"),
    ("private_key_jwt", "Ed25519"),
]

every_way = pytest.mark.parametrize(("method", "algorithm"), WAYS)


@pytest.fixture
def walk(npm, server, keys):
    """Let a script go all the way, and return what it saw."""

    async def walk(script, method="none", algorithm=None, *, decision="approve", **more):
        told = {
            "issuer": server.url,
            "resource": server.resource,
            "redirectUri": CALLBACK,
            "method": method,
            "key": keys.get(algorithm),
            **METHODS[method],
            **more,
        }
        return await talk("node", npm / script, told, authorize=lambda url: decide(url, decision))

    return walk


def check_introspected(said, server, method, **more):
    """Only a client that proves who it is may ask."""
    if method == "none":
        assert said == {"status": 401}
        return
    assert said == {
        "active": True,
        "client_id": METHODS[method]["clientId"],
        "scope": "mcp.tools.call",
        "sub": said["sub"],
        "iat": said["iat"],
        "exp": said["exp"],
        "aud": server.resource,
        "iss": server.url,
        **more,
    }


@pytest.mark.proves("MD-11", "AZ-02", "CA-01", "CA-02", "CA-04", "BR-02", "RV-01")
@every_way
async def test_oauth4webapi_accepts_every_answer(walk, server, method, algorithm):
    metadata_url = f"{server.url}/.well-known/oauth-protected-resource/mcp"
    seen = await walk("oauth4webapi.mjs", method, algorithm)
    assert seen == {
        "challenge": seen["challenge"],
        "metadataUrl": metadata_url,
        "issuers": [server.url, server.url],
        "strangers": ["OAUTH_INVALID_RESPONSE", "OAUTH_INVALID_RESPONSE"],
        "tokenType": "bearer",
        "called": 200,
        "introspected": seen["introspected"],
        "rotated": True,
        "calledAgain": 200,
        "refreshRevoked": {"status": 400, "error": "invalid_grant"},
        "introspectedRevoked": {"status": 401} if method == "none" else {"active": False},
        "callRevoked": 401,
        "replayed": {"status": 400, "error": "invalid_grant"},
    }
    assert seen["challenge"]["status"] == 401
    assert seen["challenge"]["error"] == "invalid_token"
    assert seen["challenge"]["resource_metadata"] == metadata_url
    check_introspected(seen["introspected"], server, method, token_type="Bearer")


@pytest.mark.proves("MD-11")
@every_way
async def test_openid_client_accepts_every_answer(walk, server, method, algorithm):
    seen = await walk("openid_client.mjs", method, algorithm)
    assert seen == {
        "discovered": [server.url, server.url],
        "pkce": True,
        "mixedUp": "OAUTH_INVALID_RESPONSE",
        "expiresIn": True,
        "scope": "mcp.tools.call",
        "called": 200,
        "introspected": seen["introspected"],
        "rotated": True,
        "calledAgain": 200,
        "introspectedRevoked": {"status": 401} if method == "none" else {"active": False},
        "callRevoked": 401,
        "refreshRevoked": {"status": 400, "error": "invalid_grant"},
    }
    check_introspected(seen["introspected"], server, method)


@pytest.mark.proves("AZ-R11")
@pytest.mark.parametrize("script", ["oauth4webapi.mjs", "openid_client.mjs"])
async def test_a_strict_client_accepts_a_refusal(walk, script):
    assert (await walk(script, decision="deny"))["denied"] == "access_denied"


@pytest.mark.proves("MD-06")
@pytest.mark.parametrize("script", ["oauth4webapi.mjs", "openid_client.mjs"])
async def test_a_strict_client_is_told_who_the_person_is_without_an_id_token(walk, script):
    identity = {"clientId": IDENTITY_CLIENT, "secret": PLAIN_SECRET}
    seen = await walk(script, "client_secret_basic", **identity, scope="openid profile email")
    assert (seen["called"], seen["idToken"]) == (200, False)
    assert seen["introspected"]["scope"] == "email mcp.tools.call openid profile"
    subject = seen["introspected"]["sub"]
    assert seen["userInfo"] == {"sub": subject, "name": USER, "preferred_username": USER}

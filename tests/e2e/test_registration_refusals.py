"""``/register``: what is refused, and how the client is told (RFC 7591 section 3.2.2)."""

import json

import pytest
from e2e.registering import BODY, KEY, LOOPBACK, post, refused, registration, without
from serving import serving

BAD_KEYS = {
    "none": {},
    "both": {"jwks": {"keys": [KEY]}, "jwks_uri": "https://chatgpt.com/oauth/jwks.json"},
    "private": {"jwks": {"keys": [KEY | {"d": "secret"}]}},
    "symmetric": {"jwks": {"keys": [{"kty": "oct", "k": "secret"}]}},
    "no key": {"jwks": {"keys": []}},
    "too many": {"jwks": {"keys": [KEY] * 11}},
    "no list": {"jwks": {"keys": KEY}},
    "no object": {"jwks": [KEY]},
    "key that is no object": {"jwks": {"keys": ["key"]}},
    "number in a key": {"jwks": {"keys": [KEY | {"kid": 1}]}},
    "NUL in a key": {"jwks": {"keys": [KEY | {"kid": "a\0"}]}},
    "list as type": {"jwks": {"keys": [KEY | {"kty": ["EC"]}]}},
    "http": {"jwks_uri": "http://chatgpt.com/oauth/jwks.json"},
    "loopback": {"jwks_uri": "http://127.0.0.1/jwks.json"},
    "unknown host": {"jwks_uri": "https://client.example/jwks.json"},
    "no text": {"jwks_uri": 1},
    "user name": {"jwks_uri": "https://a@chatgpt.com/jwks.json"},
}


@pytest.mark.proves("DC-02")
async def test_keys_that_cannot_be_used_are_refused(dsn):
    async with serving(dsn) as server:
        for what, keys in BAD_KEYS.items():
            text = await refused(
                server, without(token_endpoint_auth_method="private_key_jwt", **keys)
            )
            assert ("key" in text) or ("jwks" in text), what
            if what == "unknown host":
                assert "oauth.clients.metadata_documents.hosts" in text


BAD_REDIRECTS = {
    "missing": None,
    "no list": LOOPBACK,
    "empty": [],
    "numbers": [1],
    "null inside": [None],
    "too many": [LOOPBACK] * 11,
    "relative": ["/callback"],
    "fragment": [LOOPBACK + "#a"],
    "user name": ["https://a@chatgpt.com/connector/oauth/a"],
    "script": ["javascript:alert(1)"],
    "http": ["http://client.example/callback"],
    "too long": ["https://chatgpt.com/connector/oauth/" + "a" * 2000],
    "private scheme": ["com.example.app:/callback"],
    "one good, one bad": [LOOPBACK, "data:,x"],
    "lookalike": ["http://127.0.0.1.evil.example/callback"],
    "not ASCII": ["https://chatgpt.com/connector/oauth/ä"],
    "quotes": ['https://chatgpt.com/"onclick='],
}


@pytest.mark.proves("DC-02", "RU-06")
@pytest.mark.parametrize("redirects", ["presets", "any"])
async def test_redirect_uris_that_cannot_be_registered_are_refused(dsn, redirects):
    async with serving(dsn, registration(redirects=redirects)) as server:
        for uris in BAD_REDIRECTS.values():
            if redirects == "any" and uris == BAD_REDIRECTS["quotes"]:
                continue
            body = without("redirect_uris") if uris is None else without(redirect_uris=uris)
            await refused(server, body, "invalid_redirect_uri")
        assert (
            await server.db.one(
                "SELECT count(*) AS n FROM oauth_clients WHERE origin = 'registration'"
            )
        ).n == 0


BAD = {
    "name that is no text": {"client_name": 1},
    "name that is too long": {"client_name": "a" * 101},
    "name with a NUL": {"client_name": "a\0b"},
    "name that turns round": {"client_name": "a\u202eb"},
    "unknown method": {"token_endpoint_auth_method": "tls_client_auth"},
    "method that is no text": {"token_endpoint_auth_method": ["none"]},
    "grant types without the code": {"grant_types": ["client_credentials", "password"]},
    "refresh alone": {"grant_types": ["refresh_token"]},
    "grant types that are text": {"grant_types": "authorization_code"},
    "no grant types": {"grant_types": []},
    "response types without the code": {"response_types": ["token"]},
    "response types that are an object": {"response_types": {"code": 1}},
    "scope that is a list": {"scope": ["mcp.tools.call"]},
}


@pytest.mark.proves("DC-02", "DC-03", "DC-07")
async def test_bad_metadata_is_refused(dsn):
    async with serving(dsn) as server:
        for change in BAD.values():
            await refused(server, BODY | change)
        await refused(server, BODY | {"software_statement": 1}, "invalid_software_statement")


NO_JSON = {
    "nothing": b"",
    "text": b"hello",
    "null": b"null",
    "list": b"[]",
    "string": b'"redirect_uris"',
    "number": b"1",
    "NaN": b'{"a": NaN}',
    "twice": b'{"client_name": "a", "client_name": "a"}',
    "twice, deeper": b'{"a": {"b": 1, "b": 2}}',
    "half a character": b'{"a": "\\ud800"}',
    "half a character as a name": b'{"\\udfff": 1}',
    "not UTF-8": b'{"client_name": "\xff"}',
    "UTF-16": json.dumps(BODY).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "deep": b"[" * 8000,
    "deep object": b'{"a":' * 2700,
    "deep and closed": b'{"a":' + b"[" * 7000 + b"]" * 7000 + b"}",
    "long number": b'{"a": ' + b"9" * 6000 + b"}",
    "two objects": b"{}{}",
    "a form": b"redirect_uris=a",
}


@pytest.mark.proves("DC-02")
async def test_what_is_no_json_object_is_refused(dsn):
    async with serving(dsn) as server:
        for body in NO_JSON.values():
            await refused(server, body)
        good = json.dumps(BODY).encode()
        for media_type in ("text/plain", "application/x-www-form-urlencoded", ""):
            answer = await post(server, good, **{"Content-Type": media_type})
            assert answer.json()["error"] == "invalid_client_metadata"
        answer = await post(server, good, **{"Content-Type": "Application/JSON; charset=utf-8"})
        assert answer.status_code == 201


@pytest.mark.proves("DC-07", "TR-10")
async def test_a_body_above_16_kib_is_too_large(dsn):
    async with serving(dsn) as server:
        body = json.dumps(BODY).encode()
        assert (await post(server, body.ljust(16 * 1024))).status_code == 201
        text = await refused(server, body.ljust(16 * 1024 + 1), "invalid_request", status=413)
        assert "16384" in text

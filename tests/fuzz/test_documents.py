"""What clients say of themselves: metadata documents and registrations."""

import json
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from fuzz.nasty import check_told, encoded, fuzz, json_values, spoiled_json, spoiled_members
from hypothesis import example
from hypothesis import strategies as st
from signing import jwk, private_key

from mcpserve.errors import DocumentError, OAuthError
from mcpserve.oauth import documents, metadata, metadata_documents, redirect_uris, registration
from mcpserve.oauth.presets import Presets, load
from mcpserve.oauth.registration import Registration
from mcpserve.oauth.scopes import Scopes
from mcpserve.ratelimit import Limit
from mcpserve.settings import ClientsSettings, LimitSettings

URL = "https://client.example/client.json"
KEYS = {"keys": [jwk(private_key("ES256"), kid="one")]}
PRESETS = Presets.of(preset.name for preset in load())
SCOPES = Scopes.of({}, [])
DOCUMENT = {
    "client_id": URL,
    "client_name": "A Client",
    "redirect_uris": ["https://client.example/callback", "http://127.0.0.1/cb"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "scope": "mcp.tools.call offline_access",
    "token_endpoint_auth_method": "none",
}
SIGNING = DOCUMENT | {
    "token_endpoint_auth_method": "private_key_jwt",
    "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
    "jwks": KEYS,
}
ELSEWHERE = DOCUMENT | {
    "token_endpoint_auth_method": "private_key_jwt",
    "jwks_uri": "https://client.example/jwks.json",
}
SECRET = DOCUMENT | {"token_endpoint_auth_method": "client_secret_basic"}
OPEN = Registration(
    ClientsSettings.model_validate({"registration": {"redirects": "any"}}),
    PRESETS,
    SCOPES,
    Limit("register", LimitSettings(failures=1, window=timedelta(hours=1))),
)


def check_client(client, *, name_length):
    """What is kept of a client, whatever it said: all of it fits the database and a page."""
    assert client.redirect_uris
    assert not any(map(redirect_uris.problem, client.redirect_uris))
    assert set(client.auth_methods) <= set(metadata.AUTH_METHODS)
    assert client.name.isprintable()
    assert 0 < len(client.name) <= name_length
    assert set(client.scopes) <= SCOPES.texts.keys()
    assert ("private_key_jwt" in client.auth_methods) == bool(client.jwks or client.jwks_uri)
    if client.jwks_uri:
        assert urlsplit(client.jwks_uri).scheme == "https"
    if client.jwks:
        kept = json.dumps(client.jwks, ensure_ascii=False)
        assert kept.encode().decode().isprintable()
        assert not any(name in key for key in client.jwks["keys"] for name in ("d", "k", "p"))


@pytest.mark.proves("CM-05")
@fuzz(document=spoiled_members(DOCUMENT, SIGNING, ELSEWHERE, SECRET) | json_values, examples=100)
@example(document=DOCUMENT)
@example(document=SIGNING)
@example(document=ELSEWHERE)
@example(document=DOCUMENT | {"client_name": "\u202e\ud800\0"})
@example(document=DOCUMENT | {"client_name": "a" * 10_000})
@example(document=DOCUMENT | {"redirect_uris": {"0": "https://client.example/"}})
@example(document=DOCUMENT | {"redirect_uris": ["https://[/"]})
@example(document=DOCUMENT | {"scope": "\ud800 \u2003 mcp.tools.call"})
@example(document=DOCUMENT | {"grant_types": [["authorization_code"], {}]})
@example(document=SIGNING | {"jwks": {"keys": [[], None, {"kty": []}]}})
@example(document=SIGNING | {"jwks": {"keys": [KEYS["keys"][0] | {"x5c": "\0", "a": {}}]}})
@example(document=SIGNING | {"token_endpoint_auth_methods_supported": [{}, [], None]})
@example(document=ELSEWHERE | {"jwks_uri": "https://[/"})
@example(document=ELSEWHERE | {"jwks_uri": "https://client.example@evil.example/"})
def test_a_document_is_a_client_or_refused(document):
    try:
        client = metadata_documents.read(document, URL, presets=PRESETS, scopes=SCOPES)
    except DocumentError as error:
        check_told(error)
        return
    assert client.client_id == URL == document["client_id"]
    assert not set(client.auth_methods) & {"client_secret_basic", "client_secret_post"}
    check_client(client, name_length=100)


@fuzz(text=spoiled_json(spoiled_members(DOCUMENT, SIGNING)), examples=80)
@example(text="")
@example(text="[" * 100_000)
@example(text='{"a":' * 100_000)
@example(text='{"a": 1e999}')
@example(text='{"a": NaN}')
@example(text='{"a": ' + "9" * 5000 + "}")
@example(text="\ufeff{}")
@example(text='"\ud800"')
@example(text='{"a": "\\u0000"}')
@example(text="{}\0")
def test_the_text_of_a_document_is_json_or_refused(text):
    try:
        body = documents._text(encoded(text))
        value = documents._parse(body)
    except DocumentError as error:
        check_told(error)
        return
    assert "\0" not in body  # The database could not keep it.
    assert json.loads(body) == value


@pytest.mark.proves("DC-02")
@fuzz(members=spoiled_members(DOCUMENT, SIGNING, ELSEWHERE, SECRET), examples=100)
@example(members={"redirect_uris": []})
@example(members={"redirect_uris": [None]})
@example(members={"redirect_uris": ["https://client.example/"] * 11})
@example(members={"redirect_uris": ["https://client.example/\ud800"]})
@example(members={"redirect_uris": ["vscode://x"]})
@example(members=DOCUMENT | {"client_name": "\u202e"})
@example(members=DOCUMENT | {"client_name": "\ud800"})
@example(members=DOCUMENT | {"client_name": 10**400})
@example(members=DOCUMENT | {"software_statement": None})
@example(members=DOCUMENT | {"grant_types": "authorization_code"})
@example(members=DOCUMENT | {"token_endpoint_auth_method": ["none"]})
@example(members=SIGNING | {"jwks": {"keys": []}})
@example(members=SIGNING | {"jwks": {"keys": [KEYS["keys"][0] | {"kid": 1}]}})
@example(members=SIGNING | {"jwks": {"keys": [KEYS["keys"][0] | {"kid": "\0"}]}})
@example(members=SIGNING | {"jwks": {"keys": KEYS["keys"] * 11}})
def test_a_registration_is_a_client_or_refused(members):
    try:
        client = OPEN.describe(members, "client_x")
    except OAuthError as error:
        check_told(error)
        return
    check_client(client, name_length=2000)


@pytest.mark.proves("DC-02")
@fuzz(
    content_type=st.sampled_from(["application/json", "Application/JSON; charset=x", "text/json"]),
    text=spoiled_json(spoiled_members(DOCUMENT, SIGNING)),
    examples=80,
)
@example(content_type="application/json", text="")
@example(content_type="application/json", text="null")
@example(content_type="application/json", text="[]")
@example(content_type="application/json", text="\ufeff{}")
@example(content_type="application/json", text='{"a":1,"a":1}')
@example(content_type="application/json", text='{"a":1,"\\u0061":1}')
@example(content_type="application/json", text='{"a":"\\ud800"}')
@example(content_type="application/json", text='{"a":"\ud800"}')
@example(content_type="application/json", text='{"a":1e999}')
@example(content_type="application/json", text='{"a":' + "9" * 5000 + "}")
@example(content_type="application/json", text="[" * 100_000)
@example(content_type="application/json", text='{"a":' + "[" * 900 + "]" * 900 + "}")
def test_a_body_is_one_object_or_refused(content_type, text):
    try:
        value = registration.parse(content_type, encoded(text))
    except OAuthError as error:
        check_told(error)
        return
    assert isinstance(value, dict)
    # What is kept of it can be written in UTF-8.
    json.dumps(value, ensure_ascii=False).encode()

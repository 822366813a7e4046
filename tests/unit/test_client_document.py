"""Which URLs can be client ids, and what is read from a document."""

from datetime import timedelta

import pytest
from document_host import CALLBACK, CHATGPT, CLAUDE, CLIENT, PUBLISHED

from mcpserve.errors import DocumentError
from mcpserve.oauth import metadata_documents
from mcpserve.oauth.presets import Presets
from mcpserve.oauth.scopes import Scopes
from mcpserve.setting_types import PRESETS

ALL = Presets.of(PRESETS)
NONE = Presets.of([])
SCOPES = Scopes.of({"notes.read": "Read notes", "phone": "Call you"}, [])
KEY = {"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "kid": "1"}


def read(url=CLIENT, *, presets=ALL, **changes):
    document = PUBLISHED[url] | changes
    return metadata_documents.read(document, url, presets=presets, scopes=SCOPES)


@pytest.mark.proves("CM-01")
@pytest.mark.parametrize(
    ("url", "host"),
    [
        (CLIENT, "client.example"),
        ("https://client.example:8443/a", "client.example:8443"),
        ("https://client.example/a/", "client.example"),
        ("https://client.example/..a/b../%2e%2e%2e/a.b", "client.example"),
        ("https://client.example/a%20b;c=1,2:3@4!$&'()*+~_-", "client.example"),
        ("https://xn--clint-4of.example/a", "xn--clint-4of.example"),
        ("https://[2001:db8::1]:8443/a", "[2001:db8::1]:8443"),
        ("https://client.example/" + "a" * 1977, "client.example"),
    ],
)
def test_an_https_url_with_a_path_can_be_a_client_id(url, host):
    assert metadata_documents.host_of(url) == host


@pytest.mark.proves("CM-01")
@pytest.mark.parametrize(
    "url",
    [
        "http://client.example/a",
        "HTTPS://client.example/a",
        "https:/client.example/a",
        "https:client.example/a",
        "https:///client.example/a",
        "https:\\\\client.example\\a",
        "https://client.example",
        "https://client.example/",
        "https://client.example?a",
        "https://client.example/a?",
        "https://client.example/a?b=c",
        "https://client.example/a#",
        "https://client.example/a#b",
        "https://me@client.example/a",
        "https://me:secret@client.example/a",
        "https://@client.example/a",
        "https://chatgpt.com@client.example/a",
        "https://chatgpt.com\\@client.example/a",
        "https://client.example/.",
        "https://client.example/..",
        "https://client.example/./a",
        "https://client.example/a/../b",
        "https://client.example/a/%2e/b",
        "https://client.example/a/%2E%2e/b",
        "https://client.example/a/.%2e",
        "https://client.example/%2E.",
        "https://Client.example/a",
        "https://client.example:443/a",
        "https://client.example:/a",
        "https://client.example:0/a",
        "https://client.example:08443/a",
        "https://client.example:port/a",
        "https://client.example./a",
        "https://.client.example/a",
        "https://client..example/a",
        "https://client_.example/a",
        "https://cli%65nt.example/a",
        "https://\uff43lient.example/a",
        "https://cli\u0435nt.example/a",
        "https://client.example/\u00e9",
        "https://client.example/a b",
        "https://client.example/a\n",
        "https://client.example/a\tb",
        "https://client.example/a\0",
        "https://client.example/a\\b",
        "https://client.example/a%",
        "https://client.example/a%2",
        "https://client.example/a%zz",
        'https://client.example/"a"',
        "https://client.example/<a>",
        "https://client.example/{a}",
        "https://client.example/a|b",
        "https://client.example/a^b",
        "https://client.example/" + "a" * 1978,
        " https://client.example/a",
        "",
    ],
)
def test_no_other_url_can_be_a_client_id(url):
    with pytest.raises(DocumentError):
        metadata_documents.host_of(url)


def test_a_client_is_read_from_its_document():
    client = read(CHATGPT)
    assert client.client_id == CHATGPT
    assert client.name == "ChatGPT"
    assert client.redirect_uris == ("https://chatgpt.com/connector_platform_oauth_redirect",)
    assert client.auth_methods == ("none", "private_key_jwt")
    assert (client.jwks, client.jwks_uri) == (None, "https://chatgpt.com/oauth/jwks.json")
    assert client.origin == "metadata_document"
    assert (client.preset, client.refresh_reuse_window) == ("chatgpt", timedelta(seconds=60))
    assert (client.secret_hash, client.scopes) == (None, ())


def test_a_client_of_no_preset_is_its_own():
    client = read()
    assert (client.preset, client.refresh_reuse_window) == (None, None)
    assert not client.vouched_for(["claude"])
    assert not read(CLAUDE, presets=NONE).vouched_for(["claude"])


def test_a_preset_vouches_as_long_as_it_is_let_in():
    assert read(CLAUDE).vouched_for(["claude"])
    assert not read(CLAUDE).vouched_for(["chatgpt"])


@pytest.mark.proves("CM-06")
@pytest.mark.parametrize(
    ("members", "methods"),
    [
        ({}, ("none",)),
        ({"token_endpoint_auth_method": "none"}, ("none",)),
        ({"token_endpoint_auth_method": None}, ("none",)),
        ({"token_endpoint_auth_method": "private_key_jwt"}, ("private_key_jwt",)),
        ({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, ("private_key_jwt",)),
        ({"token_endpoint_auth_methods_supported": "none"}, ("none",)),
        (
            {"token_endpoint_auth_methods_supported": ["private_key_jwt", "none", "x", 1, {}]},
            ("none", "private_key_jwt"),
        ),
        (
            {
                "token_endpoint_auth_method": "private_key_jwt",
                "token_endpoint_auth_methods_supported": ["none"],
            },
            ("none", "private_key_jwt"),
        ),
        (
            {
                "token_endpoint_auth_method": "tls_client_auth",
                "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
            },
            ("none",),
        ),
    ],
)
def test_the_methods_are_those_that_both_sides_have(members, methods):
    assert read(jwks={"keys": [KEY]}, **members).auth_methods == methods


def test_keys_are_kept_for_a_client_that_signs_and_no_other():
    signs = {"token_endpoint_auth_method": "private_key_jwt"}
    published = {"keys": [KEY | {"x5c": ["a"], "note": "a\0b"}, {"kty": "unknown"}]}
    assert read(jwks=published, **signs).jwks == {"keys": [KEY]}
    assert read(jwks=published).jwks is None
    assert read(jwks_uri="https://client.example/jwks.json").jwks_uri is None


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("", ()),
        ("mcp.tools.call", ("mcp.tools.call",)),
        (
            "notes.read unknown phone  email mcp.tools.call",
            ("notes.read", "email", "mcp.tools.call"),
        ),
        ("notes.read notes.read", ("notes.read",)),
        (None, ()),
    ],
)
def test_the_scopes_are_those_that_exist_here(scope, scopes):
    assert read(scope=scope).scopes == scopes


@pytest.mark.proves("CO-01")
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Client", "Client"),
        ("C\u202elient\u200b\n\0\ud800", "Client"),
        ("C" * 101, "C" * 100),
        ("", "client.example"),
        ("\u200b ", "client.example"),
        (None, "client.example"),
    ],
)
def test_the_name_cannot_pretend_and_is_the_host_if_there_is_none(name, shown):
    assert read(client_name=name).name == shown


def test_a_private_scheme_needs_a_preset_that_has_it():
    uri = "cursor://anysphere.cursor-mcp/oauth/callback"
    assert read(redirect_uris=[CALLBACK, uri]).redirect_uris == (CALLBACK, uri)
    with pytest.raises(DocumentError, match="must be one of a preset"):
        read(redirect_uris=[CALLBACK, uri], presets=NONE)


@pytest.mark.parametrize(
    "members",
    [
        {"client_uri": "https://client.example"},
        {"logo_uri": "javascript:alert(1)"},
        {"contacts": None},
        {"grant_types": ["authorization_code"]},
        {"response_types": ["code", "token"]},
        {"token_endpoint_auth_method": "none"},
        {"scope": "unknown"},
        {"jwks_uri": "https://client.example/jwks.json"},
        {"software_statement": "e30.e30.c2ln"},
    ],
)
def test_what_is_not_used_changes_nothing(members):
    assert read(**members) == read()


@pytest.mark.proves("CM-07")
@pytest.mark.parametrize(
    "members",
    [
        {"client_name": "Other"},
        {"redirect_uris": [CALLBACK, CALLBACK + "/more"]},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [KEY]}},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [KEY | {"x": "z"}]}},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://a.example/jwks"},
        {"scope": "mcp.tools.call"},
    ],
)
def test_what_is_used_changes_the_digest(members):
    assert read(**members).document_digest != read().document_digest


@pytest.mark.proves("CM-07")
def test_every_change_of_the_keys_changes_the_digest():
    signs = {"token_endpoint_auth_method": "private_key_jwt"}
    sets = [{"keys": [KEY]}, {"keys": [KEY | {"x": "z"}]}, {"keys": [KEY, KEY | {"kid": "2"}]}]
    assert len({read(jwks=keys, **signs).document_digest for keys in sets}) == len(sets)

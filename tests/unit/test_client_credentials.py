"""Which client a request to /token or /revoke claims to be, before anything is verified."""

from base64 import b64encode
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing import SIGNING_CLIENT, TYPE, assertion

from mcpserve.errors import InvalidClient, InvalidRequest
from mcpserve.oauth import forms
from mcpserve.oauth.client_auth import Credentials, read_credentials

text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)


def encoded(user_and_password: str | bytes) -> str:
    if isinstance(user_and_password, str):
        user_and_password = user_and_password.encode()
    return b64encode(user_and_password).decode()


def read(authorization: str | None = None, **fields: str) -> Credentials:
    return read_credentials(forms.parse(urlencode(fields)), authorization)


def basic(client_id: str, secret: str) -> Credentials:
    return Credentials(client_id, "client_secret_basic", secret)


@pytest.mark.proves("CA-01")
def test_no_secret_is_the_method_none():
    assert read(client_id="a") == Credentials("a", "none")


@pytest.mark.proves("CA-04")
def test_id_and_secret_in_the_body_are_client_secret_post():
    assert read(client_id="a", client_secret="a+b c%é:x") == Credentials(
        "a", "client_secret_post", "a+b c%é:x"
    )


@pytest.mark.proves("CA-08")
@pytest.mark.parametrize("fields", [{}, {"client_id": ""}, {"client_secret": "s"}])
def test_no_client_id_is_an_invalid_client(fields):
    with pytest.raises(InvalidClient):
        read(**fields)


@pytest.mark.proves("CA-02")
@pytest.mark.parametrize(
    ("pair", "client_id", "secret"),
    [
        ("a:s", "a", "s"),
        ("a%2Bb:x+y", "a+b", "x y"),
        ("a:a%2Bb+c%25%C3%A9%3Ax", "a", "a+b c%é:x"),
        ("a:a%2Bb%20c%25é:x", "a", "a+b c%é:x"),
        ("a%3Ab:c:d", "a:b", "c:d"),
        ("a:", "a", ""),
    ],
)
def test_both_halves_of_basic_are_form_decoded(pair, client_id, secret):
    assert read(f"Basic {encoded(pair)}") == basic(client_id, secret)


@pytest.mark.proves("CA-03")
@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "bAsIc"])
def test_the_scheme_is_read_in_any_case(scheme):
    assert read(f"{scheme} {encoded('a:s')}") == basic("a", "s")


@pytest.mark.proves("CA-03")
@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !",
        "Basic YTpz!",
        "Basic YTp",
        "Basic YTpz YTpz",
        "Basic é",
        f"Basic {encoded('no colon')}",
        f"Basic {encoded(':secret')}",
        f"Basic {encoded('a:%')}",
        f"Basic {encoded('a:%zz')}",
        f"Basic {encoded('%4:s')}",
        f"Basic {encoded(b'a:' + bytes([0xFF]))}",
        f"Basic {encoded('a:%ff')}",
        f"Basic {encoded('a:%00')}",
        f"Basic {encoded('a' + chr(0) + ':s')}",
        f"Basic {encoded('a:s' + chr(10))}",
        f"Bearer {encoded('a:s')}",
        f"Digest {encoded('a:s')}",
        encoded("a:s"),
    ],
)
def test_a_malformed_header_is_an_invalid_client(authorization):
    with pytest.raises(InvalidClient):
        read(authorization)
    with pytest.raises(InvalidClient):
        read(authorization, client_id="a")


@pytest.mark.proves("CA-05")
@pytest.mark.parametrize(
    "fields", [{"client_secret": "s"}, {"client_id": "a", "client_secret": "s"}]
)
@pytest.mark.parametrize("authorization", [f"Basic {encoded('a:s')}", "Basic !", "Bearer x"])
def test_basic_and_a_secret_in_the_body_are_two_methods(authorization, fields):
    with pytest.raises(InvalidRequest):
        read(authorization, **fields)


@pytest.mark.proves("CA-05")
@pytest.mark.parametrize("fields", [{"client_assertion": "x"}, {"client_assertion_type": "x"}])
def test_an_assertion_and_another_method_are_two(fields):
    with pytest.raises(InvalidRequest):
        read(f"Basic {encoded('a:s')}", **fields)
    with pytest.raises(InvalidRequest):
        read(client_id="a", client_secret="s", **fields)


@pytest.mark.proves("CA-14")
def test_an_assertion_says_who_it_is_from():
    text = assertion("https://mcp.example.org")
    for client_id in ({}, {"client_id": SIGNING_CLIENT}):
        credentials = read(client_assertion=text, client_assertion_type=TYPE, **client_id)
        assert (credentials.client_id, credentials.method) == (SIGNING_CLIENT, "private_key_jwt")
        assert credentials.assertion.text == text


@pytest.mark.proves("CA-05", "CA-14")
@pytest.mark.parametrize(
    "changes",
    [
        {"client_assertion": ""},
        {"client_assertion": "x.y.z"},
        {"client_assertion_type": ""},
        {"client_assertion_type": "x"},
        {"client_id": "b"},
    ],
)
def test_half_an_assertion_is_not_the_method_none(changes):
    good = {"client_assertion": assertion("https://mcp.example.org"), "client_assertion_type": TYPE}
    with pytest.raises(InvalidClient):
        read(**({"client_id": SIGNING_CLIENT} | good | changes))


@pytest.mark.proves("CA-06")
def test_the_user_of_basic_is_the_client_id_of_the_body():
    assert read(f"Basic {encoded('a:s')}", client_id="a") == basic("a", "s")
    with pytest.raises(InvalidRequest):
        read(f"Basic {encoded('a:s')}", client_id="b")


@pytest.mark.proves("CA-02")
@given(client_id=text.filter(bool), secret=text, encode=st.sampled_from([quote, quote_plus]))
def test_any_id_and_secret_survive_basic(client_id, secret, encode):
    pair = f"{encode(client_id, safe='')}:{encode(secret, safe='')}"
    assert read(f"Basic {encoded(pair)}") == basic(client_id, secret)


@pytest.mark.proves("CA-03")
@given(pair=st.binary(max_size=40) | text.map(str.encode))
def test_random_bytes_are_credentials_or_an_invalid_client(pair):
    try:
        credentials = read(f"Basic {encoded(pair)}")
    except InvalidClient:
        return
    assert credentials.client_id
    assert "\0" not in credentials.client_id + credentials.secret


@pytest.mark.proves("CA-03")
@given(authorization=st.text(st.characters(max_codepoint=255), max_size=40))
def test_a_random_header_is_an_invalid_client(authorization):
    with pytest.raises(InvalidClient):
        read(authorization, client_id="a")

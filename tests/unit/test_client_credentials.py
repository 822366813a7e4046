"""Which client a request to /token or /revoke claims to be, before anything is verified."""

from base64 import b64encode
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_no_secret_is_the_method_none():  # CA-01
    assert read(client_id="a") == Credentials("a", None)


def test_id_and_secret_in_the_body_are_client_secret_post():  # CA-04
    assert read(client_id="a", client_secret="a+b c%é:x") == Credentials("a", "a+b c%é:x")


@pytest.mark.parametrize("fields", [{}, {"client_id": ""}, {"client_secret": "s"}])
def test_no_client_id_is_an_invalid_client(fields):  # CA-08
    with pytest.raises(InvalidClient):
        read(**fields)


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
def test_both_halves_of_basic_are_form_decoded(pair, client_id, secret):  # CA-02
    assert read(f"Basic {encoded(pair)}") == Credentials(client_id, secret)


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "bAsIc"])
def test_the_scheme_is_read_in_any_case(scheme):  # CA-03
    assert read(f"{scheme} {encoded('a:s')}") == Credentials("a", "s")


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
def test_a_malformed_header_is_an_invalid_client(authorization):  # CA-03
    with pytest.raises(InvalidClient):
        read(authorization)
    with pytest.raises(InvalidClient):
        read(authorization, client_id="a")


@pytest.mark.parametrize(
    "fields", [{"client_secret": "s"}, {"client_id": "a", "client_secret": "s"}]
)
@pytest.mark.parametrize("authorization", [f"Basic {encoded('a:s')}", "Basic !", "Bearer x"])
def test_basic_and_a_secret_in_the_body_are_two_methods(authorization, fields):  # CA-05
    with pytest.raises(InvalidRequest):
        read(authorization, **fields)


def test_basic_and_an_assertion_are_two_methods():  # CA-05
    with pytest.raises(InvalidRequest):
        read(f"Basic {encoded('a:s')}", client_assertion="x.y.z")
    with pytest.raises(InvalidRequest):
        read(client_id="a", client_secret="s", client_assertion="x.y.z")


def test_an_assertion_is_not_the_method_none():  # CA-05, MD-04: it is not advertised
    with pytest.raises(InvalidClient):
        read(client_id="a", client_assertion="x.y.z")


def test_the_user_of_basic_is_the_client_id_of_the_body():  # CA-06
    assert read(f"Basic {encoded('a:s')}", client_id="a") == Credentials("a", "s")
    with pytest.raises(InvalidRequest):
        read(f"Basic {encoded('a:s')}", client_id="b")


@given(client_id=text.filter(bool), secret=text, encode=st.sampled_from([quote, quote_plus]))
def test_any_id_and_secret_survive_basic(client_id, secret, encode):  # CA-02
    pair = f"{encode(client_id, safe='')}:{encode(secret, safe='')}"
    assert read(f"Basic {encoded(pair)}") == Credentials(client_id, secret)


@given(pair=st.binary(max_size=40) | text.map(str.encode))
def test_random_bytes_are_credentials_or_an_invalid_client(pair):  # CA-03
    try:
        credentials = read(f"Basic {encoded(pair)}")
    except InvalidClient:
        return
    assert credentials.client_id
    assert "\0" not in credentials.client_id + (credentials.secret or "")


@given(authorization=st.text(st.characters(max_codepoint=255), max_size=40))
def test_a_random_header_is_an_invalid_client(authorization):  # CA-03
    with pytest.raises(InvalidClient):
        read(authorization, client_id="a")

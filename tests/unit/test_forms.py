"""The strict parser of query strings and form bodies."""

import unicodedata
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpserve.errors import InvalidRequest
from mcpserve.oauth import forms
from mcpserve.oauth.forms import FORM, TokenForm

printable = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
control = st.characters(categories=("Cc",))


def parse_form(body: bytes, content_type: str = FORM, query: str = ""):
    return forms.parse_form(content_type, body, query=query)


@pytest.mark.proves("TR-02")
@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/json, application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded, application/json",
        "application/x-www-form-urlencoded,application/x-www-form-urlencoded",
        "application/x-www-form-urlencodedx",
        "x; application/x-www-form-urlencoded",
    ],
)
def test_another_media_type_is_refused(content_type):
    with pytest.raises(InvalidRequest):
        parse_form(b"a=1", content_type)


@pytest.mark.proves("TR-03")
@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "Application/X-WWW-Form-URLEncoded; charset=UTF-8",
        "APPLICATION/X-WWW-FORM-URLENCODED;charset=utf-8",
        "application/x-www-form-urlencoded ; anything=at-all",
    ],
)
def test_the_media_type_is_read_in_any_case_and_with_parameters(content_type):
    assert parse_form(b"a=1", content_type).one("a") == "1"


@pytest.mark.proves("TR-04")
@pytest.mark.parametrize(
    "body", [b"a=1&a=2", b"a=1&a=1", b"a=1&a=", b"a=&a=", b"a&a", b"%61=1&a=1"]
)
def test_a_parameter_that_is_there_twice_is_refused_even_if_equal(body):
    parameters = parse_form(body)
    with pytest.raises(InvalidRequest):
        parameters.one("a")
    with pytest.raises(InvalidRequest):
        parameters.require_single("b", "a")


@pytest.mark.proves("TR-04")
def test_only_the_resource_may_repeat():
    body = b"grant_type=x&resource=1&resource=2&resource="
    assert TokenForm.of(parse_form(body)).resources == ("1", "2")


@pytest.mark.proves("TR-04")
@pytest.mark.parametrize(
    "name", ["grant_type", "code", "code_verifier", "redirect_uri", "refresh_token", "scope"]
)
def test_every_other_parameter_of_the_token_endpoint_is_single(name):
    body = urlencode([("grant_type", "x"), (name, "1"), (name, "1")]).encode()
    with pytest.raises(InvalidRequest):
        TokenForm.of(parse_form(body))


@pytest.mark.proves("TR-05")
def test_an_empty_value_means_that_the_parameter_is_absent():
    parameters = parse_form(b"scope=&code&resource=")
    assert parameters.one("scope") is None
    assert parameters.one("code") is None
    assert parameters.all("resource") == ()
    with pytest.raises(InvalidRequest, match="code is missing"):
        parameters.required("code")


@pytest.mark.proves("TR-06")
def test_unknown_parameters_are_ignored_even_twice():
    form = TokenForm.of(parse_form(b"grant_type=x&nonsense=1&nonsense=2&audience=y"))
    assert form == TokenForm("x", None, None, None, None, None, ())


@pytest.mark.proves("TR-07")
@pytest.mark.parametrize(
    "name", ["client_secret", "code", "code_verifier", "refresh_token", "token", "password"]
)
@pytest.mark.parametrize("query", ["{}=x", "a=1&{}=x", "{}="])
def test_a_secret_in_the_url_is_refused(name, query):
    with pytest.raises(InvalidRequest) as refusal:
        parse_form(f"{name}=x".encode(), query=query.format(name))
    assert "=x" not in str(refusal.value)


@pytest.mark.proves("TR-07")
def test_a_harmless_query_is_not_merged_into_the_form():
    parameters = parse_form(b"a=1", query="a=2&client_id=x")
    assert parameters.one("a") == "1"
    assert parameters.one("client_id") is None


@pytest.mark.proves("TR-08")
@pytest.mark.parametrize(
    "value", [" a", "a ", " ", "a+b", "a%20b", "e\u0301", "\u00e9", "\u2028", "\ufeff", "a;b", "😀"]
)
def test_values_are_kept_as_they_are(value):
    assert parse_form(urlencode({"a": value}).encode()).one("a") == value


@pytest.mark.proves("TR-08")
@pytest.mark.parametrize("escape", ["%00", "%01", "%09", "%0A", "%0d", "%1F", "%7F", "%C2%85"])
@pytest.mark.parametrize("field", ["code={}a", "code=a{}", "{}code=a", "unknown={}"])
def test_control_characters_are_refused(escape, field):
    with pytest.raises(InvalidRequest, match="control character"):
        parse_form(field.format(escape).encode())


@pytest.mark.proves("TR-09")
@pytest.mark.parametrize(
    "body",
    [
        b"a=%",
        b"a=%4",
        b"a=%zz",
        b"%=a",
        b"a=%ff",
        b"a=%c3",
        b"a=%ed%a0%80",
        b"a=\xc3\xa9",
        b"a=\xff",
    ],
)
def test_what_cannot_be_decoded_is_refused(body):
    with pytest.raises(InvalidRequest):
        parse_form(body)


@pytest.mark.proves("TR-09")
@pytest.mark.parametrize("query", ["a=%", "a=%ff", "a=\x85"])
def test_a_query_that_cannot_be_decoded_is_refused(query):
    with pytest.raises(InvalidRequest):
        parse_form(b"a=1", query=query)


@pytest.mark.proves("TR-10")
def test_a_hundred_fields_are_the_limit():
    assert parse_form(b"&".join([b"a=1"] * 100)).all("a") == ("1",) * 100
    with pytest.raises(InvalidRequest, match="too many"):
        parse_form(b"&".join([b"a=1"] * 101))


def test_only_the_ampersand_separates():
    assert parse_form(b"a=1;b=2").values == {"a": ("1;b=2",)}


@pytest.mark.proves("TR-08")
@given(st.lists(st.tuples(printable, printable), max_size=20))
def test_what_was_encoded_is_decoded(pairs):
    parameters = parse_form(urlencode(pairs).encode())
    for name, _ in pairs:
        assert parameters.values[name] == tuple(value for other, value in pairs if other == name)


@pytest.mark.proves("TR-08")
@given(printable, control, printable)
def test_no_control_character_gets_through(before, bad, after):
    with pytest.raises(InvalidRequest):
        parse_form(f"a={quote_plus(before + bad + after)}".encode())


form_bytes = st.lists(
    st.sampled_from(
        [b"a", b"=", b"&", b"+", b"%", b"%0", b"%41", b"%00", b"%c3", b"\xff", b";", b" "]
    )
    | st.binary(max_size=4)
).map(b"".join)


@pytest.mark.proves("TR-09")
@given(body=form_bytes, query=form_bytes)
def test_random_bytes_are_decoded_or_refused_as_an_invalid_request(body, query):
    try:
        parameters = parse_form(body, query=query.decode("latin-1"))
    except InvalidRequest:
        return
    for name, values in parameters.values.items():
        for text in (name, *values):
            assert text.encode().decode() == text
            assert not any(unicodedata.category(character) == "Cc" for character in text)


@pytest.mark.proves("TR-02")
@given(st.text(max_size=60))
def test_a_random_media_type_is_refused_as_an_invalid_request(content_type):
    with pytest.raises(InvalidRequest):
        parse_form(b"a=1", content_type)

"""The strict form parser, against everything that can be written into a form."""

import unicodedata

import pytest
from fuzz.nasty import HOW, encodable, encoded, form_encoded, fuzz, nasty, spoiled
from hypothesis import example
from hypothesis import strategies as st

from mcpserve.errors import InvalidRequest
from mcpserve.oauth import forms
from mcpserve.oauth.forms import FORM, TokenForm

GOOD = "grant_type=authorization_code&code=abc&code_verifier=v%2Bv&resource=a&resource=b"
NAMES = st.sampled_from(["grant_type", "code", "client_id", "client_secret", "resource", "x"])


def has_controls(text):
    return any(unicodedata.category(character) == "Cc" for character in text)


@pytest.mark.proves("TR-08")
@fuzz(pairs=st.lists(st.tuples(NAMES | encodable, encodable, HOW), max_size=12))
@example(pairs=[("a", "", "all"), ("a", "\ufeff", "plus")])
@example(pairs=[("a", "\0", "all")])
@example(pairs=[("\r\n", "b", "all")])
@example(pairs=[("a", "\x85", "all")])
@example(pairs=[("a", "b", "quote")] * 100)
@example(pairs=[("a", "b", "quote")] * 101)
def test_what_was_encoded_is_what_is_read(pairs):
    text = "&".join(
        f"{form_encoded(name, how)}={form_encoded(value, how)}" for name, value, how in pairs
    )
    try:
        values = forms.parse(text).values
    except InvalidRequest:
        assert len(pairs) > 100 or any(has_controls(name + value) for name, value, _ in pairs)
        return
    assert len(pairs) <= 100
    assert not any(has_controls(name + value) for name, value, _ in pairs)
    expected = {}
    for name, value, _ in pairs:
        expected[name] = (*expected.get(name, ()), value)
    assert values == expected


@pytest.mark.proves("TR-04", "TR-09")
@fuzz(text=spoiled(st.just(GOOD)))
@example(text="a=%zz")
@example(text="a=%")
@example(text="a=%ff")
@example(text="a=%ed%a0%80")
@example(text="a=%00")
@example(text="%0a=b")
@example(text="a;b=c&&&=&")
@example(text="a\ud800=%41")
@example(text="code=" + "%41" * 20_000)
def test_a_spoiled_form_is_read_or_refused(text):
    try:
        parameters = forms.parse(text)
        form = TokenForm.of(parameters)
    except InvalidRequest:
        return
    assert form.grant_type == parameters.values["grant_type"][0] != ""
    assert all(len(parameters.values.get(name, ())) < 2 for name in ("code", "redirect_uri"))
    assert not has_controls("".join(parameters.values))


@pytest.mark.proves("TR-02", "TR-07")
@fuzz(
    content_type=spoiled(st.just(f"{FORM}; charset=UTF-8")),
    body=spoiled(st.just(GOOD)).map(encoded) | st.binary(max_size=40),
    query=spoiled(st.just("a=1&client_secret=x")),
)
@example(content_type=FORM, body=b"a=\xff", query="")
@example(content_type=FORM, body=b"\xef\xbb\xbfa=b", query="")
@example(content_type=FORM, body=b"a=b", query="tok%65n=1")
@example(content_type=FORM + "\u2028", body=b"a=b", query="")
@example(content_type=f"{FORM},{FORM}", body=b"a=b", query="")
def test_a_body_is_read_only_as_a_form_without_secrets_in_the_url(content_type, body, query):
    try:
        parameters = forms.parse_form(content_type, body, query=query)
    except InvalidRequest:
        return
    assert content_type.partition(";")[0].strip().lower() == FORM
    assert not set(forms.SECRETS) & forms.parse(query).values.keys()
    assert parameters == forms.parse(body.decode("ascii"))


@fuzz(values=st.lists(nasty, max_size=3))
def test_one_value_is_returned_only_if_there_is_one(values):
    parameters = forms.Parameters({"code": tuple(values)} if values else {})
    try:
        value = parameters.one("code")
    except InvalidRequest:
        assert len(values) > 1
        return
    assert value == ((values[0] or None) if values else None)

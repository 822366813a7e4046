"""Redirect URIs and URLs of clients: what may be registered, and what equals it."""

import re
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from fuzz.nasty import encodable, fuzz, nasty, spoiled
from hypothesis import example
from hypothesis import strategies as st
from mutations import LOOPBACK, OF_LOOPBACK, OF_REGISTERED

from mcpserve.errors import DocumentError, FetchError
from mcpserve.fetch import _Location
from mcpserve.oauth import authorize, metadata_documents, redirect_uris
from mcpserve.oauth.presets import WILDCARD, Presets, load

PRESETS = Presets.of(preset.name for preset in load())
PATTERNS = sorted(uri for preset in PRESETS.known for uri in preset.redirect_uris)
GOOD = st.sampled_from(
    [
        "https://client.example/callback",
        "https://client.example:8443/callback?a=1&b=%2F",
        "http://127.0.0.1:5000/cb?x",
        "http://[::1]/cb",
        "http://localhost",
        "com.example.app:/callback",
        "vscode://some.extension/callback",
        *PATTERNS,
    ]
)
SEGMENT = "[A-Za-z0-9_-]{1,64}"
HOSTILE = st.sampled_from([*OF_REGISTERED.values(), *OF_LOOPBACK.values(), *LOOPBACK])
URLS = st.sampled_from(
    [
        "https://client.example/client.json",
        "https://client.example:8443/a/b%20c",
        "https://[2001:db8::1]/client.json",
        *(url for preset in PRESETS.known for url in preset.document_urls),
    ]
)


@fuzz(uri=spoiled(GOOD) | HOSTILE | nasty, examples=100)
@example(uri="http://[")
@example(uri="http://[::1")
@example(uri="https://[::1]evil.example/")
@example(uri="https://[v1.x]/")
@example(uri="https://a.example:99999/")
@example(uri="https://a.example:0/")
@example(uri="https://a.example:x/")
@example(uri="https://@/")
@example(uri="https://a.example\uff0fb/")
@example(uri="https:///a")
@example(uri="https:a")
@example(uri="http://localhost:99999/cb")
@example(uri="http://localhost:00080/cb")
@example(uri="://")
@example(uri="a" * 2001)
def test_what_may_be_registered_is_plain_and_equals_itself(uri):
    problem = redirect_uris.problem(uri)
    assert redirect_uris.matches(uri, uri)
    assert redirect_uris.is_loopback(uri) in (True, False)
    if problem is not None:
        assert problem.isprintable()
        return
    assert re.fullmatch("[!-~]{1,2000}", uri)
    assert not {"#", "\\"} & set(uri)
    assert urlsplit(uri).scheme not in redirect_uris.UNSAFE_SCHEMES
    place = redirect_uris.host(uri)
    assert place
    assert uri.lower().startswith((place.lower(), f"https://{place}".lower(), f"http://{place}"))
    assert "@" not in place
    assert redirect_uris.without_port(uri) == uri or redirect_uris.is_loopback(uri)


@pytest.mark.proves("RU-01", "RU-03")
@fuzz(
    uris=(GOOD | HOSTILE).flatmap(
        lambda uri: st.tuples(st.just(uri), spoiled(st.just(uri)) | HOSTILE | GOOD)
    ),
    examples=100,
)
@example(uris=("http://127.0.0.1/cb", "http://localhost/cb"))
@example(uris=("http://127.0.0.1/cb", "http://[::1]:80/cb"))
@example(uris=("http://127.0.0.1/cb", "http://127.0.0.1:80/cb/"))
@example(uris=("http://127.0.0.1", "http://127.0.0.1:80?"))
def test_what_matches_differs_in_the_port_of_a_loopback_host_at_most(uris):
    registered, uri = uris
    if not redirect_uris.matches(uri, registered) or uri == registered:
        return
    one, other = urlsplit(uri), urlsplit(registered)
    assert redirect_uris.is_loopback(uri)
    assert redirect_uris.is_loopback(registered)
    assert (one.scheme, one.hostname) == (other.scheme, other.hostname)
    assert one.scheme == "http"
    assert one.hostname in ("127.0.0.1", "::1", "localhost")
    assert uri.partition(one.netloc)[2] == registered.partition(other.netloc)[2]


@fuzz(pattern=st.sampled_from(PATTERNS), text=nasty | st.from_regex(SEGMENT, fullmatch=True))
@example(pattern="https://chatgpt.com/connector/oauth/{id}", text="a/b")
@example(pattern="https://chatgpt.com/connector/oauth/{id}", text="a?b")
@example(pattern="https://chatgpt.com/connector/oauth/{id}", text="a%2fb")
@example(pattern="https://chatgpt.com/connector/oauth/{id}", text="a.b")
@example(pattern="https://chatgpt.com/connector/oauth/{id}", text="a\n")
@example(pattern="https://chatgpt.com/connector/oauth/{id}", text="")
@example(pattern="https://chatgpt.com/connector/oauth/{id}", text="a" * 65)
def test_the_wildcard_of_a_preset_is_one_segment(pattern, text):
    uri = pattern.replace(WILDCARD, text)
    fits = WILDCARD not in pattern or re.fullmatch(SEGMENT, text) is not None
    assert (PRESETS.of_redirect_uris([uri]) is not None) == fits


@fuzz(uri=spoiled(st.sampled_from(PATTERNS)), examples=100)
def test_no_spoiled_uri_is_a_presets(uri):
    if PRESETS.of_redirect_uris([uri]):
        found = [pattern for pattern in PATTERNS if redirect_uris.matches(uri, pattern)]
        places = {urlsplit(pattern).netloc for pattern in PATTERNS if WILDCARD in pattern}
        assert found or urlsplit(redirect_uris.without_port(uri)).netloc in places
        assert PRESETS.problem(uri) is None


@pytest.mark.proves("CM-01", "CM-02")
@fuzz(url=spoiled(URLS) | nasty, examples=100)
@example(url="https://a.example/%2e%2E/x")
@example(url="https://a.example/..")
@example(url="https://a.example:443/x")
@example(url="https://a.example:99999/x")
@example(url="https://[::1/x")
@example(url="https://[:::::]/x")
@example(url="https://a.example")
@example(url="https://a.example/\n")
@example(url="https://0x7f.1/x")
@example(url="https://127.1/x")
@example(url="https://a..example/x")
@example(url="https://-a.example/x")
def test_the_host_that_is_checked_is_the_host_that_is_asked(url):
    try:
        host = metadata_documents.host_of(url)
        location = _Location.parse(url)
    except (DocumentError, FetchError):
        return
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("https", host, "", "")
    assert not {".", ".."} & {unquote(segment) for segment in parts.path.split("/")}
    assert (location.authority, location.target) == (host, parts.path)


@pytest.mark.proves("AZ-02", "AZ-05")
@fuzz(uri=GOOD, state=st.none() | encodable, code=st.from_regex(r"mcps_[\w-]+", fullmatch=True))
@example(uri="https://client.example/callback", state="\r\nX: y", code="c")
def test_an_answer_goes_where_it_was_registered_and_brings_the_state_back(uri, state, code):
    location = authorize.answer(uri, "https://issuer.example", state=state, code=code)
    assert location.startswith(uri)
    assert re.fullmatch("[!-~]+", location)
    added = parse_qsl(location[len(uri) :].lstrip("?&"), keep_blank_values=True)
    expected = {"code": code, "iss": "https://issuer.example"}
    assert dict(added) == expected | ({} if state is None else {"state": state})
    assert urlsplit(location).netloc == urlsplit(uri).netloc

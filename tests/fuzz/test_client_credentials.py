"""What clients prove themselves with, before it is proven: Basic headers, assertions, key sets."""

import json
from base64 import b64encode

import pytest
from fuzz.nasty import (
    HOW,
    base64,
    check_told,
    encodable,
    encoded,
    form_encoded,
    fuzz,
    json_values,
    jwt_part,
    nasty,
    spoiled,
    spoiled_json,
    spoiled_members,
)
from hypothesis import example
from hypothesis import strategies as st
from signing import KINDS, jwk, private_key

from mcpserve.errors import DocumentError, InvalidClient, InvalidRequest
from mcpserve.oauth import assertions, jwks
from mcpserve.oauth.client_auth import parse_basic, read_credentials
from mcpserve.oauth.forms import Parameters

PADDINGS = st.sampled_from(["", "=", "==", "===", "A", " ", "\n"])
HEADER = {"alg": "ES256", "kid": "one", "typ": "JWT"}
CLAIMS = {
    "iss": "client",
    "sub": "client",
    "aud": "https://issuer.example",
    "exp": 2_000_000_000,
    "iat": 1_999_999_990,
    "nbf": 0,
    "jti": "j",
}
GOOD_HEADER, GOOD_CLAIMS = json.dumps(HEADER), json.dumps(CLAIMS)
ALGORITHMS = ("RS256", "ES256", "EdDSA", "Ed25519")
KEYS = [jwk(private_key(kind), kid=kind, use="sig") for kind in KINDS]


def a_jwt(header=GOOD_HEADER, claims=GOOD_CLAIMS, end="c2ln", padding=""):
    return f"{jwt_part(header, padding)}.{jwt_part(claims, padding)}.{end}"


@pytest.mark.proves("CA-02")
@fuzz(identity=encodable, secret=encodable, how=HOW, scheme=st.sampled_from(["Basic", "bAsIc"]))
@example(identity="a:b", secret="c:d", how="all", scheme="Basic")
def test_what_a_client_encodes_is_what_is_read(identity, secret, how, scheme):
    pair = f"{form_encoded(identity, how)}:{form_encoded(secret, how)}"
    header = f"{scheme} {b64encode(pair.encode()).decode()}"
    try:
        read = parse_basic(header)
    except InvalidClient:
        assert not identity or "\0" in identity + secret
        return
    assert (read.client_id, read.secret) == (identity, secret)


@pytest.mark.proves("CA-03")
@fuzz(
    pair=spoiled(st.just("client:sec%2Bret")).map(encoded) | st.binary(max_size=20),
    padding=PADDINGS,
    scheme=spoiled(st.just("Basic ")),
)
@example(pair=b"client", padding="=", scheme="Basic ")
@example(pair=b"client%00:x", padding="=", scheme="Basic ")
@example(pair=b"client:%00", padding="=", scheme="Basic ")
@example(pair=b"client:%zz", padding="=", scheme="Basic ")
@example(pair=b"cli\xffent:x", padding="=", scheme="Basic ")
@example(pair=b"cli%ffent:x", padding="=", scheme="Basic ")
@example(pair=b"a:b", padding="=", scheme="Basic\u00a0")
@example(pair=b"a:b", padding="=", scheme="")
def test_a_spoiled_header_is_read_or_refused(pair, padding, scheme):
    try:
        read = parse_basic(scheme + base64(pair, padding))
    except InvalidClient as error:
        check_told(error)
        return
    assert scheme.lower().startswith("basic ")
    assert read.client_id
    assert "\0" not in read.client_id + read.secret


@pytest.mark.proves("CA-14")
@fuzz(text=spoiled(st.just(a_jwt())), examples=80)
@example(text="")
@example(text="..")
@example(text="a.b.c.d")
@example(text=a_jwt(padding="="))
@example(text=a_jwt(end=""))
@example(text=a_jwt("[]", "[]"))
@example(text=a_jwt("null", "null"))
@example(text=a_jwt('{"alg":"none"}'))
@example(text=a_jwt('{"alg":["ES256"]}'))
@example(text=a_jwt('{"alg":"HS256"}'))
@example(text=a_jwt('{"alg":"ES256","crit":["exp"]}'))
@example(text=a_jwt('{"alg":"ES256","crit":[]}'))
@example(text=a_jwt('{"alg":"ES256","b64":false}'))
@example(text=a_jwt('{"alg":"ES256","kid":{"a":1}}'))
@example(text=a_jwt('{"alg":"ES256","kid":"\\ud800"}'))
@example(text=a_jwt('{"alg":"ES256","alg":"none"}'))
@example(text=a_jwt('{"alg":"none","\\u0061lg":"ES256"}'))
@example(text=a_jwt("\ufeff{}"))
@example(text=a_jwt('"\ud800"'))
@example(text=a_jwt("[" * 20_000))
@example(text=a_jwt('{"a":' * 20_000))
@example(text=a_jwt(GOOD_HEADER[:-1] + ',"a":' + "[" * 20_000 + "]" * 20_000 + "}"))
def test_an_assertion_is_read_or_refused(text):
    check_assertion(text)


@pytest.mark.proves("CA-14")
@fuzz(
    header=spoiled_json(spoiled_members(HEADER)),
    claims=spoiled_json(spoiled_members(CLAIMS, CLAIMS | {"aud": ["a"]})),
    padding=st.sampled_from(["", "", "", "=", "=="]),
    examples=80,
)
@example(header=GOOD_HEADER, claims=GOOD_CLAIMS.replace("2000000000", "9" * 5000), padding="")
@example(header=GOOD_HEADER, claims=GOOD_CLAIMS.replace("2000000000", "9" * 400), padding="")
@example(header=GOOD_HEADER, claims=GOOD_CLAIMS.replace("2000000000", "1e999"), padding="")
@example(header=GOOD_HEADER, claims=GOOD_CLAIMS.replace("2000000000", "NaN"), padding="")
@example(header=GOOD_HEADER, claims=GOOD_CLAIMS.replace("2000000000", "-0.0"), padding="")
@example(header=GOOD_HEADER, claims=GOOD_CLAIMS.replace("2000000000", "true"), padding="")
@example(header=GOOD_HEADER, claims=GOOD_CLAIMS.replace('"j"', '"\\u0000"'), padding="")
@example(header=GOOD_HEADER, claims=GOOD_CLAIMS.replace('"j"', '"\\ud800"'), padding="")
@example(header=GOOD_HEADER, claims=GOOD_CLAIMS.replace('"j"', '""'), padding="")
def test_an_assertion_of_spoiled_members_is_read_or_refused(header, claims, padding):
    check_assertion(a_jwt(header, claims, padding=padding))


def check_assertion(text):
    try:
        read = assertions.parse(text)
    except InvalidClient as error:
        check_told(error)
        return
    assert read.text == text
    assert read.header.alg in ALGORITHMS
    assert read.client_id == read.claims.sub
    assert read.client_id
    assert all(0 <= moment < 1e12 for moment in (read.claims.exp, read.claims.iat))
    for word in (read.client_id, read.audience, read.claims.jti):
        assert "\0" not in word.encode().decode()


@pytest.mark.proves("CA-05", "CA-06")
@fuzz(
    fields=st.dictionaries(
        st.sampled_from(["client_id", "client_secret", "client_assertion", "other"]),
        st.lists(nasty | st.just("client") | st.just(a_jwt()), min_size=1, max_size=2).map(tuple),
    ),
    kind=st.none() | st.just(assertions.TYPE) | nasty,
    authorization=st.none() | spoiled(st.just("Basic Y2xpZW50OnNlY3JldA==")),
)
def test_credentials_of_all_kinds_are_read_or_refused(fields, kind, authorization):
    values = fields if kind is None else fields | {"client_assertion_type": (kind,)}
    try:
        read = read_credentials(Parameters(values), authorization)
    except (InvalidClient, InvalidRequest):
        return
    # One way only, and only one client is named.
    ways = (authorization is not None, bool(read.assertion), read.method == "client_secret_post")
    assert sum(ways) == (read.method != "none")
    assert read.client_id
    assert fields.get("client_id", ("",))[0] in ("", read.client_id)


@pytest.mark.proves("CA-14")
@fuzz(
    keys=st.lists(spoiled_members(*KEYS) | json_values, max_size=4),
    wrapped=st.booleans(),
    algorithm=st.sampled_from(ALGORITHMS),
    kid=st.none() | st.sampled_from(KINDS) | nasty,
    examples=80,
)
@example(keys=[KEYS[0] | {"n": 5}], wrapped=True, algorithm="RS256", kid=None)
@example(keys=[KEYS[0] | {"n": ""}], wrapped=True, algorithm="RS256", kid=None)
@example(keys=[KEYS[0] | {"n": "\ud800"}], wrapped=True, algorithm="RS256", kid=None)
@example(keys=[KEYS[0] | {"n": {"a": 1}}], wrapped=True, algorithm="RS256", kid=None)
@example(keys=[KEYS[0] | {"n": ["a"]}], wrapped=True, algorithm="RS256", kid=None)
@example(keys=[KEYS[0] | {"e": "AA"}], wrapped=True, algorithm="RS256", kid=None)
@example(keys=[KEYS[0] | {"e": "A" * 40_000}], wrapped=True, algorithm="RS256", kid=None)
@example(keys=[KEYS[0] | {"n": "_" * 60_000}], wrapped=True, algorithm="RS256", kid=None)
@example(keys=[KEYS[1] | {"x": None}], wrapped=True, algorithm="ES256", kid=None)
@example(keys=[KEYS[1] | {"x": "AA"}], wrapped=True, algorithm="ES256", kid=None)
@example(keys=[KEYS[1] | {"crv": ["P-256"]}], wrapped=True, algorithm="ES256", kid=None)
@example(keys=[KEYS[2] | {"x": ""}], wrapped=True, algorithm="EdDSA", kid=None)
@example(keys=[KEYS[2] | {"alg": {"a": 1}}], wrapped=True, algorithm="EdDSA", kid=None)
@example(keys=[KEYS[2] | {"use": ["sig"]}], wrapped=True, algorithm="EdDSA", kid=None)
@example(keys=[KEYS[2] | {"key_ops": "verify"}], wrapped=True, algorithm="EdDSA", kid=None)
@example(keys=[KEYS[2] | {"d": "x"}], wrapped=True, algorithm="EdDSA", kid=None)
@example(keys=[KEYS[2], KEYS[2]], wrapped=True, algorithm="EdDSA", kid="EdDSA")
def test_a_key_set_is_read_or_refused_and_nothing_spoiled_verifies(keys, wrapped, algorithm, kid):
    document = {"keys": keys} if wrapped else keys
    assert isinstance(jwks.problem(document), str | None)
    try:
        usable = jwks.read(document)
    except DocumentError:
        assert not wrapped
        return
    assert not any(jwks.PRIVATE & key.keys() for key in usable)
    if key := jwks.choose(usable, algorithm, kid):
        assert kid is None or key["kid"] == kid
        assert not jwks.has_signed(key, algorithm, a_jwt(json.dumps({"alg": algorithm})))

"""Key sets of clients: what an operator may configure, and what is passed over at run time."""

import pytest
from signing import KINDS, jwk, key_set, private_key

from mcpserve.errors import ConfigError, DocumentError
from mcpserve.oauth import clients, jwks
from mcpserve.settings import ClientSettings

KEY = private_key("ES256")
GOOD = jwk(KEY)
BAD = {
    "is not an object": ["x", None, 7],
    "has private members": [
        *(jwk(private_key(kind), private=True) for kind in KINDS),
        {"kty": "oct", "k": "eHh4"},
        GOOD | {"d": ""},
    ],
    "is not for signatures": [
        GOOD | {"use": "enc"},
        GOOD | {"use": ["sig"]},
        GOOD | {"key_ops": ["sign"]},
        GOOD | {"key_ops": "verify"},
        GOOD | {"key_ops": None},
    ],
    "is of none of the algorithms RS256, ES256, EdDSA": [
        {},
        {"kty": "oct"},
        GOOD | {"crv": "P-384"},
        GOOD | {"kty": "OKP"},
        GOOD | {"alg": "ES384"},
        GOOD | {"alg": ["ES256"]},
        GOOD | {"alg": None},
        jwk(private_key("RS256"), alg="PS256"),
        jwk(private_key("RS256"), alg="HS256"),
        jwk(private_key("EdDSA")) | {"crv": "Ed448"},
    ],
    "is malformed": [
        GOOD | {"x": "AA"},
        GOOD | {"x": GOOD["y"]},
        GOOD | {"x": 7},
        {"kty": "EC", "crv": "P-256"},
        jwk(private_key("RS256", bits=1024)),
        jwk(private_key("RS256")) | {"n": "!"},
        jwk(private_key("RS256")) | {"n": "x" * 1401},
        jwk(private_key("RS256")) | {"e": "AQ"},
        jwk(private_key("EdDSA")) | {"x": "AA"},
    ],
}
CASES = [(why, key) for why, keys in BAD.items() for key in keys]


@pytest.mark.proves("CA-14")
@pytest.mark.parametrize(
    "members",
    [{}, {"use": "sig"}, {"key_ops": ["verify"]}, {"alg": "ES256"}, {"kid": "a", "x5c": ["x"]}],
)
def test_public_keys_for_signatures_may_be_configured(members):
    assert jwks.problem({"keys": [jwk(KEY, **members)]}) is None
    assert jwks.problem(key_set() | {"more": 1}) is None


@pytest.mark.proves("CA-14")
@pytest.mark.parametrize(("why", "key"), CASES)
def test_no_other_key_may_be_configured(why, key):
    assert jwks.problem(key_set(GOOD, key)).startswith(f"keys.1 {why}")


@pytest.mark.parametrize("document", [None, [], "x", {}, {"keys": []}, {"keys": {}}])
def test_a_key_set_has_keys(document):
    assert jwks.problem(document) == "needs a list of keys"


def test_a_bad_key_stops_the_server_and_is_named():
    settings = ClientSettings(id="a", redirect_uris=("https://a.example/",), jwks={"keys": [{}]})
    with pytest.raises(
        ConfigError, match=r"oauth\.clients\.configured\.0\.jwks: keys\.0 is of none"
    ):
        clients.validate([settings])


@pytest.mark.proves("CA-14")
@pytest.mark.parametrize(("why", "key"), CASES)
def test_other_keys_of_a_published_set_are_passed_over(why, key):
    found = jwks.read(key_set(key, GOOD))
    assert GOOD in found
    assert len(found) == (2 if why == "is malformed" else 1)  # Found out when it is used.


@pytest.mark.proves("CA-14")
@pytest.mark.parametrize("document", [None, [], "x", 7, {}, {"keys": {}}, {"keys": "x"}])
def test_what_is_no_key_set_is_not_kept(document):
    with pytest.raises(DocumentError):
        jwks.read(document)


def test_a_set_without_keys_is_one():
    assert jwks.read({"keys": []}) == ()


@pytest.mark.proves("CA-14")
def test_the_key_that_is_meant_is_the_only_one_that_fits():
    keys = [jwk(private_key(kind), kid="same") for kind in KINDS]
    for kind, key in zip(KINDS, keys, strict=True):
        assert jwks.choose(keys, kind, "same") == key
        assert jwks.choose(keys, kind, None) == key
        assert jwks.choose(keys, kind, "other") is None
        assert jwks.choose([*keys, key], kind, "same") is None
    assert jwks.choose(keys, "Ed25519", "same") == keys[2]
    assert jwks.choose([jwk(private_key("EdDSA"), alg="Ed25519")], "EdDSA", None)

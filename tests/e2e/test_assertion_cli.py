"""``client add`` for clients that sign, and for resource servers."""

import json

import postgres
import pytest
from e2e.process import configure, invoke
from serving import CALLBACK
from signing import PUBLISHED_AT, jwk, key_set, private_key

ADD = ("client", "add", "--id", "robot", "--redirect-uri", CALLBACK)
KEPT = "SELECT auth_methods, jwks, jwks_uri, may_introspect, client_secret_hash FROM oauth_clients"
SIGNS = ["private_key_jwt"]


@pytest.fixture
def config(dsn, tmp_path):
    return configure(tmp_path, dsn=dsn)


def test_keys_come_from_a_file_or_an_address(dsn, config, tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(key_set()))
    result = invoke(config, *ADD, "--jwks-file", str(path))
    assert (result.exit_code, "client_secret" in result.stdout) == (0, False), result.stderr
    assert postgres.query(dsn, KEPT) == [(SIGNS, key_set(), None, False, None)]
    assert key_set()["keys"][0]["n"] in invoke(config, "client", "show", "robot").stdout
    assert invoke(config, *ADD, "--jwks-uri", PUBLISHED_AT, "--replace").exit_code == 0
    assert postgres.query(dsn, KEPT) == [(SIGNS, None, PUBLISHED_AT, False, None)]
    shown = invoke(config, "client", "show", "robot").stdout
    assert "private_key_jwt" in shown
    assert PUBLISHED_AT in shown
    assert "its own tokens" in shown


def test_a_resource_server_may_ask_about_all_tokens(dsn, config):
    result = invoke(config, *ADD, "--introspection")
    assert (result.exit_code, "client_secret" in result.stdout) == (0, True), result.stderr
    assert [row[3] for row in postgres.query(dsn, KEPT)] == [True]
    assert "tokens of all clients" in invoke(config, "client", "show", "robot").stdout


FILES = {
    "not JSON": ("{", "--jwks-file"),
    "no keys": ("{}", "needs a list of keys"),
    "a private key": (
        json.dumps(key_set(jwk(private_key("ES256"), private=True))),
        "keys.0 has private members",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_set_of_public_keys_is_told_in_words(dsn, config, tmp_path, case):
    text, told = FILES[case]
    path = tmp_path / "keys.json"
    path.write_text(text)
    result = invoke(config, *ADD, "--jwks-file", str(path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr
    assert postgres.query(dsn, KEPT) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--public", "--jwks-uri", PUBLISHED_AT), "use one of --public"),
        (("--secret-stdin", "--jwks-uri", PUBLISHED_AT), "use one of --public"),
        (("--public", "--introspection"), "--introspection is not for public clients"),
        (("--jwks-uri", "http://signing.example/jwks.json"), "--jwks-uri: must be"),
    ],
)
def test_ways_that_exclude_each_other_are_told_in_words(dsn, config, words, told):
    result = invoke(config, *ADD, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr
    assert postgres.query(dsn, KEPT) == []


def test_a_public_client_that_introspects_stops_the_server(dsn, tmp_path):
    client = {"id": "robot", "redirect_uris": [CALLBACK], "introspection": True}
    config = configure(tmp_path, dsn=dsn, oauth={"clients": {"configured": [client]}})
    result = invoke(config, "check")
    assert result.exit_code == 2
    assert "oauth.clients.configured.0: introspection needs a secret" in result.stderr

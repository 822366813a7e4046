"""Redirect URIs are strings, and only the port of a loopback address may differ."""

import pytest
from mutations import LOOPBACK, OF_LOOPBACK, OF_REGISTERED, REGISTERED

from mcpserve.errors import ConfigError
from mcpserve.oauth import clients
from mcpserve.oauth.redirect_uris import host, is_loopback, is_registered, matches, problem
from mcpserve.settings import ClientSettings


def table(cases):
    return pytest.mark.parametrize("uri", list(cases.values()), ids=list(cases))


def settings(uri):
    return ClientSettings(id="client", redirect_uris=(uri,))


@pytest.mark.proves("RU-01")
def test_the_registered_string_matches():
    assert matches(REGISTERED, REGISTERED)


@pytest.mark.proves("RU-01", "RU-05")
@table(OF_REGISTERED)
def test_no_other_spelling_matches(uri):
    assert not is_registered(uri, [REGISTERED])


@pytest.mark.proves("RU-02")
@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("HTTP://LocalHost:80/cb", "http://localhost/cb"),
        ("https://a.example/a/../b", "https://a.example/b"),
        ("https:\\\\evil.example\\cb", "https://evil.example/cb"),
        (" https://a.example/cb", "https://a.example/cb"),
        ("https://a.example", "https://a.example/"),
        ("https://\u00fc.example/cb", "https://xn--tda.example/cb"),
    ],
)
def test_nothing_is_normalised_before_it_is_compared(registered, asked):
    assert not matches(asked, registered)
    assert not matches(registered, asked)
    assert matches(registered, registered)
    assert settings(registered).redirect_uris == (registered,)


@pytest.mark.proves("RU-03")
@pytest.mark.parametrize("registered", LOOPBACK)
@pytest.mark.parametrize("port", ["", ":1", ":80", ":8080", ":65535"])
def test_a_loopback_uri_matches_at_any_port(registered, port):
    asked = registered.replace("/cb", f"{port}/cb")
    assert matches(asked, registered)
    assert matches(registered, asked)
    assert is_loopback(asked)


@pytest.mark.proves("RU-03")
@pytest.mark.parametrize("registered", LOOPBACK)
@table(OF_LOOPBACK)
def test_a_loopback_uri_differs_in_nothing_but_the_port(uri, registered):
    assert not matches(uri, registered)


@pytest.mark.proves("RU-03")
@pytest.mark.parametrize("registered", LOOPBACK)
@pytest.mark.parametrize("asked", LOOPBACK)
def test_the_three_names_of_this_machine_are_three_hosts(asked, registered):
    assert matches(asked, registered) == (asked == registered)


@pytest.mark.proves("RU-03")
def test_the_query_of_a_loopback_uri_is_compared():
    assert matches("http://127.0.0.1:5/cb?a=1", "http://127.0.0.1/cb?a=1")
    assert not matches("http://127.0.0.1:5/cb?a=2", "http://127.0.0.1/cb?a=1")


@pytest.mark.proves("RU-05")
def test_another_host_keeps_its_port():
    assert not matches("https://a.example:2/cb", "https://a.example:1/cb")
    assert not matches("https://a.example/other", "https://a.example/*")


@pytest.mark.proves("RU-06")
@pytest.mark.parametrize(
    "uri",
    [
        REGISTERED,
        "https://client.example:8443/callback?a=1&b=2",
        "https://client.example",
        "https://[2001:db8::1]/cb",
        *LOOPBACK,
        "http://localhost:3000/cb",
        "http://127.0.0.1:5/",
        "com.example.app:/oauth",
        "com.example.app://host/oauth",
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "vscode://vscode.github-authentication/did-authenticate",
    ],
)
def test_it_may_be_registered(uri):
    assert problem(uri) is None


FORBIDDEN = {
    "fragment": "https://client.example/callback#a",
    "empty fragment": "https://client.example/callback#",
    "user": "https://user@client.example/callback",
    "user and password": "https://user:password@client.example/callback",
    "empty user": "https://@client.example/callback",
    "user at a loopback address": "http://user@127.0.0.1/cb",
    "user of a private scheme": "com.example.app://user@host/callback",
    "path only": "/callback",
    "scheme-relative": "//client.example/callback",
    "name only": "client.example/callback",
    "nothing": "",
    "javascript": "javascript:alert(1)",
    "javascript in upper case": "JavaScript:alert(1)",
    "data": "data:text/html,hello",
    "vbscript": "vbscript:x",
    "file": "file:///etc/passwd",
    "about": "about:blank",
    "blob": "blob:https://client.example/1",
    "web socket": "wss://client.example/cb",
    "http": "http://client.example/callback",
    "http at a private address": "http://192.168.1.1/cb",
    "http at a name like localhost": "http://localhost.evil.example/cb",
    "http at a short loopback address": "http://127.1/cb",
    "http at another loopback address": "http://127.0.0.2/cb",
    "scheme without a dot": "myapp://callback",
    "editor that is not named": "emacs://callback",
    "no host": "https:///callback",
    "port only": "https://:443/callback",
    "port that is no number": "https://client.example:port/callback",
    "port that is too high": "https://client.example:65536/callback",
    "port zero": "http://localhost:0/cb",
    "backslash": "https://client.example\\callback",
    "space": "https://client.example/call back",
    "tab": "https://client.example/call\tback",
    "newline": "https://client.example/callback\n",
    "letter that is not ASCII": "https://cli\u00e9nt.example/callback",
    "too long": "https://client.example/" + "a" * 2000,
    "half an address": "https://[::1/callback",
    "half an escape": "https://client.example/%2",
    "quote": 'https://client.example/"><script>',
    "host with an escape": "https://claude.ai%2eevil.example/cb",
    "host with a semicolon": "https://claude.ai;x=.evil.example/cb",
    "host with a comma": "https://claude.ai,evil.example/cb",
    "a code of its own": "https://client.example/cb?code=x",
    "an issuer of its own": "https://client.example/cb?a=1&iss=https://as.example",
    "an issuer of its own, escaped": "https://client.example/cb?%69ss=https://as.example",
    "a state of its own": "com.example.app:/cb?state=x",
    "an error of its own": "https://client.example/cb?error=access_denied",
}


@pytest.mark.proves("RU-06")
@table(FORBIDDEN)
def test_it_may_not_be_registered(uri):
    assert problem(uri)
    with pytest.raises(ConfigError, match=r"oauth\.clients\.configured\.0\.redirect_uris: "):
        clients.validate([settings(uri)])


@pytest.mark.proves("CO-01")
@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://client.example/callback?a=1", "client.example"),
        ("https://client.example:8443/callback", "client.example:8443"),
        ("http://127.0.0.1:5/cb", "127.0.0.1:5"),
        ("http://[::1]:5/cb", "[::1]:5"),
        ("com.example.app:/oauth", "com.example.app:"),
        ("cursor://anysphere.cursor-mcp/oauth", "cursor:"),
    ],
)
def test_a_person_reads_where_the_answer_goes(uri, shown):
    assert host(uri) == shown

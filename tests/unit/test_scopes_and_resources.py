"""Scopes and resource indicators: what a request may ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpserve.errors import InvalidScope, InvalidTarget
from mcpserve.oauth import resources, scopes
from mcpserve.oauth.scopes import Scopes
from mcpserve.tools import CALL_SCOPE

RESOURCE = "https://mcp.example.org/mcp"
KNOWN = Scopes.of({"weather.read": "Read the weather"}, ["weather.write"])
GRANTED = frozenset({"a", "b", "c"})


@pytest.mark.proves("RI-02")
@pytest.mark.parametrize(
    "asked",
    [
        RESOURCE,
        RESOURCE + "/",
        "HTTPS://MCP.Example.ORG/mcp",
        "https://mcp.example.org",
        "https://mcp.example.org/",
    ],
)
def test_a_resource_is_kept_in_our_own_spelling(asked):
    assert resources.canonical((asked,), RESOURCE) == RESOURCE


@pytest.mark.proves("RI-03")
def test_no_resource_means_ours():
    assert resources.canonical((), RESOURCE) == RESOURCE


@pytest.mark.proves("RI-01")
@pytest.mark.parametrize(
    "asked",
    [
        "",
        "/mcp",
        "mcp.example.org/mcp",
        "//mcp.example.org/mcp",
        "https:/mcp.example.org/mcp",
        "https:mcp.example.org/mcp",
        RESOURCE + "#",
        RESOURCE + "#part",
        "https://mcp.example.org#",
        "urn:mcp",
    ],
)
def test_a_resource_is_an_absolute_uri_without_fragment(asked):
    with pytest.raises(InvalidTarget):
        resources.canonical((asked,), RESOURCE)


@pytest.mark.proves("RI-02")
@pytest.mark.parametrize(
    "asked",
    [
        "https://mcp.example.org/MCP",
        "https://mcp.example.org//mcp",
        RESOURCE + "//",
        RESOURCE + "/x",
        RESOURCE + "x",
        RESOURCE + "?",
        RESOURCE + "?a=b",
        RESOURCE + "%2F",
        " " + RESOURCE,
        RESOURCE + " ",
        "https://mcp.example.org/./mcp",
        "http://mcp.example.org/mcp",
        "https://mcp.example.org:444/mcp",
        "https://user@mcp.example.org/mcp",
        "https://mcp.example.org.evil.example/mcp",
        "https://evil.example/mcp",
        "https://evil.example/" + RESOURCE,
        "https://mcp.example.org\\/mcp",
        "https://mcp\t.example.org/mcp",
        "https://mcp.examp\u2113e.org/mcp",
        "https://[/mcp",
        "\x00" + RESOURCE,
    ],
)
def test_any_other_resource_is_refused(asked):
    with pytest.raises(InvalidTarget):
        resources.canonical((asked,), RESOURCE)


@pytest.mark.proves("RI-02")
@pytest.mark.parametrize("resource", ["https://t/mcp", "http://http/mcp", "http://[::1]:3000/mcp"])
def test_the_host_may_have_any_name(resource):
    for asked in (resource, resource.upper().replace("/MCP", "/mcp")):
        assert resources.canonical((asked,), resource) == resource


@pytest.mark.proves("RI-01", "AZ-R9")
@pytest.mark.parametrize("second", [RESOURCE, "https://evil.example/mcp"])
def test_one_resource_at_a_time(second):
    with pytest.raises(InvalidTarget):
        resources.canonical((RESOURCE, second), RESOURCE)


@pytest.mark.proves("RI-01")
@given(st.text(max_size=40) | st.text(max_size=10).map(lambda end: RESOURCE + end))
def test_a_random_resource_is_never_ours(asked):
    assert resources.means(asked, RESOURCE) is (asked in (RESOURCE, RESOURCE + "/"))


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        (None, set()),
        ("", set()),
        ("offline_access", {"offline_access"}),
        ("weather.write weather.read", {"weather.read", "weather.write"}),
        ("weather.read weather.read", {"weather.read"}),
        ("openid profile email address phone", {"openid", "profile", "email"}),
        ("openid weather.read", {"openid", "weather.read"}),
        ("address phone", set()),
    ],
)
def test_what_a_scope_parameter_asks_for(asked, meant):
    assert KNOWN.parse(asked) == meant


@pytest.mark.parametrize(
    ("candidates", "meant"),
    [
        ((), {CALL_SCOPE}),
        (((), []), {CALL_SCOPE}),
        ((["weather.read"],), {"weather.read"}),
        ((["gone"], ["weather.read", "gone"]), {"weather.read"}),
        ((["weather.write"], ["weather.read"]), {"weather.write"}),
        ((["gone"],), {CALL_SCOPE}),
        ((["openid", "email"], ["weather.read"]), {"weather.read"}),
        ((["openid", "offline_access"],), {CALL_SCOPE}),
        ((["offline_access"],), {"offline_access"}),
        ((["openid", "weather.read", "gone"],), {"openid", "weather.read"}),
    ],
)
def test_what_is_usual_is_the_first_that_names_some_access(candidates, meant):
    assert KNOWN.usual(*candidates) == meant


@pytest.mark.parametrize(
    ("granted", "asked", "meant"),
    [
        ("weather.read", CALL_SCOPE, "weather.read"),
        ("gone", CALL_SCOPE, CALL_SCOPE),
        ("weather.read email", CALL_SCOPE, "weather.read email"),
        ("weather.read email", f"openid profile {CALL_SCOPE}", "weather.read openid profile"),
        (
            "weather.read",
            f"openid offline_access {CALL_SCOPE}",
            "weather.read openid offline_access",
        ),
        ("openid email", f"openid {CALL_SCOPE}", f"openid {CALL_SCOPE}"),
    ],
)
def test_what_was_granted_last_adds_nothing_to_who_the_person_is(granted, asked, meant):
    given_ = KNOWN.as_last_time(frozenset(granted.split()), frozenset(asked.split()))
    assert given_ == set(meant.split())


@pytest.mark.parametrize("asked", ["unknown", "weather.read unknown", "Weather.read", "OPENID"])
def test_an_unknown_scope_is_refused(asked):
    with pytest.raises(InvalidScope):
        KNOWN.parse(asked)


MALFORMED = [" ", " a", "a ", "a  b", "a\tb", 'a"', "a\\b", "é", "a\x7f", "a\n", "a\u00a0b"]


@pytest.mark.parametrize("scope", MALFORMED)
def test_a_malformed_scope_is_refused_everywhere(scope):  # RFC 6749 section 3.3
    with pytest.raises(InvalidScope):
        scopes.split(scope)
    with pytest.raises(InvalidScope):
        KNOWN.parse(scope)
    with pytest.raises(InvalidScope):
        scopes.narrowed(GRANTED, scope)


def test_every_printable_character_but_two_may_be_in_a_scope():  # RFC 6749 section 3.3
    word = "".join(chr(number) for number in range(0x21, 0x7F) if chr(number) not in '"\\')
    assert scopes.split(word) == {word}


@pytest.mark.proves("RF-06")
@pytest.mark.parametrize(
    ("asked", "given_"),
    [
        (None, GRANTED),
        ("", GRANTED),
        ("a", {"a"}),
        ("c a", {"a", "c"}),
        ("c b a", GRANTED),
        ("openid", GRANTED),
        ("openid b", {"b"}),
    ],
)
def test_a_refresh_may_ask_for_less(asked, given_):
    assert scopes.narrowed(GRANTED, asked) == given_


@pytest.mark.proves("RF-06")
@pytest.mark.parametrize(
    ("asked", "given_"),
    [
        ("openid", {"openid", "a", "b"}),
        ("openid profile email", {"openid", "email", "a", "b"}),
        ("openid offline_access", {"openid", "offline_access", "a", "b"}),
        ("email a", {"email", "a"}),
        ("phone", {"openid", "email", "offline_access", "a", "b"}),
        ("profile", {"a", "b"}),
    ],
)
def test_a_refresh_out_of_habit_keeps_all_access(asked, given_):
    granted = frozenset({"openid", "email", "offline_access", "a", "b"})
    assert scopes.narrowed(granted, asked) == given_


@pytest.mark.proves("RF-06")
@pytest.mark.parametrize("asked", ["d", "a b c d", "a d", "A", "offline_access", "openid d"])
def test_a_refresh_may_not_ask_for_more(asked):
    with pytest.raises(InvalidScope):
        scopes.narrowed(GRANTED, asked)


words = st.text("abc:./-_", min_size=1, max_size=5)


@pytest.mark.proves("RF-06")
@given(st.frozensets(words, min_size=1), st.lists(words, max_size=5))
def test_narrowing_never_widens(granted, asked):
    try:
        narrowed = scopes.narrowed(granted, " ".join(asked))
    except InvalidScope:
        assert not granted.issuperset(asked)
    else:
        assert narrowed == (frozenset(asked) or granted)
        assert narrowed <= granted


@given(st.frozensets(words))
def test_what_is_joined_is_split_again(granted):
    assert scopes.split(scopes.join(granted)) == granted

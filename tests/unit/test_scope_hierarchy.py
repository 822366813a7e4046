"""Scopes that include others: the closure, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpserve.errors import ConfigError
from mcpserve.oauth.scopes import Scopes, closure

KNOWN = {scope: scope for scope in "abcdef"}

edges = st.sets(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=12)


def effective(implies, *scopes):
    """Return what these scopes are worth."""
    return Scopes.of(KNOWN, [], implies).effective(frozenset(scopes))


@pytest.mark.parametrize(
    ("implies", "scopes", "worth"),
    [
        ({}, "ab", "ab"),
        ({"a": "b"}, "a", "ab"),
        ({"a": "b"}, "b", "b"),
        ({"a": "b", "b": "c"}, "a", "abc"),
        ({"c": "d", "b": "c", "a": "b"}, "a", "abcd"),
        ({"a": "bc", "b": "d", "c": "d"}, "a", "abcd"),
        ({"a": "b", "c": "d"}, "ac", "abcd"),
        ({"a": ""}, "a", "a"),
        ({"a": "b"}, "", ""),
        ({"a": "b"}, "az", "abz"),
    ],
)
def test_a_scope_is_worth_itself_and_all_that_it_includes(implies, scopes, worth):
    assert effective(implies, *scopes) == set(worth)


@pytest.mark.parametrize(
    ("implies", "path"),
    [
        ({"a": "a"}, "a"),
        ({"a": "b", "b": "a"}, "a"),
        ({"f": "a", "a": "b", "b": "c", "c": "a"}, "a"),
        ({"a": ["z"]}, "a"),
        ({"z": "a"}, "z"),
        ({"a": "b", "b": ["phone"]}, "b"),
        # Who a person is, nobody learns whom the person was not asked about.
        ({"a": ["openid"]}, "a"),
        ({"a": "b", "b": ["c", "email"]}, "b"),
        ({"a": ["profile"]}, "a"),
    ],
)
def test_what_cannot_be_included_is_refused_with_its_key(implies, path):
    with pytest.raises(ConfigError) as caught:
        Scopes.of(KNOWN, [], implies)
    assert str(caught.value).startswith(f"oauth.scope_implies.{path}: ")


def test_scopes_that_are_built_in_or_that_plugins_need_are_known():
    scopes = Scopes.of({}, ["needed"], {"needed": ["mcp.tools.call"]})
    assert scopes.effective(frozenset({"needed"})) == {"needed", "mcp.tools.call"}


@given(edges)
def test_the_closure_is_what_can_be_reached(pairs):
    implies = {broad: [b for a, b in pairs if a == broad] for broad in {a for a, _ in pairs}}
    reached = {}
    for broad, narrow in implies.items():
        seen, todo = set(), [*narrow]
        while todo:
            if (scope := todo.pop()) not in seen:
                seen.add(scope)
                todo += implies.get(scope, [])
        reached[broad] = seen
    if any(broad in seen for broad, seen in reached.items()):
        with pytest.raises(ConfigError):
            closure(implies, KNOWN)
    else:
        assert closure(implies, KNOWN) == reached

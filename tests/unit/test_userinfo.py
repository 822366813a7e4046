"""What a client may know of its person, by the scopes that were granted."""

import pytest

from mcpserve.oauth import userinfo
from mcpserve.principal import User

ALICE = User("0b9d", "alice", "alice@example.org", email_verified=True)
SUB = {"sub": "0b9d"}
NAMED = {"name": "alice", "preferred_username": "alice"}
REACHED = {"email": "alice@example.org", "email_verified": True}


@pytest.mark.parametrize(
    ("scopes", "claims"),
    [
        ("openid", SUB),
        ("openid profile", SUB | NAMED),
        ("openid email", SUB | REACHED),
        ("openid profile email", SUB | NAMED | REACHED),
        ("openid mcp.tools.call offline_access address phone Profile Email", SUB),
    ],
)
def test_each_scope_opens_its_own_claims(scopes, claims):
    assert userinfo.claims(userinfo.known_by(ALICE, frozenset(scopes.split()))) == claims


def test_nothing_is_told_of_an_address_that_is_not_there_or_not_allowed():
    nobody = userinfo.known_by(User("0b9d", "alice"), frozenset({"email"}))
    assert nobody == User("0b9d")
    assert userinfo.known_by(ALICE, frozenset({"profile"})) == User("0b9d", "alice")


def test_an_address_that_nobody_vouches_for_is_told_as_such():
    user = User("0b9d", "alice", "alice@example.org", email_verified=False)
    claims = userinfo.claims(userinfo.known_by(user, frozenset({"email"})))
    assert claims["email_verified"] is False

"""What is derived with a key, and what a key tells of itself."""

import pytest
from pydantic import SecretStr

from mcpserve import crypto
from mcpserve.oauth.grants import TokenPair
from mcpserve.oauth.keys import KeyRing

PARENT = {"parent": "mcps_rt_old", "salt": b"s" * 16, "key": b"k" * 32}


def derive(**changes):
    values = PARENT | changes
    return TokenPair.derive(values["parent"], salt=values["salt"], key=values["key"])


@pytest.mark.proves("CC-02", "SE-04")
@pytest.mark.parametrize(
    "change", [{"parent": "mcps_rt_odd"}, {"salt": b"t" * 16}, {"key": b"l" * 32}]
)
def test_a_successor_takes_the_token_the_salt_and_the_key(change):
    one, other = derive(), derive(**change)
    assert derive() == one
    assert len({one.access[8:], one.refresh[8:], other.access[8:], other.refresh[8:]}) == 4


@pytest.mark.proves("TK-03")
def test_a_derived_token_looks_like_any_other():
    derived, made = derive(), TokenPair.generate()
    for one, other in ((derived.access, made.access), (derived.refresh, made.refresh)):
        assert (one[:8], len(one)) == (other[:8], len(other))


@pytest.mark.proves("SE-01")
def test_a_ring_names_its_keys_and_shows_none():
    keys = ["first-" * 6, "second-" * 6]
    ring = KeyRing.of(map(SecretStr, keys))
    assert list(ring.secrets) == [crypto.key_id(key.encode()) for key in keys]
    assert list(ring.secrets.values()) == [key.encode() for key in keys]
    assert "first" not in f"{ring!r} {ring}"

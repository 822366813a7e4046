"""Small parsers of parameters and headers: scopes, resources, lifetimes, addresses, hosts."""

import ipaddress
import re
from contextlib import suppress
from datetime import timedelta

import pytest
from fuzz.nasty import fuzz, nasty, spoiled
from hypothesis import example
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPInputError

from mcpserve import ratelimit, text
from mcpserve.errors import InvalidScope, InvalidTarget
from mcpserve.fetch import MAX_AGE, lifetime
from mcpserve.oauth import resources, scopes
from mcpserve.oauth.scopes import LEFT_OUT, Scopes
from mcpserve.setting_types import SCOPE
from mcpserve.web.mcp import accepted
from mcpserve.web.network import client_address, host_is_allowed, origin_is_allowed
from mcpserve.web.pages import prefers_json

RESOURCE = "https://mcp.example/mcp"
KNOWN = Scopes.of({"extra": "More"}, [])
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
ADDRESSES = ("203.0.113.7", "10.0.0.1", "::1", "2001:db8::1", "::ffff:10.0.0.1", "fe80::1%eth0")
TRUSTED = ["10.0.0.0/8", "::1"]


@fuzz(scope=st.none() | spoiled(st.just("mcp.tools.call offline_access openid phone extra")))
@example(scope="mcp.tools.call  extra")
@example(scope=" ")
@example(scope="mcp.tools.call\u00a0extra")
@example(scope="extra\t")
@example(scope="a " * 20_000)
def test_a_scope_is_known_or_refused(scope):
    try:
        asked = KNOWN.parse(scope)
    except InvalidScope:
        words = (scope or "").split(" ")
        known = KNOWN.texts.keys() | LEFT_OUT
        assert not all(SCOPE.fullmatch(word) and word in known for word in words)
        return
    assert asked <= KNOWN.texts.keys()
    assert scopes.split(scopes.join(asked)) == asked


@pytest.mark.proves("RF-06")
@fuzz(granted=st.sets(st.sampled_from(sorted(KNOWN.texts))), scope=spoiled(st.just("extra openid")))
def test_a_refresh_never_gets_more_than_was_granted(granted, scope):
    try:
        assert scopes.narrowed(frozenset(granted), scope) <= granted
    except InvalidScope:
        assert scope


@fuzz(asked=st.lists(spoiled(st.just(RESOURCE)) | nasty, max_size=2).map(tuple), examples=80)
@example(asked=("HTTPS://MCP.example/mcp/",))
@example(asked=("https://mcp.example",))
@example(asked=("https://mcp.example//",))
@example(asked=("https://mcp.example/mcp#",))
@example(asked=("https://mcp.example/mcp?",))
@example(asked=("https://mcp.example/MCP",))
@example(asked=("https://mcp.example\n/mcp",))
@example(asked=("https://mcp.example:443/mcp",))
@example(asked=("https://[",))
def test_only_our_resource_is_granted(asked):
    try:
        found = resources.canonical(asked, RESOURCE)
    except InvalidTarget:
        return
    assert found == RESOURCE
    assert not asked or re.fullmatch(r"(?i:https://mcp\.example)(/|/mcp/?)?", asked[0])


@fuzz(
    headers=st.lists(
        st.tuples(
            st.sampled_from(["Cache-Control", "Age", "Expires", "Date"]),
            spoiled(st.sampled_from(["max-age=60", 'public, max-age="60"', "no-store", "5", DATE])),
        ),
        max_size=5,
    ),
    examples=80,
)
@example(headers=[("Cache-Control", "max-age=" + "9" * 5000)])
@example(headers=[("Cache-Control", "max-age=-1")])
@example(headers=[("Cache-Control", "max-age=1e999")])
@example(headers=[("Cache-Control", "max-age=٣")])
@example(headers=[("Cache-Control", "max-age=60"), ("Age", "9" * 5000)])
@example(headers=[("Expires", DATE.replace("1994", "9999")), ("Date", DATE.replace("1994", "1"))])
@example(headers=[("Expires", DATE.replace("1994", "0001")), ("Date", DATE)])
@example(headers=[("Expires", "0")])
@example(headers=[("Expires", DATE)])
def test_a_lifetime_is_unknown_or_within_limits(headers):
    collected = HTTPHeaders()
    for name, value in headers:
        with suppress(HTTPInputError):  # What no answer can carry.
            collected.add(name, value)
    found = lifetime(collected)
    assert found is None or timedelta(0) <= found
    if "max-age" in collected.get("Cache-Control", ""):
        assert found is None or found <= timedelta(days=365 * 10_000, seconds=MAX_AGE)


def is_ours(address):
    """Whether an address is that of a proxy."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in ipaddress.ip_network(network) for network in TRUSTED)


@pytest.mark.proves("RL-05")
@fuzz(
    peer=st.sampled_from(ADDRESSES) | nasty,
    forwarded=st.lists(
        spoiled(st.lists(st.sampled_from(ADDRESSES), max_size=3).map(", ".join)), max_size=2
    ),
    examples=80,
)
@example(peer="10.0.0.1", forwarded=["1.2.3.4, 10.0.0.2"])
@example(peer="10.0.0.1", forwarded=["6.6.6.6, 1.2.3.4"])
@example(peer="10.0.0.1", forwarded=["6.6.6.6", "1.2.3.4"])
@example(peer="1.2.3.4", forwarded=["6.6.6.6"])
@example(peer="10.0.0.1", forwarded=[""])
@example(peer="10.0.0.1", forwarded=[",,,"])
@example(peer="10.0.0.1", forwarded=["unknown"])
@example(peer="10.0.0.1", forwarded=["[2001:db8::1]:80"])
@example(peer="10.0.0.1", forwarded=["fe80::1%\0"])
@example(peer="10.0.0.1", forwarded=["10.0.0.1," * 10_000])
@example(peer="10.0.0.1", forwarded=["010.0.0.1"])
def test_an_address_is_that_of_the_nearest_stranger(peer, forwarded):
    found = client_address(peer, forwarded, TRUSTED)
    hops = [peer, *(hop.strip() for hop in ",".join(forwarded).split(",")[::-1] if forwarded)]
    assert found in hops
    assert all(map(is_ours, hops[: hops.index(found)]))
    assert not is_ours(found) or all(map(is_ours, hops))
    counted = ratelimit.network(found)
    assert counted == "unknown" or ipaddress.ip_network(counted)


@fuzz(host=spoiled(st.sampled_from(["localhost:3000", "mcp.example", "[::1]:80", "127.0.0.1"])))
@example(host="")
@example(host=":")
@example(host="localhost.evil.example")
@example(host="evil.example:localhost")
@example(host="mcp.example:80")
@example(host="[::1")
@example(host="localhost@evil.example")
def test_only_our_own_hosts_are_ours(host):
    allowed = host_is_allowed(host, "mcp.example", ["other.example"])
    local = re.fullmatch(r"(?is)(localhost|127\.0\.0\.1|\[::1\])(:[^:]*)?", host)
    assert allowed == (bool(local) or host.lower() in ("mcp.example", "other.example"))


@fuzz(origin=spoiled(st.sampled_from(["https://mcp.example", "http://localhost:3000", "null"])))
@example(origin="http://[")
@example(origin="http://127.0.0.1:3000")
def test_only_our_own_origins_are_ours(origin):
    assert origin_is_allowed(origin, RESOURCE[:-4], []) == (origin == RESOURCE[:-4])
    local = {f"http://{name}:3000" for name in ("localhost", "127.0.0.1", "[::1]")}
    assert origin_is_allowed(origin, "http://localhost:3000", []) == (origin in local)


@fuzz(accept=st.none() | spoiled(st.just("application/json, text/event-stream;q=0.9, */*")))
def test_any_accept_header_can_be_read(accept):
    assert isinstance(accepted(accept).json, bool)
    assert prefers_json(accept or "") in (True, False)


@fuzz(name=nasty)
def test_a_cleaned_name_is_short_and_pretends_nothing(name):
    cleaned = text.clean(name)
    assert 0 < len(cleaned) <= 100
    assert cleaned.isprintable()

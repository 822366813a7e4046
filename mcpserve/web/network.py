"""Who is at the other end: an address behind trusted proxies, a host name, an origin."""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def client_address(peer: str, forwarded_for: Iterable[str], trusted: Iterable[str]) -> str:
    """Return the address nearest to us that is not one of our proxies.

    ``forwarded_for`` are the ``X-Forwarded-For`` headers; they are believed only as far as
    trusted proxies wrote them.
    """
    networks = [ipaddress.ip_network(network, strict=False) for network in trusted]
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
    address = peer
    while hops and _is_in(address, networks):
        address = hops.pop()
    return address


def _is_in(address: str, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in networks)


def host_is_allowed(host: str, public_host: str, allowed: Iterable[str]) -> bool:
    """Whether a ``Host`` header is ours: no page of another site can make a browser send it.

    A local name may have any port, since no foreign page has a local name.
    """
    lowered = host.lower()
    name = lowered.rpartition(":")[0] if not lowered.endswith("]") and ":" in lowered else lowered
    return name in LOCAL_NAMES or lowered in {
        public_host.lower(),
        *(entry.lower() for entry in allowed),
    }


def origin_is_allowed(origin: str, issuer: str, allowed: Iterable[str]) -> bool:
    """Whether an ``Origin`` header may use the MCP endpoint; ``null`` never may."""
    if origin in {issuer, *allowed}:
        return True
    # A server that is on this machine only goes by any name of it.
    own = urlsplit(issuer)
    port = f":{own.port}" if own.port else ""
    local = {f"{own.scheme}://{name}{port}" for name in LOCAL_NAMES}
    return issuer in local and origin in local

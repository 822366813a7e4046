"""Counting failures, shared by all processes through PostgreSQL.

Successes never count, but for uses without a login: there each is counted as a failure.
"""

import functools
import ipaddress
from dataclasses import dataclass

from mcpserve.crypto import digest
from mcpserve.db import Queryable
from mcpserve.errors import RateLimited
from mcpserve.settings import LimitSettings

IPV6_NETWORK = 64
"""One household or host of IPv6 is a /64, so that is what is counted."""


@dataclass(frozen=True)
class Limit:
    """A named limit: so many failures of one key in a window that begins with the first."""

    name: str
    settings: LimitSettings
    factor: int = 1
    """How many times the configured failures are allowed."""
    refusal: str = "there were too many failures, wait"
    """What is told when there were more."""

    @property
    def failures(self) -> int:
        """Failures that are allowed in a window."""
        return self.settings.failures * self.factor

    def key(self, *parts: str) -> bytes:
        """Return what the table knows a key by; of bounded size, whatever the parts are."""
        return digest("\0".join((self.name, *parts)))

    async def check(self, db: Queryable, *parts: str) -> None:
        """Raise :class:`~mcpserve.errors.RateLimited` if the key has used up its failures."""
        row = await db.row(
            """SELECT failures, ceil(extract(epoch FROM expires_at - clock_timestamp()))::integer
                      AS seconds
               FROM rate_limits WHERE digest = %(key)s AND expires_at > clock_timestamp()""",
            key=self.key(*parts),
        )
        if row is not None and row.failures >= self.failures:
            raise RateLimited(row.seconds, self.refusal)

    async def fail(self, db: Queryable, *parts: str) -> None:
        """Count a failure; raise :class:`~mcpserve.errors.RateLimited` if there were too many."""
        row = await db.row(
            """INSERT INTO rate_limits AS old (digest, failures, expires_at)
               VALUES (%(key)s, 1, clock_timestamp() + %(window)s)
               ON CONFLICT (digest) DO UPDATE SET
                   failures = CASE WHEN old.expires_at > clock_timestamp()
                                   THEN old.failures + 1 ELSE 1 END,
                   expires_at = CASE WHEN old.expires_at > clock_timestamp()
                                     THEN old.expires_at ELSE excluded.expires_at END
               RETURNING failures,
                   ceil(extract(epoch FROM expires_at - clock_timestamp()))::integer AS seconds""",
            key=self.key(*parts),
            window=self.settings.window,
        )
        if row is not None and row.failures > self.failures:
            raise RateLimited(row.seconds, self.refusal)

    async def forget(self, db: Queryable, *parts: str) -> None:
        """Begin anew after a success."""
        await db.execute("DELETE FROM rate_limits WHERE digest = %(key)s", key=self.key(*parts))

    async def give_back(self, db: Queryable, *parts: str) -> None:
        """Take back a failure that was counted in advance and turned out a success."""
        await db.execute(
            """UPDATE rate_limits SET failures = failures - 1
               WHERE digest = %(key)s AND failures > 0""",
            key=self.key(*parts),
        )


@functools.lru_cache(maxsize=1024)
def network(address: str) -> str:
    """Return what is counted of an address: all of IPv4, the /64 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, IPV6_NETWORK), strict=False))
    return str(parsed)

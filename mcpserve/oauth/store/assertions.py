"""The table ``oauth_client_assertions``: what clients have signed to prove who they are."""

from datetime import timedelta

from mcpserve.db import Transaction

LONGEST = timedelta(minutes=10)
"""How long an assertion may be good."""
SKEW = timedelta(minutes=1)
"""How far the clock of a client may be ahead."""


async def use(
    tx: Transaction, digest: bytes, *, expires: float, issued: float, not_before: float
) -> bool:
    """Use up an assertion; its times are in seconds since 1970 (RFC 7519 §2).

    ``False`` if it was used before, has expired, is not good yet or would be for too long. Clock
    and uniqueness are judged by one statement, so of many at once only one is told ``True``.
    """
    used = await tx.execute(
        """INSERT INTO oauth_client_assertions (digest, expires_at)
           SELECT %(digest)s, to_timestamp(%(expires)s) + %(skew)s
           FROM clock_timestamp() AS now
           WHERE to_timestamp(%(expires)s) > now
             AND to_timestamp(%(expires)s) <= greatest(now, to_timestamp(%(issued)s)) + %(longest)s
             AND greatest(to_timestamp(%(issued)s), to_timestamp(%(not_before)s)) <= now + %(skew)s
           ON CONFLICT DO NOTHING""",
        digest=digest,
        expires=expires,
        issued=issued,
        not_before=not_before,
        longest=LONGEST,
        skew=SKEW,
    )
    return bool(used)

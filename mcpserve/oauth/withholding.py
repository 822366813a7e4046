"""Narrowing what a client may do, and widening it again, tool by tool.

A grant remembers the tools that were not allowed and not the allowed ones: what a plugin adds later
is covered by its scope. A change holds from the next call on. What runs then runs on.
"""

from mcpserve import audit
from mcpserve.audit import Event
from mcpserve.db import Database, Transaction
from mcpserve.errors import UsageError
from mcpserve.oauth.store import grants
from mcpserve.oauth.store.grants import LockedGrant


async def save(
    db: Database,
    grant_id: str,
    *,
    user_id: str,
    before: frozenset[str],
    withheld: frozenset[str],
) -> bool:
    """Withhold these tools of a grant for its person, who saw that it was those ``before``.

    ``False``, and nothing changes, if the grant is not theirs, not active, or meanwhile another.
    """
    async with db.transaction() as tx:
        grant = await grants.lock(tx, grant_id)
        if grant is None or grant.user_id != user_id or grant.state != "active":
            return False
        if grant.withheld_tools != before:
            return False
        await _change(tx, grant_id, grant, withheld, by="person")
        return True


async def change(
    db: Database, grant_id: str, *, withhold: frozenset[str], allow: frozenset[str]
) -> None:
    """Withhold some tools of a grant for an operator, and allow others again.

    Raises :class:`~mcpserve.errors.UsageError` if there is no such active grant.
    """
    async with db.transaction() as tx:
        grant = await grants.lock(tx, grant_id)
        if grant is None or grant.state != "active":
            raise UsageError(f"there is no active grant {grant_id!r}, see: mcpserve grant list")
        await _change(tx, grant_id, grant, (grant.withheld_tools - allow) | withhold, by="operator")


async def _change(
    tx: Transaction, grant_id: str, grant: LockedGrant, withheld: frozenset[str], *, by: str
) -> None:
    if withheld == grant.withheld_tools:
        return
    await grants.withhold(tx, grant_id, withheld)
    await audit.record(
        tx,
        Event.GRANT_TOOLS_CHANGED,
        grants=[grant_id],
        withheld_tools=sorted(withheld),
        by=by,
    )

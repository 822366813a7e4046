"""Another process on the same database: it does what it is told, a line of JSON at a time.

``[dsn, name of one of the acts, [number, …]]`` does the action to all these numbers at once and
answers with a list of what came of each.
"""

import asyncio
import json
import sys
from typing import Any

from store import acts, lab

from mcpserve.errors import OAuthError


def told(result: Any) -> Any:
    """Return a result as JSON can carry it: errors by their names."""
    if isinstance(result, OAuthError):
        return type(result).__name__
    return repr(result) if isinstance(result, BaseException) else result


async def work() -> None:
    """Serve until the input ends."""
    loop = asyncio.get_running_loop()
    line = await loop.run_in_executor(None, sys.stdin.readline)
    while line:
        dsn = json.loads(line)[0]
        async with lab.opened(dsn, pool_size=20) as db:
            while line and json.loads(line)[0] == dsn:
                _, name, numbers = json.loads(line)
                calls = [lab.outcome(getattr(acts, name)(db, number)) for number in numbers]
                results = await asyncio.gather(*calls, return_exceptions=True)
                print(json.dumps([told(result) for result in results]), flush=True)
                line = await loop.run_in_executor(None, sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(work())

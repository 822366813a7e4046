"""The limit: a Tornado handler that reads and writes JSON, with one query by aiopg or with none.

It knows no protocol, so what mcpserve does beyond this is what MCP and OAuth cost.
"""

import asyncio
import hashlib
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import aiopg
from tornado.web import Application, HTTPError, RequestHandler

LOOKUP = Path(__file__).with_name("lookup.sql").read_text()
LOOKUP = LOOKUP.replace("$1", "%s").replace("$2", "%s")
PORT = int(os.environ["PORT"])
RESOURCE = f"http://127.0.0.1:{PORT}/mcp"


class Add(RequestHandler):
    """Answers any call as if it were one of ``add``."""

    def initialize(self, pool: Any) -> None:
        """Take the pool, if there is one."""
        self._pool = pool

    async def post(self) -> None:
        """Check the token and add."""
        if self._pool is not None:
            await self._authenticate()
        request = json.loads(self.request.body)
        arguments = request["params"]["arguments"]
        text = str(arguments["a"] + arguments["b"])
        result = {"content": [{"type": "text", "text": text}], "isError": False}
        self.write({"jsonrpc": "2.0", "id": request["id"], "result": result})

    async def _authenticate(self) -> None:
        _, _, token = self.request.headers.get("Authorization", "").partition(" ")
        digest = hashlib.sha256(token.encode()).digest()
        with await self._pool.cursor() as cursor:
            await cursor.execute(LOOKUP, (digest, RESOURCE))
            row = await cursor.fetchone()
        if row is None:
            raise HTTPError(401)
        if "mcp.tools.call" not in row[2]:
            raise HTTPError(403)


async def main() -> None:
    """Serve until SIGTERM."""
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    url = os.environ.get("DATABASE_URL")
    pool = (
        await aiopg.create_pool(url, minsize=10, maxsize=10, enable_hstore=False) if url else None
    )
    server = Application([("/mcp", Add, {"pool": pool})]).listen(PORT, "127.0.0.1")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.stop()
    if pool is not None:
        pool.terminate()
        await pool.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())

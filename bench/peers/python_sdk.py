"""The official Python SDK on uvicorn, its bearer middleware, tokens looked up by asyncpg."""

import asyncio
import hashlib
import os
from pathlib import Path

import asyncpg
import uvicorn
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from pydantic import AnyHttpUrl

LOOKUP = Path(__file__).with_name("lookup.sql").read_text()
PORT = int(os.environ["PORT"])
ISSUER = f"http://127.0.0.1:{PORT}"
RESOURCE = f"{ISSUER}/mcp"


class Tokens:
    """Asks PostgreSQL about every token."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return what the token stands for, unless it counts no more."""
        digest = hashlib.sha256(token.encode()).digest()
        row = await self._pool.fetchrow(LOOKUP, digest, RESOURCE)
        if row is None:
            return None
        return AccessToken(
            token=token,
            client_id=row["client_id"],
            subject=row["user_id"],
            scopes=row["scopes"],
            expires_at=int(row["expires_at"]),
            resource=row["resource"],
        )


async def main() -> None:
    """Serve until SIGTERM."""
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=10) as pool:
        server = MCPServer(
            "bench",
            token_verifier=Tokens(pool),
            auth=AuthSettings(
                issuer_url=AnyHttpUrl(ISSUER),
                resource_server_url=AnyHttpUrl(RESOURCE),
                required_scopes=["mcp.tools.call"],
            ),
            log_level="WARNING",
        )

        @server.tool(structured_output=False)
        async def add(a: int, b: int) -> str:
            """Add two numbers."""
            return str(a + b)

        app = server.streamable_http_app(json_response=True, stateless_http=True)
        config = uvicorn.Config(app, port=PORT, log_level="warning", access_log=False)
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    uvloop_or_not = uvicorn.Config(None, loop="auto").get_loop_factory()
    with asyncio.Runner(loop_factory=uvloop_or_not) as runner:
        runner.run(main())

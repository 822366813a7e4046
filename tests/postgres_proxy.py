"""A network between the program and PostgreSQL that a test breaks at the moment of its choice."""

import asyncio
from contextlib import asynccontextmanager, suppress

from psycopg2.extensions import make_dsn, parse_dsn


@asynccontextmanager
async def proxy(dsn):
    """Yield a listening Proxy for the server of ``dsn``."""
    network = Proxy(dsn)
    await network.start()
    try:
        yield network
    finally:
        await network.stop()


class Proxy:
    """Forwards connections; a program reaches the database through ``dsn``."""

    def __init__(self, dsn):
        self._target = dsn
        self._port = 0
        self._server = None
        self._handlers = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.connections = 0
        self.sent = b""
        """All that was sent to the server, over all connections."""
        self.cut_before = None
        """Hang up instead of forwarding what contains this, once."""
        self.cut_after = None
        """Hang up instead of returning the answer to what contains this, once."""

    @property
    def dsn(self):
        """The same database through this proxy."""
        local = {"host": "127.0.0.1", "port": self._port, "hostaddr": ""}
        return make_dsn(self._target, **local, sslmode="disable", gssencmode="disable")

    def freeze(self):
        """Forward nothing any more, in neither direction, and do not hang up either."""
        self._flowing.clear()

    async def start(self):
        """Accept connections, at the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        """Refuse new connections and hang up on the others."""
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader, writer):
        self.connections += 1
        self._handlers.add(asyncio.current_task())
        server_reader, server_writer = await self._dial()
        hang_up = asyncio.Event()

        async def forward():
            while data := await reader.read(65536):
                self.sent += data
                await self._flowing.wait()
                if self.cut_before and self.cut_before in data:
                    self.cut_before = None
                    return
                if self.cut_after and self.cut_after in data:
                    self.cut_after = None
                    hang_up.set()
                server_writer.write(data)

        async def answer():
            while (data := await server_reader.read(65536)) and not hang_up.is_set():
                await self._flowing.wait()
                writer.write(data)
            await self._flowing.wait()

        pumps = [asyncio.create_task(forward()), asyncio.create_task(answer())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            writer.transport.abort()
            server_writer.transport.abort()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*pumps, return_exceptions=True)
            self._handlers.discard(asyncio.current_task())

    async def _dial(self):
        parts = parse_dsn(self._target)
        host, port = parts.get("host", "localhost"), parts.get("port", "5432")
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, int(port))

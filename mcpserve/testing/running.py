"""A whole server for the tests of a plugin, and the official client, logged in to it."""

import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from pathlib import Path
from typing import Any, Protocol

from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from mcpserve import app, embedded, migrate
from mcpserve.errors import FetchError
from mcpserve.oauth import clients, keys, users
from mcpserve.oauth.documents import Fetched
from mcpserve.settings import Settings
from mcpserve.testing.loading import plugin_name
from mcpserve.testing.person import CALLBACK, CLIENT_ID, Person

FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Settings of a database that need not survive a crash."""


class RunningServer(Protocol):
    """The type of :func:`running_server`, and of the fixture of this name."""

    def __call__(
        self, plugin: object, config: Mapping[str, Any] | None = None, /, **settings: Any
    ) -> AbstractAsyncContextManager[Client]:
        """See :func:`running_server`."""


class Offline:
    """Fetches nothing: the server under test knows its one client."""

    async def get_json(self, url: str) -> Fetched:
        """Fail."""
        raise FetchError(f"{url}: a server under test fetches nothing")


@contextmanager
def temporary_database(*, within: str | None = None, **settings: str) -> Iterator[str]:
    """Start a PostgreSQL in a folder that goes away with it, and yield its DSN.

    ``within`` is where the folder is made, if not where temporary files go; ``settings`` are
    PostgreSQL's own. Best done before an event loop runs: it blocks for a second. Raises
    :class:`~mcpserve.errors.EmbeddedPostgresError` where there are no programs for it.
    """
    folder = Path(tempfile.mkdtemp(prefix="mcpserve-", dir=within))
    try:
        folder.chmod(0o711)  # PostgreSQL refuses root, and then runs as somebody else.
        server = embedded.start(folder, settings=FORGETFUL | settings)
        try:
            yield server.dsn
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def running_server(
    plugin: object,
    config: Mapping[str, Any] | None = None,
    /,
    *,
    dsn: str | None = None,
    **settings: Any,
) -> AsyncIterator[Client]:
    """Serve a plugin on a free port of 127.0.0.1, and yield a client that is allowed everything.

    Arguments are those of :func:`load_plugin`. ``dsn`` names a database of your own, whose schema
    is made if it is missing; without it there is a :func:`temporary_database`. The client has come
    through the login and the consent page. Raises :class:`~mcpserve.testing.PluginError` where the
    server would refuse to start.
    """
    name = plugin_name(plugin)
    raised: Exception | None = None
    async with AsyncExitStack() as stack:
        if dsn is None:
            dsn = stack.enter_context(temporary_database())
        sockets = bind_sockets(0, "127.0.0.1")
        for opened in sockets:
            stack.callback(opened.close)
        url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        checked = server_settings(url, {name: {"config": dict(config or {}), **settings}})
        db = await stack.enter_async_context(
            migrate.open_database(checked.database, dsn, migrates=True)
        )
        services = await stack.enter_async_context(
            app.open_services(checked, db, {name: plugin}.__getitem__, fetcher=Offline())
        )
        await keys.prepare(db, services.issuance.keys)
        await clients.seed(db, services.hasher, checked.oauth.clients.configured)
        person = Person(f"test-{secrets.token_hex(4)}", secrets.token_urlsafe())
        await users.add(
            db,
            services.hasher,
            checked.login,
            name=person.name,
            password=person.password,
            email=f"{person.name}@example.org",
        )
        stack.push_async_callback(close, app.listen(services, sockets))
        token = await person.allow(url, services.server.resource, services.server.scopes.texts)
        headers = {"Authorization": f"Bearer {token}"}
        http = await stack.enter_async_context(create_mcp_http_client(headers=headers))
        transport = streamable_http_client(services.server.resource, http_client=http)
        client = await stack.enter_async_context(Client(transport))
        try:
            yield client
        except Exception as error:
            raised = error  # Out of the client's task groups it would come wrapped in groups.
    if raised is not None:
        raise raised


def server_settings(url: str, plugins: Mapping[str, Any]) -> Settings:
    """Return the settings of a server that is used once, by one client."""
    client = {"id": CLIENT_ID, "redirect_uris": [CALLBACK]}
    return Settings.model_validate(
        {
            "server": {"public_url": url},
            "login": {"bcrypt_rounds": 4},
            "oauth": {"clients": {"configured": [client]}},
            "plugins": plugins,
        }
    )


async def close(http_server: HTTPServer) -> None:
    """Stop listening and hang up."""
    http_server.stop()
    await http_server.close_all_connections()

"""The composition root: every object is made here and handed down."""

import asyncio
import contextlib
import errno
import functools
import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from tornado.netutil import bind_sockets

from mcpserve import migrate, plugins, tracing
from mcpserve.crypto import PasswordHasher
from mcpserve.db import Database
from mcpserve.errors import ConfigError, MCPServeError
from mcpserve.fetch import Fetcher
from mcpserve.oauth import bearer, clients, documents, keys, metadata, userinfo
from mcpserve.oauth.authorize import Server
from mcpserve.oauth.documents import Documents
from mcpserve.oauth.grants import Issuance
from mcpserve.oauth.keys import KeyRing
from mcpserve.oauth.metadata_documents import MetadataDocuments
from mcpserve.oauth.presets import Presets
from mcpserve.oauth.registration import Registration
from mcpserve.oauth.scopes import Scopes
from mcpserve.oauth.seals import Seals
from mcpserve.oauth.store import cleanup
from mcpserve.plugins import LoadedPlugins
from mcpserve.protocol import Exchange
from mcpserve.settings import DatabaseSettings, Settings
from mcpserve.supervision import Supervised
from mcpserve.web import Services, application
from mcpserve.web.connections import CONNECTIONS_PATH
from mcpserve.web.services import Drain, Limits

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 5.0
"""Seconds for closing connections at shutdown; some peers never read."""

WATCH_INTERVAL = 1.0
"""Seconds after which a dead embedded database is noticed."""

Job = Callable[[], Awaitable[None]]
Ready = Callable[[Services], Awaitable[None]]
"""Told once that the server listens."""


@asynccontextmanager
async def open_database(
    settings: DatabaseSettings, dsn: str, *, migrates: bool
) -> AsyncIterator[Database]:
    """Connect, and make sure that the schema is this program's.

    Raises :class:`~mcpserve.errors.DatabaseError`, and
    :class:`~mcpserve.errors.MigrationError` with the command to run.
    """
    async with Database.connect(dsn, pool_size=settings.pool_size) as db:
        if migrates or settings.migrate:
            for name in await migrate.apply(db):
                logger.info("applied migration %s", name)
        await migrate.require_current(db)
        yield db


@asynccontextmanager
async def open_services(
    settings: Settings,
    db: Database,
    find: Callable[[str], object] | None = None,
    *,
    fetcher: documents.Fetcher | None = None,
) -> AsyncIterator[Services]:
    """Make everything that handlers use. Writes nothing to the database.

    ``find`` returns a plugin by name; by default what is installed. ``fetcher`` fetches what
    clients publish; by default from the public Internet. Raises
    :class:`~mcpserve.errors.ConfigError` for a plugin or client that cannot be had.
    """
    clients.validate(settings.oauth.clients.configured)
    async with AsyncExitStack() as exit_stack:
        # Before the plugins and until they are closed: what they do then may be traced, too.
        tracer = await exit_stack.enter_async_context(tracing.open_tracer(settings.tracing))
        loaded = await plugins.load(settings.plugins, exit_stack, find)
        hasher = PasswordHasher(settings.login.bcrypt_rounds)
        exit_stack.callback(hasher.close)
        if fetcher is None:
            fetcher = exit_stack.enter_context(contextlib.closing(Fetcher()))
        published, key_sets = Documents(fetcher), Documents(fetcher)
        exit_stack.callback(published.close)
        exit_stack.callback(key_sets.close)
        presets = Presets.of(settings.oauth.clients.presets)
        scopes = open_scopes(settings, loaded)
        limits = Limits.of(settings)
        issuer = settings.server.issuer
        resource = metadata.resource(issuer)
        keys_in_use = KeyRing.of(settings.oauth.keys)
        yield Services(
            settings=settings,
            db=db,
            hasher=hasher,
            server=Server(
                issuer=issuer,
                resource=resource,
                scopes=scopes,
                presets=settings.oauth.clients.presets,
            ),
            issuance=Issuance(settings.oauth, resource, keys_in_use),
            presets=presets,
            registration=Registration(settings.oauth.clients, presets, scopes, limits.register),
            key_sets=key_sets,
            metadata_documents=MetadataDocuments(
                settings.oauth.clients.metadata_documents,
                published,
                presets,
                scopes,
                limits.documents,
            ),
            exchange=Exchange(
                loaded.registry,
                name=settings.mcp.name,
                instructions=settings.mcp.instructions,
                seal=Seals(db, keys_in_use),
                challenge=lambda error: bearer.challenge(issuer, error, scopes.default),
                connections=issuer + CONNECTIONS_PATH,
                challenge_form=settings.mcp.challenge,
                tracer=tracer,
                find_user=functools.partial(userinfo.find, db),
                default_scopes=scopes.effective(scopes.default),
            ),
            limits=limits,
            drain=Drain(),
            plugins=loaded,
        )


def open_scopes(settings: Settings, loaded: LoadedPlugins) -> Scopes:
    """Return the scopes that there are with these plugins.

    Raises :class:`~mcpserve.errors.ConfigError` for a client that is to get another, and for one
    that includes what is not there or itself.
    """
    oauth = settings.oauth
    scopes = Scopes.of(oauth.scopes, loaded.registry.scopes, oauth.scope_implies)
    # A plugin that is left out for now may have it.
    if not loaded.skipped:
        clients.require_scopes(oauth.clients.configured, scopes.texts)
    return scopes


async def serve(
    settings: Settings, dsn: str, *, supervised: Supervised | None, ready: Ready
) -> None:
    """Serve until SIGTERM or SIGINT, then let requests in flight end.

    A ``supervised`` database has no other user: it is migrated without asking and started again
    when it is gone. Raises :class:`~mcpserve.errors.ConfigError` if it cannot listen, or if a key
    is missing that grants may need.
    """
    async with AsyncExitStack() as exit_stack:
        db = await exit_stack.enter_async_context(
            open_database(settings.database, dsn, migrates=supervised is not None)
        )
        services = await exit_stack.enter_async_context(open_services(settings, db))
        # A server that cannot listen has written nothing.
        sockets = open_sockets(settings)
        for opened in sockets:
            exit_stack.callback(opened.close)
        await keys.prepare(db, services.issuance.keys)
        await clients.seed(db, services.hasher, settings.oauth.clients.configured)
        stop, hurry = exit_stack.enter_context(stop_signals())
        http_server = listen(services, sockets)
        if supervised:
            exit_stack.enter_context(every(WATCH_INTERVAL, as_job(supervised.look_after)))
        if settings.cleanup.enabled:
            exit_stack.enter_context(
                every(settings.cleanup.interval.total_seconds(), lambda: clean_up(db, settings))
            )
        # What start-up made stays: the collector need not walk through it again and again.
        gc.collect()
        gc.freeze()
        if free := services.plugins.registry.open:
            names = ", ".join(bound.offer.name for bound in free)
            logger.info("open to everybody, without a login: %s", names)
        await ready(services)
        await stop.wait()
        await drain(services, http_server, hurry)


@contextlib.contextmanager
def stop_signals() -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """Let SIGTERM or SIGINT set the first event, and a second one the second."""
    stop, hurry = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    try:
        yield stop, hurry
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def open_sockets(settings: Settings) -> list[socket.socket]:
    """Bind the configured address. Raises :class:`~mcpserve.errors.ConfigError`."""
    server = settings.server
    try:
        return bind_sockets(server.port, server.host)
    except socket.gaierror as error:
        raise ConfigError(
            f"server.host: {server.host!r} is no address: {error.strerror}"
        ) from error
    except OSError as error:
        advice = "stop what uses it or set another (PORT=3001)"
        if error.errno == errno.EACCES:
            advice = "ports below 1024 need more rights; set another (PORT=3001)"
        raise ConfigError(
            f"server.port: cannot listen on {server.host}:{server.port}: {error.strerror}; {advice}"
        ) from error


def listen(services: Services, sockets: list[socket.socket]) -> HTTPServer:
    """Serve HTTP on these sockets."""
    http_server = HTTPServer(
        application(services),
        # Handlers refuse earlier and more politely; this bounds what a connection may hold.
        max_body_size=2 * services.settings.mcp.max_body,
        max_header_size=32 * 1024,
        body_timeout=10,
        idle_connection_timeout=60,
        xheaders=False,
    )
    http_server.add_sockets(sockets)
    return http_server


async def drain(services: Services, http_server: HTTPServer, hurry: asyncio.Event) -> None:
    """Stop listening and wait for the requests in flight: for a while, or until told to hurry."""
    http_server.stop()
    logger.info("stopping, %d requests in flight", services.drain.active)
    waiting = {asyncio.create_task(services.drain.stop()), asyncio.create_task(hurry.wait())}
    grace = services.settings.server.shutdown_grace.total_seconds()
    await asyncio.wait(waiting, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
    if services.drain.active:
        logger.warning("gave up %d requests", services.drain.active)
        await services.drain.give_up()
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await http_server.close_all_connections()


@contextlib.contextmanager
def every(seconds: float, job: Job) -> Iterator[None]:
    """Run a job now and at every interval until the block ends; a failure does not end it."""
    running: set[asyncio.Task[None]] = set()

    def start() -> None:
        if running:
            return
        task = asyncio.ensure_future(run_job(job))
        running.add(task)
        task.add_done_callback(running.discard)

    # Replicas started together should not all come at once.
    callback = PeriodicCallback(start, seconds * 1000, jitter=0.1)
    callback.start()
    start()
    try:
        yield
    finally:
        callback.stop()
        for task in running:
            task.cancel()


def as_job(function: Callable[[], None]) -> Job:
    """Return a job that calls a plain function, on the loop."""

    async def call() -> None:
        function()

    return call


async def run_job(job: Job) -> None:
    """Run a job and log what goes wrong in it."""
    try:
        await job()
    except MCPServeError as error:
        logger.warning("a periodic job is put off: %s", error)
    except Exception:
        logger.exception("a periodic job failed and will be tried again")


async def clean_up(db: Database, settings: Settings) -> None:
    """Delete what is due, and say how much it was."""
    counts = await cleanup.purge(db, settings)
    if counts is None:
        logger.debug("cleanup: another process is at it")
    elif any(counts.values()):
        logger.info("cleaned up", extra={table: count for table, count in counts.items() if count})

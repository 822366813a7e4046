"""The composition root: every object is made here and handed down."""

import asyncio
import contextlib
import dataclasses
import functools
import gc
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from opentelemetry.trace import Tracer
from tornado.httpserver import HTTPServer

from mcpserve import control, lag, loop, pinning, plugins_dir, serving, tracing
from mcpserve.config import Loaded
from mcpserve.crypto import PasswordHasher
from mcpserve.db import Database
from mcpserve.errors import MCPServeError
from mcpserve.fetch import Fetcher
from mcpserve.generations import Generation, Generations
from mcpserve.jobs import as_job, every
from mcpserve.joint import Joint, Sole
from mcpserve.migrate import open_database
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
from mcpserve.processes.member import Member
from mcpserve.protocol import Exchange
from mcpserve.reloading import Reloader, background
from mcpserve.settings import Settings
from mcpserve.supervision import Supervised
from mcpserve.web import Services, application
from mcpserve.web.connections import CONNECTIONS_PATH
from mcpserve.web.front import Front
from mcpserve.web.services import Drain, Limits

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 15.0
"""Seconds after the grace in which everything closes, unless a plugin blocks the event loop."""

WATCH_INTERVAL = 1.0
"""Seconds after which a dead embedded database is noticed."""

Ready = Callable[[Services], Awaitable[None]]
"""Told once that the server listens."""


@asynccontextmanager
async def open_services(
    settings: Settings,
    db: Database,
    find: Callable[[str], object] | None = None,
    *,
    fetcher: documents.Fetcher | None = None,
    tracer: AbstractAsyncContextManager[Tracer | None] | None = None,
) -> AsyncIterator[Services]:
    """Make everything that handlers use. Writes nothing to the database.

    ``find`` returns a plugin by name; by default what is installed. ``fetcher`` fetches what
    clients publish; by default from the public Internet. ``tracer`` makes spans; by default as
    configured. Raises
    :class:`~mcpserve.errors.ConfigError` for a plugin or client that cannot be had.
    """
    clients.validate(settings.oauth.clients.configured)
    async with AsyncExitStack() as exit_stack:
        # Before the plugins and until they are closed: what they do then may be traced, too.
        spans = await exit_stack.enter_async_context(
            tracer or tracing.open_tracer(settings.tracing)
        )
        for warning in plugins_dir.warnings(settings.plugins_folder):
            logger.warning("%s", warning)
        loaded = await pinning.load(settings, exit_stack, find)
        for unapproved in loaded.unapproved:
            logger.warning("%s", unapproved)
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
                tracer=spans,
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
    scopes = Scopes.of(oauth.scopes, loaded.scopes, oauth.scope_implies)
    # A plugin that is left out for now may have it.
    if not loaded.skipped:
        clients.require_scopes(oauth.clients.configured, scopes.texts)
    return scopes


async def serve(
    read: Callable[[], Loaded],
    settings: Settings,
    dsn: str,
    *,
    supervised: Supervised | None,
    ready: Ready,
    member: Member | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let requests in flight end.

    ``read`` reads the configuration again. A ``supervised`` database has no other user: it is
    migrated without asking and started again when it is gone. A ``member`` is one of several
    processes, and their supervisor has the sockets and looks after the database. Raises
    :class:`~mcpserve.errors.ConfigError` if it cannot listen, or if a key is missing that grants
    may need.
    """
    async with AsyncExitStack() as exit_stack:
        end_in = exit_stack.enter_context(loop.last_resort())
        db = await exit_stack.enter_async_context(
            open_database(settings.database, dsn, migrates=supervised is not None)
        )
        tracer = await exit_stack.enter_async_context(tracing.open_tracer(settings.tracing))
        fetcher = exit_stack.enter_context(contextlib.closing(Fetcher()))

        def opening(settings: Settings) -> AbstractAsyncContextManager[Services]:
            spans = contextlib.nullcontext(tracer)
            return open_services(settings, db, fetcher=fetcher, tracer=spans)

        first = await Generation.open(opening(settings))
        exit_stack.push_async_callback(first.close)
        # A server that cannot listen has written nothing.
        sockets = member.sockets if member else serving.open_sockets(settings.server)
        for opened in sockets:
            exit_stack.callback(opened.close)
        await prepare(first.services)
        joint = Joint(member or Sole())
        generations = Generations(first, duties if joint.leads else no_duties, closed=settle)
        # Until the plugins are closed, which may block as well.
        exit_stack.enter_context(lag.watching(lambda: generations.tasks))
        exit_stack.push_async_callback(generations.close)
        reloader = Reloader(
            generations, read=read, opening=opening, prepare=prepare, agree=joint.agree
        )

        def told_to_stop() -> None:
            server = generations.current.services.settings.server
            end_in(server.shutdown_grace.total_seconds() + CLOSE_TIMEOUT)

        stop, hurry = exit_stack.enter_context(
            serving.stop_signals(told_to_stop, again=member is None)
        )
        exit_stack.enter_context(serving.hang_up_signal(joint.want, stop.set))
        http_server = serving.listen(generations.front, sockets)
        if supervised and not member:
            exit_stack.enter_context(every(WATCH_INTERVAL, as_job(supervised.look_after)))
        keep()
        if free := first.services.plugins.registry.open:
            names = ", ".join(bound.offer.name for bound in free)
            logger.info("open to everybody, without a login: %s", names)
        announce = functools.partial(ready, first.services)
        await exit_stack.enter_async_context(joint.joined(stop, hurry, announce=announce))
        if not member:
            await announce()
        works = [joint.take_part(reloader)]
        if joint.leads:
            works.append(control.answer(db, handlers(joint, reloader)))
        async with background(*works):
            await either(stop, generations.lost)
        drains = [each.services.drain for each in generations.all]
        grace = generations.current.services.settings.server.shutdown_grace.total_seconds()
        await serving.drain(drains, http_server, hurry, grace=grace, alone=member is None)
        if generations.lost.is_set():
            raise MCPServeError("the server ended by what a plugin did, see the log")


async def prepare(services: Services) -> None:
    """Write to the database what the configuration says of keys and clients."""
    await keys.prepare(services.db, services.issuance.keys)
    configured = services.settings.oauth.clients.configured
    await clients.seed(services.db, services.hasher, configured)


@contextlib.contextmanager
def duties(services: Services) -> Iterator[None]:
    """Clean up at the interval, as configured."""
    cleanup = services.settings.cleanup
    if not cleanup.enabled:
        yield
        return
    job = functools.partial(clean_up, services.db, services.settings)
    with every(cleanup.interval.total_seconds(), job):
        yield


@contextlib.contextmanager
def no_duties(_: Services) -> Iterator[None]:
    """Leave to another process what one has to do for all."""
    yield


def handlers(joint: Joint, reloader: Reloader) -> dict[str, control.Handler]:
    """Return what can be asked of this server from outside."""

    async def reload() -> dict[str, Any]:
        return dataclasses.asdict(await joint.reload())

    async def describe() -> Mapping[str, Any]:
        return reloader.described()

    return {"reload": reload, "describe": describe}


def keep() -> None:
    """Let the collector not walk through what stays, again and again."""
    gc.collect()
    gc.freeze()


def settle() -> None:
    """Do so anew, and let go what does not stay any more."""
    gc.unfreeze()
    keep()


async def either(*events: asyncio.Event) -> None:
    """Wait for the first of these."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def listen(services: Services, sockets: list[socket.socket]) -> HTTPServer:
    """Serve HTTP on these sockets, with these services for ever."""
    served = application(services)
    return serving.listen(Front(lambda: served), sockets)


async def clean_up(db: Database, settings: Settings) -> None:
    """Delete what is due, and say how much it was."""
    counts = await cleanup.purge(db, settings)
    if counts is None:
        logger.debug("cleanup: another process is at it")
    elif any(counts.values()):
        logger.info("cleaned up", extra={table: count for table, count in counts.items() if count})

"""What handlers are given: everything that ``app`` built, in one frozen object."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mcpserve.crypto import PasswordHasher
from mcpserve.db import Database
from mcpserve.oauth.authorize import Server
from mcpserve.oauth.documents import Documents
from mcpserve.oauth.grants import Issuance
from mcpserve.oauth.metadata_documents import MetadataDocuments
from mcpserve.oauth.presets import Presets
from mcpserve.oauth.registration import Registration
from mcpserve.oauth.users import LoginLimits
from mcpserve.plugins import LoadedPlugins
from mcpserve.protocol import Exchange
from mcpserve.ratelimit import Limit
from mcpserve.settings import LimitSettings, Settings


@dataclass(frozen=True)
class Limits:
    """The failure limits by endpoint, and what is allowed without a login."""

    authorize: Limit
    documents: Limit
    register: Limit
    token: Limit
    revoke: Limit
    introspect: Limit
    login: LoginLimits
    anonymous: Limit

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Name each configured limit."""
        login = settings.limits.login
        registrations = LimitSettings(
            failures=settings.oauth.clients.registration.per_network, window=timedelta(hours=1)
        )
        anonymous = settings.limits.anonymous
        return cls(
            authorize=Limit("authorize", settings.limits.authorize),
            documents=Limit("documents", settings.limits.authorize),
            register=Limit(
                "register", registrations, refusal="too many registrations from this network"
            ),
            token=Limit("token", settings.limits.token),
            revoke=Limit("revoke", settings.limits.revoke),
            introspect=Limit("introspect", settings.limits.introspect),
            login=LoginLimits(
                user_and_network=Limit("login", login),
                user=Limit("login-user", login, factor=10),
                network=Limit("login-network", login, factor=10),
            ),
            anonymous=Limit(
                "anonymous",
                LimitSettings(failures=anonymous.uses, window=anonymous.window),
                refusal="too much use without a login from this network, wait or log in",
            ),
        )


class Drain:
    """Knows whether the server is stopping, and the requests that are under way."""

    def __init__(self) -> None:
        self.stopping = False
        self._requests: set[asyncio.Future[Any]] = set()

    @property
    def active(self) -> int:
        """How many requests are under way."""
        return len(self._requests)

    def enter(self, work: asyncio.Future[Any]) -> None:
        """Count a request until this is done, however it ends."""
        self._requests.add(work)
        work.add_done_callback(self._requests.discard)

    async def stop(self) -> None:
        """Declare that the server is stopping and wait until no request is under way."""
        self.stopping = True
        while self._requests:
            await asyncio.wait(self._requests)

    async def give_up(self) -> None:
        """Cancel what is under way, and let it clean up after itself for a second."""
        for work in self._requests:
            work.cancel()
        if self._requests:
            await asyncio.wait(self._requests, timeout=1)


@dataclass(frozen=True)
class Services:
    """Everything that handlers use."""

    settings: Settings
    db: Database
    hasher: PasswordHasher
    server: Server
    issuance: Issuance
    presets: Presets
    registration: Registration
    key_sets: Documents
    metadata_documents: MetadataDocuments
    exchange: Exchange
    limits: Limits
    drain: Drain
    plugins: LoadedPlugins

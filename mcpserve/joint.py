"""What a process does together with the others that serve, as their supervisor says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

from mcpserve.errors import MCPServeError
from mcpserve.processes.member import Member
from mcpserve.processes.plan import Word
from mcpserve.reloading import Outcome, Reloader, at_each, background


class Sole:
    """In place of a member where nobody else serves: all agree at once."""

    leads = True

    _heard: Mapping[Word | None, Callable[[], None]] = {}

    def tell(self, word: Word) -> None:
        """Hear what a supervisor would say."""
        if reply := {Word.WANTED: Word.PREPARE, Word.PREPARED: Word.SWAP}.get(word):
            self._heard[reply]()

    @contextmanager
    def hearing(
        self, heard: Mapping[Word | None, Callable[[], None]], _: asyncio.AbstractEventLoop
    ) -> Iterator[None]:
        """Call these."""
        self._heard = heard
        yield


class Joint:
    """Reloads when all can, and then all do."""

    def __init__(self, member: Member | Sole) -> None:
        self._member = member
        self._wanted = asyncio.Event()
        self._verdict: asyncio.Future[bool] | None = None
        self._is_prepared = False
        self._asking: list[asyncio.Future[Outcome]] = []

    @property
    def leads(self) -> bool:
        """Whether it does what one has to do for all."""
        return self._member.leads

    def want(self) -> None:
        """Ask for a reload of all."""
        self._member.tell(Word.WANTED)

    async def reload(self) -> Outcome:
        """Ask for a reload of all, and return what became of it here."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._asking.append(outcome)
        self.want()
        return await outcome

    async def agree(self) -> None:
        """Say that this process can swap, and wait until all can.

        Raises :class:`~mcpserve.errors.MCPServeError` if one cannot.
        """
        self._is_prepared = True
        self._verdict = asyncio.get_running_loop().create_future()
        self._member.tell(Word.PREPARED)
        if not await self._verdict:
            raise MCPServeError("another process cannot do the same; the log tells why")

    async def take_part(self, reloader: Reloader) -> None:
        """Prepare, and swap if all others can, whenever the supervisor says so."""

        async def once() -> None:
            asking, self._asking = self._asking, []
            self._is_prepared = False
            outcome = await reloader.reload()
            if not self._is_prepared:
                self._member.tell(Word.REFUSED)
            for each in asking:
                if not each.done():
                    each.set_result(outcome)

        await at_each(self._wanted, once)

    @asynccontextmanager
    async def joined(
        self,
        stop: asyncio.Event,
        hurry: asyncio.Event,
        *,
        announce: Callable[[], Awaitable[None]],
    ) -> AsyncIterator[None]:
        """Say that this process serves, and hear what its supervisor says until the block ends.

        ``announce`` tells whoever started the server that all processes serve.
        """
        all_ready = asyncio.Event()

        def decided(verdict: bool) -> None:
            if self._verdict and not self._verdict.done():
                self._verdict.set_result(verdict)

        def orphaned() -> None:
            stop.set()
            hurry.set()

        heard: dict[Word | None, Callable[[], None]] = {
            Word.ANNOUNCE: all_ready.set,
            Word.PREPARE: self._wanted.set,
            Word.SWAP: lambda: decided(True),
            Word.KEEP: lambda: decided(False),
            Word.HURRY: hurry.set,
            None: orphaned,
        }
        with self._member.hearing(heard, asyncio.get_running_loop()):
            self._member.tell(Word.READY)
            async with background(at_each(all_ready, announce)):
                yield

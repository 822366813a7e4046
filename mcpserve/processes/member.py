"""One of several processes: what it is given by its supervisor, and hears from it."""

import asyncio
import contextlib
import functools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from mcpserve.processes import output
from mcpserve.processes.plan import Embedded, Place, Word
from mcpserve.processes.sockets import Shared

ORPHAN_TIMEOUT = 1.5
"""Seconds in which a process ends whose supervisor is gone."""

EX_SOFTWARE = 70
"""Exit code of one that did not."""


class Member:
    """What a process has of its supervisor, and says to it.

    It never outlives it, not even when its event loop is blocked: what it could still do would be
    done without a database, on a port that the next server needs.
    """

    def __init__(self, place: Place) -> None:
        """Listen to the supervisor, and take turns in the log."""
        output.share(place.lock)
        self.number = place.number
        self.embedded: Embedded | None = place.embedded
        self.sockets: list[socket.socket] = [Shared(fileno=number) for number in place.sockets]
        self._channel = socket.socket(fileno=place.channel)
        for each in (self._channel, *self.sockets):
            each.set_inheritable(False)
        os.set_inheritable(place.lock, False)
        self._heard: Mapping[Word | None, Callable[[], object]] = {}
        threading.Thread(target=self._listen, name="supervisor", daemon=True).start()

    @property
    def leads(self) -> bool:
        """Whether it does what one has to do for all."""
        return self.number == 1

    def tell(self, word: Word) -> None:
        """Say something to the supervisor, if there is one."""
        with contextlib.suppress(OSError):
            self._channel.send(word.value)

    @contextlib.contextmanager
    def hearing(
        self, heard: Mapping[Word | None, Callable[[], None]], loop: asyncio.AbstractEventLoop
    ) -> Iterator[None]:
        """Call these on the loop when the word comes; for ``None``: when nobody is left."""
        self._heard = {
            word: functools.partial(loop.call_soon_threadsafe, call) for word, call in heard.items()
        }
        try:
            yield
        finally:
            self._heard = {}

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while said := self._channel.recv(1):
                self._heard.get(Word(said), lambda: None)()
        if orphaned := self._heard.get(None):
            orphaned()
            time.sleep(ORPHAN_TIMEOUT)
        os._exit(EX_SOFTWARE)


def joined() -> Member | None:
    """Return what makes this process one of several; ``None`` if no supervisor started it."""
    place = Place.take()
    return Member(place) if place else None

"""A process as its supervisor sees it."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterable

from mcpserve.processes.plan import Embedded, Place, Plan, Word

HEALTHY = 60.0
"""Seconds that a process must have lived to count as having been well."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
"""Seconds until a process is replaced that was not well, from the second time on and at most."""


class Child:
    """One that was started, until it has ended."""

    def __init__(
        self, plan: Plan, number: int, *, lock: int, embedded: Embedded | None, pause: float
    ) -> None:
        """Start it; ``pause`` is how long its place was empty before."""
        self.number = number
        self.is_ready = False
        self.is_outdated = False
        """Whether the configuration changed while it started."""
        self._pause = pause
        self._began = time.monotonic()
        self.channel, theirs = socket.socketpair()
        with theirs:
            place = Place(number, theirs.fileno(), lock, plan.sockets, embedded)
            self._popen = subprocess.Popen(  # noqa: S603
                plan.command,
                stdin=subprocess.DEVNULL,
                env=place.environment(),
                pass_fds=[theirs.fileno(), lock, *plan.sockets],
                # Ctrl-C is for the supervisor; it would be heard twice.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._popen.pid

    def __str__(self) -> str:
        """Return what people may find it by."""
        return f"process {self.number} (pid {self.pid})"

    @property
    def status(self) -> int | None:
        """Its exit code, negative after a signal; ``None`` as long as it runs."""
        return self._popen.poll()

    @property
    def ended(self) -> str:
        """How it ended, for people."""
        status = self.status or 0
        return f"signal {-status}" if status < 0 else f"exit code {status}"

    @property
    def next_pause(self) -> float:
        """How many seconds its place should be empty now."""
        if time.monotonic() - self._began >= HEALTHY or self._pause < 0:
            return 0.0
        return min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)

    def words(self) -> Iterable[Word]:
        """Return what it said since it was last asked, in its order."""
        try:
            said = self.channel.recv(1024, socket.MSG_DONTWAIT)
        except OSError:
            return ()
        known = {word.value[0]: word for word in Word}
        return [known[byte] for byte in said if byte in known]

    def tell(self, word: Word) -> None:
        """Say something to it, if it still listens."""
        try:
            self.channel.send(word.value, socket.MSG_DONTWAIT)
        except OSError:
            return

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        self._popen.send_signal(number)

"""The supervisor: keeps the processes going, and the database that they share.

It runs no code of plugins, does not read the configuration, and knows nothing of requests. What it
was started with it hands on: the sockets, the embedded database, every signal.
"""

import logging
import math
import os
import selectors
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path

from mcpserve import log
from mcpserve.errors import MCPServeError
from mcpserve.processes import output
from mcpserve.processes.child import LONGEST_PAUSE, Child
from mcpserve.processes.plan import Embedded, Plan, Word
from mcpserve.processes.reload import Reload
from mcpserve.processes.sockets import refuse
from mcpserve.supervision import Supervised

logger = logging.getLogger(__name__)

WATCH_INTERVAL = 1.0
"""Seconds after which a dead embedded database is noticed."""

AT_ONCE = -1.0
"""The pause before a process whose place was never empty."""

HURRY_TIMEOUT = 10.0
"""Seconds after the second signal in which a process has ended."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


def main(plan: Plan) -> int:
    """Serve until told to stop; return the exit code."""
    lock = output.new_lock()
    output.share(lock)
    log.configure(plan.log)
    log.add_pid()
    try:
        database = database_of(plan)
        try:
            return Supervisor(plan, lock=lock, database=database).run()
        finally:
            if database:
                database.stop()
    except MCPServeError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def database_of(plan: Plan) -> Supervised | None:
    """Start the embedded database, if it is that."""
    if plan.data_dir is None:
        return None
    return Supervised(Path(plan.data_dir), {"max_connections": str(plan.connections)})


class Supervisor:
    """Its processes, and what is to be done next."""

    def __init__(self, plan: Plan, *, lock: int, database: Supervised | None) -> None:
        self._plan = plan
        self._lock = lock
        self._database = database
        self._sockets = [socket.socket(fileno=number) for number in plan.sockets]
        self._at_terminal = os.isatty(0)
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, Child] = {}
        self._due: dict[int, tuple[float, float]] = {}
        """Places that are empty: when each is filled, and how long it was empty then."""
        self._end = math.inf
        """When whoever has not ended is killed, once the server stops."""
        self._announced = False
        self._reload = Reload(self._children)
        self._status = 0

    def run(self) -> int:
        """Keep all going until told to stop, and return the exit code.

        The first begins alone: what is wrong with the configuration is told once.
        """
        self._listen_for_signals()
        self._start(1, AT_ONCE)
        looked = time.monotonic()
        while self._children or self._due:
            for key, _ in self._selector.select(self._timeout()):
                key.data()
            for number, (due, pause) in list(self._due.items()):
                if due <= time.monotonic():
                    self._start(number, pause)
            self._reload.look_at_the_clock()
            if self._end <= time.monotonic():
                self._kill()
            if self._database and time.monotonic() - looked >= WATCH_INTERVAL:
                self._look_after(self._database)
                looked = time.monotonic()
        return self._status

    @property
    def _stopping(self) -> bool:
        return self._end < math.inf

    def _timeout(self) -> float | None:
        due = [*self._reload.due, *(due for due, _ in self._due.values())]
        if self._stopping:
            due.append(self._end)
        limits = [max(0.0, each - time.monotonic()) for each in due]
        return min([*limits, WATCH_INTERVAL] if self._database else limits, default=None)

    def _look_after(self, database: Supervised) -> None:
        try:
            database.look_after()
        except MCPServeError as error:
            logger.warning("%s", error)

    # Signals

    def _listen_for_signals(self) -> None:
        heard, told = socket.socketpair()
        for end in (heard, told):
            end.setblocking(False)
        signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        self._signals = told
        for number in SIGNALS:
            # Not ignored: what is heard is written to the socket.
            signal.signal(number, lambda *_: None)
        self._selector.register(heard, selectors.EVENT_READ, partial(self._signalled, heard))

    def _signalled(self, heard: socket.socket) -> None:
        for number in heard.recv(1024):
            if number == signal.SIGCHLD:
                self._bury()
            elif number != signal.SIGHUP or (self._at_terminal and not os.isatty(0)):
                self._stop()
            elif not self._stopping:
                self._reload.begin()

    def _stop(self) -> None:
        """Let all end what they do; told again, let them break it off."""
        now = time.monotonic()
        if self._stopping:
            self._end = min(self._end, now + HURRY_TIMEOUT)
            for child in self._children.values():
                child.tell(Word.HURRY)
            return
        self._end = now + self._plan.patience
        self._due.clear()
        refuse(self._sockets)
        for child in self._children.values():
            child.signal(signal.SIGTERM)
        # Whoever of them closes last shall refuse all others.
        for each in self._sockets:
            each.close()

    def _kill(self) -> None:
        """End those that do not even react."""
        self._end = time.monotonic() + HURRY_TIMEOUT
        self._status = 1
        for child in self._children.values():
            logger.warning("%s does not end, and is killed", child)
            child.signal(signal.SIGKILL)

    # Processes

    def _start(self, number: int, pause: float) -> None:
        self._due.pop(number, None)
        embedded = described(self._database) if self._database else None
        try:
            child = Child(self._plan, number, lock=self._lock, embedded=embedded, pause=pause)
        except OSError as error:
            logger.error("process %d cannot be started now: %s", number, error)
            self._due[number] = (time.monotonic() + LONGEST_PAUSE, pause)
            return
        self._children[number] = child
        self._selector.register(child.channel, selectors.EVENT_READ, partial(self._hear, child))

    def _hear(self, child: Child) -> None:
        if self._children.get(child.number) is not child:
            return
        words = child.words()
        if not words:  # It is ending, which SIGCHLD tells.
            self._selector.unregister(child.channel)
        for word in words:
            if word is Word.READY:
                self._ready(child)
            elif word is Word.WANTED:
                self._reload.begin()
            else:
                self._reload.answered(child, word)

    def _ready(self, child: Child) -> None:
        child.is_ready = True
        if child.is_outdated:
            self._reload.begin()
        if not self._announced and not self._stopping:
            for number in range(1, self._plan.count + 1):
                if number not in self._children and number not in self._due:
                    self._start(number, AT_ONCE)
            if all(each.is_ready for each in self._children.values()) and not self._due:
                self._announced = True
                self._children[1].tell(Word.ANNOUNCE)

    def _bury(self) -> None:
        for child in list(self._children.values()):
            if child.status is not None:
                self._forget(child)
                self._replace(child)

    def _forget(self, child: Child) -> None:
        del self._children[child.number]
        if child.channel in self._selector.get_map():
            self._selector.unregister(child.channel)
        child.channel.close()
        self._reload.gone(child)

    def _replace(self, child: Child) -> None:
        began = child.is_ready or self._announced or bool(self._children or self._due)
        if self._stopping or not began:
            self._status = max(self._status, child.status or 0)
            if not began and (child.status or 0) < 0 and not self._stopping:
                logger.error("%s ended with %s before it was ready", child, child.ended)
                self._status = 1
            return
        pause = child.next_pause
        when = f"in {pause:g} s" if pause else "at once"
        logger.warning("%s ended with %s, and is replaced %s", child, child.ended, when)
        self._due[child.number] = (time.monotonic() + pause, pause)


def described(database: Supervised) -> Embedded:
    """Return what processes have to know of the database."""
    server = database.server
    return Embedded(server.dsn, server.version, str(server.data_dir), str(server.socket_path))

"""A reload of several processes: all swap to what the configuration says now, or none does."""

import logging
import time
from collections.abc import Iterable, Mapping

from mcpserve.processes.child import Child
from mcpserve.processes.plan import Word

logger = logging.getLogger(__name__)

TIMEOUT = 100.0
"""Seconds for all to make what the configuration says now; ``mcpserve reload`` waits for 120."""


class Reload:
    """At most one at a time; what is wanted meanwhile is one more.

    One process is asked first, so that what is wrong for all is told once.
    """

    def __init__(self, children: Mapping[int, Child]) -> None:
        """Ask these, which come and go."""
        self._children = children
        self._later: list[Child] = []
        """Who is asked when the first is prepared."""
        self._asked: list[Child] = []
        """Who has not answered yet."""
        self._prepared: list[Child] = []
        self._verdict = Word.SWAP
        self._again = False
        self.due: Iterable[float] = ()
        """When to look at the clock."""

    def begin(self) -> None:
        """Let all who serve prepare; who only starts is asked again when it does."""
        if self.due:
            self._again = True
            return
        ready = [child for _, child in sorted(self._children.items()) if child.is_ready]
        for child in self._children.values():
            child.is_outdated = not child.is_ready
        if ready:
            self.due = [time.monotonic() + TIMEOUT]
            self._verdict, self._prepared = Word.SWAP, []
            self._asked, self._later = [], ready[1:]
            self._ask(ready[0])

    def answered(self, child: Child, word: Word) -> None:
        """Take the answer of a process, and tell all what to do if it is the last."""
        if child not in self._asked:
            if word is Word.PREPARED:  # Too late.
                child.tell(Word.KEEP)
            return
        self._asked.remove(child)
        if word is Word.PREPARED:
            self._prepared.append(child)
            self._ask(*self._later)
        else:
            self._verdict = Word.KEEP
        self._later = []
        if not self._asked:
            self._end()

    def gone(self, child: Child) -> None:
        """Wait for a process no more that has ended."""
        if child in self._later:
            self._later.remove(child)
        if child in self._asked:
            self.answered(child, Word.REFUSED)

    def look_at_the_clock(self) -> None:
        """Give up a reload that takes too long."""
        if any(due <= time.monotonic() for due in self.due):
            for child in self._asked:
                logger.error("%s did not prepare to reload in time: all stay as they were", child)
            self._asked, self._verdict = [], Word.KEEP
            self._end()

    def _ask(self, *children: Child) -> None:
        self._asked += children
        for child in children:
            child.tell(Word.PREPARE)

    def _end(self) -> None:
        self.due = ()
        for child in self._prepared:
            child.tell(self._verdict)
        if self._again:
            self._again = False
            self.begin()

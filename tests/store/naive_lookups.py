"""How not to let lookups wait together: plausible code that the checks here find broken.

Nothing but test_lookups.py uses it.
"""

import asyncio

from mcpserve.batching import Lookups


class Joining(Lookups):
    """Whoever asks for a key that is under way waits for that answer: it may be an old one."""

    def __init__(self, ask):
        super().__init__(ask)
        self._asked = {}

    async def find(self, key):
        if key not in self._asked:
            task = asyncio.ensure_future(super().find(key))
            self._asked[key] = task
            task.add_done_callback(lambda _: self._asked.pop(key, None))
        return await asyncio.shield(self._asked[key])


class Remembering(Lookups):
    """An answer is good for the next who ask."""

    def __init__(self, ask):
        super().__init__(ask)
        self._known = {}

    async def find(self, key):
        if key not in self._known:
            self._known[key] = await super().find(key)
        return self._known[key]


class SharingFutures(Lookups):
    """Two who ask for one key wait for one future: who stops waiting stops the other."""

    async def find(self, key):
        for waiting, future in self._waiting:
            if waiting == key:
                return (await future).result().get(key)
        return await super().find(key)


class SharingErrors(Lookups):
    """The same exception is raised in every task."""

    def _answer(self, batch, task):
        if not task.cancelled() and (error := task.exception()):
            self._under_way.discard(task)
            self._tasks.discard(task)
            self._send()
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        super()._answer(batch, task)


class LedByTheFirst(Lookups):
    """Who waits longest asks for all: whoever stops it fails all."""

    async def find(self, key):
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((key, future))
        if len(self._waiting) == 1:
            while len(self._under_way) >= 2:
                await asyncio.sleep(0)
            if batch := self._next():
                mark = object()
                self._under_way.add(mark)
                try:
                    found = await self._ask(tuple(dict.fromkeys(key for key, _ in batch)))
                except BaseException as error:
                    for _, other in batch:
                        if not other.done():
                            other.set_exception(RuntimeError("its leader is gone"))
                            other.exception()
                    raise error
                finally:
                    self._under_way.discard(mark)
                for asked, other in batch:
                    if not other.done():
                        other.set_result(found.get(asked))
        return await future


class AnsweringInTheTask(Lookups):
    """The task that asks also answers: if it is cancelled before it begins, nobody does."""

    def _send(self):
        if len(self._under_way) >= 2 or not (batch := self._next()):
            return

        async def ask():
            try:
                found = await self._ask(tuple(dict.fromkeys(key for key, _ in batch)))
            finally:
                self._under_way.discard(task)
                self._send()
            answer = asyncio.get_running_loop().create_future()
            answer.set_result(found)
            for _, done in batch:
                if not done.done():
                    done.set_result(answer)

        task = asyncio.ensure_future(ask())
        self._under_way.add(task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Patient(Lookups):
    """Waits for a statement however long that takes."""

    def _hurry(self, first):
        self._watch()


class Greedy(Lookups):
    """Takes whoever came last first."""

    def _next(self):
        self._waiting.reverse()
        return super()._next()

"""Commands to the servers that run with a database, and their answers, as notices in it.

Whoever may connect to the database may ask; so nothing can be asked for that does harm, and no
answer holds a secret.
"""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mcpserve.db import Database
from mcpserve.errors import ConfigError, DatabaseError

logger = logging.getLogger(__name__)

CHANNEL = "mcpserve_control"
"""Where servers listen."""

ANSWERS = "mcpserve_answers_"
"""What the channels begin with where whoever asks listens."""

PART = 3000
"""Characters of an answer in one notice: within its limit whatever has to be escaped."""

HEARD_TIMEOUT = 5.0
"""Seconds for a server to say that it works on an answer."""
ANSWER_TIMEOUT = 120.0
"""Seconds for all answers."""

Handler = Callable[[], Awaitable[Mapping[str, Any]]]


@dataclass
class Answer:
    """What one server says, in as many parts as it takes."""

    process: str
    """``host:pid``, for people."""
    parts: dict[int, str] = field(default_factory=dict)
    expected: int = 0
    """How many parts; 0 while the server works on it."""

    @property
    def is_complete(self) -> bool:
        """Whether all of it is there."""
        return 0 < self.expected == len(self.parts)

    @property
    def content(self) -> Mapping[str, Any] | None:
        """The answer; ``None`` if it did not come."""
        if not self.is_complete:
            return None
        content: Mapping[str, Any] = json.loads("".join(self.parts[n] for n in sorted(self.parts)))
        return content


def process_name() -> str:
    """Return what people may find this process by."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def answer(db: Database, handlers: Mapping[str, Handler]) -> None:
    """Do what is asked, each thing by its handler, until cancelled.

    Where nothing can be heard, say so and return.
    """
    identity = secrets.token_hex(8)
    working: set[asyncio.Task[None]] = set()
    try:
        async with contextlib.aclosing(db.notices(CHANNEL)) as notices:
            async for payload in notices:
                if payload is None or (asked := _asked(payload, handlers)) is None:
                    continue
                task = asyncio.create_task(_work(db, identity, *asked))
                working.add(task)
                task.add_done_callback(working.discard)
    except ConfigError as error:
        logger.warning("%s", error)
    finally:
        for task in working:
            task.cancel()
        if working:
            await asyncio.wait(working)


def _asked(payload: str, handlers: Mapping[str, Handler]) -> tuple[str, Handler] | None:
    """Return where to answer, and by what; ``None`` for what is not in our language."""
    try:
        asked = json.loads(payload)
        channel, handler = str(asked["answer"]), handlers[asked["do"]]
    except (ValueError, KeyError, TypeError):
        logger.warning("a command was not understood; another version may have sent it")
        return None
    return (channel, handler) if channel.startswith(ANSWERS) else None


async def _work(db: Database, identity: str, channel: str, handler: Handler) -> None:
    async def tell(**more: Any) -> None:
        await db.notify(channel, json.dumps({"from": identity, **more}))

    try:
        await tell(process=process_name())
        text = json.dumps(await handler())
        parts = [text[start : start + PART] for start in range(0, len(text), PART)]
        for number, part in enumerate(parts):
            await tell(number=number, part=part, of=len(parts))
    except DatabaseError as error:
        logger.warning("a command was not answered: %s", error)
    except Exception:
        logger.exception("a command failed")


async def ask(db: Database, do: str) -> AsyncIterator[Answer]:
    """Ask every server with this database, and yield each answer once it is there.

    In the end those that are not complete in time. Raises
    :class:`~mcpserve.errors.ConfigError` where no answer can be heard.
    """
    channel = ANSWERS + secrets.token_hex(8)
    answers: dict[str, Answer] = {}
    loop = asyncio.get_running_loop()
    async with contextlib.aclosing(db.notices(channel)) as notices:
        await anext(notices)
        servers = await db.listeners(CHANNEL)
        await db.notify(CHANNEL, json.dumps({"do": do, "answer": channel}))
        asked = loop.time()
        told = 0
        with contextlib.suppress(TimeoutError):
            while told < servers:
                patience = HEARD_TIMEOUT if len(answers) - told == 0 else ANSWER_TIMEOUT
                async with asyncio.timeout_at(asked + patience):
                    payload = await anext(notices)
                if payload and (complete := _take(answers, json.loads(payload))):
                    told += 1
                    yield complete
    for late in answers.values():
        if not late.is_complete:
            yield late
    for _ in range(servers - len(answers)):
        yield Answer("a server")


def _take(answers: dict[str, Answer], notice: Mapping[str, Any]) -> Answer | None:
    """Add what came; return an answer that is complete by it."""
    if "process" in notice:
        answers[notice["from"]] = Answer(notice["process"])
        return None
    found = answers[notice["from"]]
    found.expected = notice["of"]
    found.parts[notice["number"]] = notice["part"]
    return found if found.is_complete else None

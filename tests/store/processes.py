"""Two processes that share nothing but the database."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent
WORKER = Path(__file__).with_name("worker.py")


class Worker:
    """A process that waits for orders."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def order(self, dsn: str, act: str, *numbers: int) -> None:
        """Tell it to do one of the acts to these numbers at once."""
        self._process.stdin.write(json.dumps([dsn, act, numbers]) + "\n")
        self._process.stdin.flush()

    def results(self) -> list[Any]:
        """Wait until it has done so."""
        return json.loads(self._process.stdout.readline())


@contextmanager
def started(number: int) -> Iterator[list[Worker]]:
    """Start processes; they end with the block, because their input does."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
    command = [sys.executable, str(WORKER)]
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        yield [
            Worker(
                stack.enter_context(
                    subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
                )
            )
            for _ in range(number)
        ]


def let_meet(workers: list[Worker], dsn: str, *orders: list[Any]) -> list[Any]:
    """Give each its order at the same time and return what came of all."""
    for worker, order in zip(workers, orders, strict=True):
        worker.order(dsn, *order)
    return [result for worker in workers for result in worker.results()]

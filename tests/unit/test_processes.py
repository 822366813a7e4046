"""What several processes have in common: how many there are, their sockets and their log."""

import contextlib
import os
import socket
import subprocess
import sys

import pytest

from mcpserve.processes import becoming, output
from mcpserve.processes.sockets import Shared, refuse

LINES = 30
LENGTH = 200_000

WRITER = f"""
import runpy, sys
share = runpy.run_path({output.__file__!r})["share"]
share(int(sys.argv[1]))
for _ in range({LINES}):
    sys.stderr.write(sys.argv[2] * {LENGTH} + "\\n")
"""


@pytest.mark.parametrize(
    ("asked", "embedded", "pool_size", "expected"),
    [
        (3, False, 10, 3),
        (3, True, 10, 3),
        ("auto", True, 10, 1),
        ("auto", False, 10, 8),
        ("auto", False, 1, 16),
        ("auto", False, 200, 1),
    ],
)
def test_auto_is_what_cores_and_connections_allow(
    monkeypatch, asked, embedded, pool_size, expected
):
    monkeypatch.setattr(becoming, "cores", lambda: 16)
    assert becoming.resolve(asked, embedded=embedded, pool_size=pool_size) == expected


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 6), ("150000 100000", 2), ("10000 100000", 1), ("900000 100000", 6), ("", 6)],
)
def test_a_container_has_the_cores_that_it_may_use(monkeypatch, tmp_path, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    path = tmp_path / "cpu.max"
    path.write_text(quota)
    assert becoming.cores(path) == expected
    path.unlink()
    assert becoming.cores(path) == 6


def test_lines_of_several_processes_are_whole_in_a_pipe():
    lock = output.new_lock()
    reading, writing = os.pipe()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(lock), letter], stderr=writing, pass_fds=[lock]
        )
        for letter in "abc"
    ]
    os.close(writing)
    with open(reading) as log:
        lines = log.read().splitlines()
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert sorted(set(lines)) == [letter * LENGTH for letter in "abc"]
    assert len(lines) == 3 * LINES
    os.close(lock)


def test_a_shared_socket_gives_one_connection_at_a_time():
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        shared = stack.enter_context(Shared(fileno=os.dup(plain.fileno())))
        shared.setblocking(False)
        with pytest.raises(BlockingIOError):
            shared.accept()
        for _ in range(3):
            stack.enter_context(socket.create_connection(plain.getsockname()))
        for _ in range(3):
            stack.enter_context(shared.accept()[0])
            with pytest.raises(BlockingIOError):
                shared.accept()


@pytest.mark.skipif(sys.platform != "linux", reason="nothing else can")
@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_after_a_refusal_only_who_had_connected_is_served(family, host):
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server((host, 0), family=family))
        waiting = stack.enter_context(socket.create_connection(listening.getsockname()[:2]))
        refuse([listening])
        with pytest.raises(TimeoutError):
            socket.create_connection(listening.getsockname()[:2], timeout=0.1)
        accepted = stack.enter_context(listening.accept()[0])
        waiting.sendall(b"question")
        assert accepted.recv(100) == b"question"

"""The supervisor, with processes that do nothing but what a test says."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from mcpserve.processes.becoming import supervisor
from mcpserve.processes.plan import Log, Plan

PATIENCE = 10.0

STUB = """
import json, os, pathlib, select, signal, socket, sys, time
folder = pathlib.Path(sys.argv[1])
place = json.loads(os.environ["_MCPSERVE_PROCESS"])
number = place["number"]
channel = socket.socket(fileno=place["channel"])
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

def told(what):
    with open(folder / "told", "a") as file:
        file.write(f"{what}\\n")

def ready():
    told(f"begin {number} {os.getpid()}")
    channel.send(first + then)

def hear():
    if not select.select([channel], [], [], 0)[0] or not (word := channel.recv(1)):
        return
    told(f"{word.decode()} {number}")
    if word == b"?" and (said := answer.get(number, b"o")):
        channel.send(said)
    if word == b"?" and said == b"die":
        os._exit(3)

def serve():
    ready()
    while os.getppid() == parent:
        hear()
        if signal.sigtimedwait({signal.SIGTERM}, 0.01):
            told(f"SIGTERM {number}")
            break
    if stubborn:
        told(f"{channel.recv(1)} {number}")

answer, stubborn, parent = {}, False, os.getppid()
first, then = b"r", b""
"""


@contextlib.contextmanager
def supervised(folder, script, *, count=2, patience=PATIENCE):
    """Yield a supervisor of processes that run a script."""
    (folder / "told").touch()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        os.set_inheritable(listening.fileno(), True)
        command = [sys.executable, "-S", "-c", STUB + script, str(folder)]
        log = Log("info", "json")
        sockets = [listening.fileno()]
        plan = Plan(count, command, sockets, log, None, connections=50, patience=patience)
        popen = subprocess.Popen(
            supervisor(plan),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[listening.fileno()],
            text=True,
        )
    try:
        yield popen
    finally:
        popen.kill()
        popen.communicate()


def told(folder, count, what=""):
    """Wait for so many lines of what processes did, and return them."""
    deadline = time.monotonic() + PATIENCE
    while True:
        lines = (folder / "told").read_text().splitlines()
        if len(found := [line for line in lines if line.startswith(what)]) >= count:
            return found
        assert time.monotonic() < deadline, lines
        time.sleep(0.01)


def messages(stderr):
    return [json.loads(line)["message"] for line in stderr.splitlines()]


@pytest.mark.parametrize("status", [1, 2, 70])
def test_a_first_process_that_cannot_start_is_the_only_one_and_its_exit_code_counts(
    tmp_path, status
):
    with supervised(tmp_path, f"told('tried'); sys.exit({status})") as popen:
        assert popen.communicate(timeout=PATIENCE)[1] == ""
        assert popen.returncode == status
        assert told(tmp_path, 1) == ["tried"]


def test_a_first_process_that_is_killed_before_it_is_ready_is_told_of(tmp_path):
    with supervised(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)") as popen:
        [message] = messages(popen.communicate(timeout=PATIENCE)[1])
        assert message.startswith("process 1 (pid ")
        assert message.endswith(" ended with signal 9 before it was ready")
        assert popen.returncode == 1


def test_who_dies_is_replaced_at_once_and_who_dies_again_after_longer_and_longer(tmp_path):
    with supervised(tmp_path, "serve()") as popen:
        said, empty, killed = [], [], 0.0
        for count in (2, 3, 4):
            begun = told(tmp_path, count, "begin")
            empty.append(time.monotonic() - killed)
            killed = time.monotonic()
            os.kill(int(begun[-1].split()[2]), signal.SIGKILL)
            said += messages(popen.stderr.readline())
        popen.terminate()
        assert popen.communicate(timeout=PATIENCE)[1] == ""
        assert popen.returncode == 0
    assert [line.split()[1] for line in told(tmp_path, 4, "begin")] == ["1", "2", "2", "2"]
    assert empty[2] > 0.9
    assert [message.rpartition("replaced ")[2] for message in said] == [
        "at once",
        "in 1 s",
        "in 2 s",
    ]


def test_all_are_told_to_stop_once_and_to_hurry_at_the_second_signal(tmp_path):
    with supervised(tmp_path, "stubborn = True; serve()", count=3) as popen:
        told(tmp_path, 1, "a")
        popen.send_signal(signal.SIGINT)
        told(tmp_path, 3, "SIGTERM")
        assert "b'h'" not in (tmp_path / "told").read_text()
        popen.send_signal(signal.SIGTERM)
        assert popen.communicate(timeout=PATIENCE)[1] == ""
        assert popen.returncode == 0
    heard = [line.split()[0] for line in told(tmp_path, 10)]
    assert (heard.count("SIGTERM"), heard.count("b'h'")) == (3, 3)


def test_who_does_not_react_when_the_server_stops_is_killed_after_a_while(tmp_path):
    stuck = "if number == 2: ready(); os.kill(os.getpid(), signal.SIGSTOP)\nserve()"
    with supervised(tmp_path, stuck, patience=0.3) as popen:
        told(tmp_path, 1, "a")
        popen.terminate()
        [message] = messages(popen.communicate(timeout=PATIENCE)[1])
        assert popen.returncode == 1
    assert message.startswith("process 2 (pid ")
    assert message.endswith(" does not end, and is killed")


@pytest.mark.parametrize(
    ("answers", "asked", "verdict", "heard"),
    [
        ("{}", {1, 2, 3}, "+", {1, 2, 3}),
        ("{1: b'n'}", {1}, "", set()),
        ("{2: b'n'}", {1, 2, 3}, "-", {1, 3}),
        ("{3: b'die'}", {1, 2, 3}, "-", {1, 2}),
    ],
    ids=["all can", "the first cannot", "another cannot", "another dies of it"],
)
def test_either_all_swap_or_none_does(tmp_path, answers, asked, verdict, heard):
    with supervised(tmp_path, f"answer = {answers}; serve()", count=3) as popen:
        told(tmp_path, 1, "a")
        popen.send_signal(signal.SIGHUP)
        assert told(tmp_path, len(asked), "?")[0] == "? 1"
        told(tmp_path, len(heard), verdict)
        popen.terminate()
        popen.communicate(timeout=PATIENCE)
    assert numbers(tmp_path, "?") == asked
    assert {word: numbers(tmp_path, word) for word in "+-" if numbers(tmp_path, word)} == (
        {verdict: heard} if verdict else {}
    )


@pytest.mark.parametrize(
    ("script", "swaps"),
    [("first, then = b'r', b'w'", 2), ("first, then = b'w', b'r'", 3)],
    ids=["by one that serves", "by one that only starts"],
)
def test_what_one_is_asked_for_all_do(tmp_path, script, swaps):
    with supervised(tmp_path, f"if number == 2: {script}\nserve()") as popen:
        told(tmp_path, swaps, "+")
        popen.terminate()
        popen.communicate(timeout=PATIENCE)
    assert numbers(tmp_path, "+") == {1, 2}


def numbers(folder, what):
    """Return which processes told this."""
    return {int(line.split()[1]) for line in told(folder, 0, f"{what} ")}

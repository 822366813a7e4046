"""mcpserve and its peers: each started afresh in every round, checked, warmed up and loaded."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench import machine, peers, subject
from bench.lab import Lab
from bench.load import Load
from bench.servers import Running
from bench.subject import Subject
from bench.wire import Era

CONNECTIONS = (16, 64)
WARM_UP, SECONDS = 3, 5
SHORT = 1
"""Seconds of both in the short form."""
ATTEMPTS = 3
"""How often a disturbed run is repeated; the least disturbed one counts, whatever it measured."""

Record = dict[str, Any]


def compare(
    lab: Lab, only: Sequence[str], *, short: bool, rounds: int
) -> tuple[list[Record], list[Record]]:
    """Measure and return the runs of wrk, and what was seen of the processes, as records."""
    installed = lab.install("mcpserve", subject.copy(None, lab.folder / "tree"))
    servers = [installed.server, *peers.servers(installed.port, installed.database)]
    servers = [server for server in servers if server.name in only]
    for server in servers:
        peers.install(server.name)
    runs: list[Record] = []
    processes: list[Record] = []
    for number in range(rounds):
        for server in servers if number % 2 == 0 else reversed(servers):
            print(f"round {number + 1} of {rounds}: {server.name}", flush=True)
            with lab.started(installed, server) as running:
                idle = machine.memory(running.pid)
                measured = _measure(lab, installed, running, short=short)
                loaded = machine.memory(running.pid)
            about = {"round": number, "server": server.name}
            runs += [about | run for run in measured]
            memory = {"idle": asdict(idle), "loaded": asdict(loaded)}
            processes.append(about | {"start": running.start} | memory)
    return runs, processes


def _measure(lab: Lab, installed: Subject, running: Running, *, short: bool) -> list[Record]:
    measured = []
    for era in running.server.eras:
        lab.warm_up(installed, running.pid, (era,), seconds=SHORT if short else WARM_UP)
        for connections in CONNECTIONS:
            load = _least_disturbed(lab, installed, running.pid, era, connections, short=short)
            about = {"era": era, "connections": connections, "disturbed": load.disturbed}
            measured.append(about | asdict(load))
    return measured


def _least_disturbed(
    lab: Lab, installed: Subject, pid: int, era: Era, connections: int, *, short: bool
) -> Load:
    attempts: list[Load] = []
    while not attempts or (attempts[-1].disturbed and not short and len(attempts) < ATTEMPTS):
        seconds = SHORT if short else SECONDS
        attempts.append(lab.load(installed, pid, era, connections, seconds=seconds))
    return min(attempts, key=lambda load: load.other)

"""One mcpserve against another: both run, and take the same load by turns, second by second.

What a request costs the core varies far less than how many there are in a second: judge by that.
"""

from contextlib import ExitStack
from typing import NamedTuple

from bench import machine, stats, subject
from bench.lab import Lab
from bench.load import Load
from bench.subject import Subject
from bench.wire import ERAS, Era

TURNS = ("before", "after", "after", "before")
"""Whatever grows or fades with time does so for both. Few turns and many rounds, because even two
processes of one program differ: by where things lie in memory, and how they are hashed."""
SECONDS = 1
"""Of one turn, and of the warm-up."""


class Work(NamedTuple):
    """What is asked of a server."""

    era: Era
    connections: int

    def __str__(self) -> str:
        return f"{self.era}, {self.connections} connections"


class Pair(NamedTuple):
    """Two neighbours in time."""

    before: Load
    after: Load


def works(*, short: bool) -> list[Work]:
    """Return what is measured."""
    return [Work(era, count) for era in ERAS for count in ((16,) if short else (16, 64))]


def compare(lab: Lab, revision: str, *, short: bool, rounds: int) -> None:
    """Measure ``revision`` (a commit, or the folder of a tree) and ours; print their ratios."""
    pairs: dict[Work, list[Pair]] = {work: [] for work in works(short=short)}
    sides = {
        "before": lab.install("before", subject.copy(revision, lab.folder / "tree-before")),
        "after": lab.install("after", subject.copy(None, lab.folder / "tree-after")),
    }
    starts: dict[str, list[float]] = {name: [] for name in sides}
    memories: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        with ExitStack() as stack:
            started = {name: stack.enter_context(lab.started(sides[name])) for name in order}
            pids = {name: running.pid for name, running in started.items()}
            for name in order:
                lab.warm_up(sides[name], pids[name], seconds=SECONDS)
            for work in pairs:
                pairs[work] += _by_turns(lab, sides, pids, work)
            for name in order:
                starts[name].append(started[name].start)
                memories[name].append(machine.memory(pids[name]).rss)
        print(f"round {number + 1} of {rounds}", flush=True)
    print(table(pairs))
    print("processes")
    print(_line("start, s", starts["before"], starts["after"], ".2f"))
    print(_line("memory after load, MiB", memories["before"], memories["after"]))


def _by_turns(lab: Lab, sides: dict[str, Subject], pids: dict[str, int], work: Work) -> list[Pair]:
    runs = [
        (name, lab.load(sides[name], pids[name], work.era, work.connections, seconds=SECONDS))
        for name in TURNS
    ]
    neighbours = [dict(both) for both in zip(runs[::2], runs[1::2], strict=True)]
    return [Pair(both["before"], both["after"]) for both in neighbours]


def table(pairs: dict[Work, list[Pair]]) -> str:
    """Return what was found, for people: below 1 a request costs less than before."""
    lines = []
    for work, measured in pairs.items():
        cpu = [pair.before.cpu for pair in measured], [pair.after.cpu for pair in measured]
        rate = [pair.before.rate for pair in measured], [pair.after.rate for pair in measured]
        disturbed = sum(a.disturbed or b.disturbed for a, b in measured)
        lines.append(f"{work}: {len(measured)} pairs, {disturbed} of them disturbed")
        lines.append(_line("CPU of a request, µs", *cpu))
        least = min(cpu[0]), min(cpu[1])
        lines.append(
            f"  {'the least of it':<22}{least[0]:>7.0f} → {least[1]:>5.0f}"
            f"   × {least[1] / least[0]:.3f}   (noise only ever adds)"
        )
        lines.append(_line("requests a second", *rate))
    return "\n".join(lines)


def _line(what: str, before: list[float], after: list[float], form: str = ".0f") -> str:
    ratio, (low, high) = stats.paired(after, before), stats.quartiles(after, before)
    return (
        f"  {what:<22}{stats.median(before):>7{form}} → {stats.median(after):>5{form}}"
        f"   × {ratio.median:.3f}   (half of the pairs {low:.3f} to {high:.3f},"
        f" all {ratio.low:.3f} to {ratio.high:.3f})"
    )

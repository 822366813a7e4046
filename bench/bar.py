"""What is promised: ratios to peers, and whether a set of measurements keeps them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import stats
from bench.stats import Ratio
from bench.wire import Era

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Promise:
    """A ratio of ours to a peer's, and the least or the most that it may be."""

    metric: str
    """A key of a run: ``rate`` or ``p99``; or of a process: ``start`` or ``loaded``."""
    against: str
    era: Era | None = None
    at_least: float | None = None
    at_most: float | None = None

    def is_kept(self, ratio: float) -> bool:
        """Whether this ratio is good enough."""
        if self.at_least is not None and ratio < self.at_least:
            return False
        return self.at_most is None or ratio <= self.at_most

    @property
    def bound(self) -> str:
        """The bound, for people."""
        return f"≥ {self.at_least}" if self.at_least is not None else f"≤ {self.at_most}"


PROMISES = (
    Promise("rate", "typescript-v1", "handshake", at_least=3.0),
    Promise("p99", "typescript-v1", "handshake", at_most=0.5),
    Promise("rate", "typescript-v2", "modern", at_least=2.0),
    Promise("p99", "typescript-v2", "modern", at_most=0.5),
    Promise("rate", "python-sdk", "handshake", at_least=2.5),
    Promise("rate", "python-sdk", "modern", at_least=1.6),
    Promise("rate", "fastmcp", "handshake", at_least=4.0),
    Promise("rate", "fastmcp", "modern", at_least=4.0),
    Promise("rate", "tornado-aiopg", "handshake", at_least=0.9),
    Promise("rate", "tornado-aiopg", "modern", at_least=0.7),
    Promise("rate", "tornado", "handshake", at_least=0.6),
    Promise("rate", "tornado", "modern", at_least=0.5),
    Promise("loaded", "typescript-v1", at_most=0.6),
    Promise("start", "python-sdk", at_most=1.2),
)


@dataclass(frozen=True)
class Verdict:
    """How a promise was kept; ``connections`` is None for what is seen of a process."""

    promise: Promise
    connections: int | None
    ratio: Ratio
    effort: float | None
    """How many times more of a core a request costs the peer: as ``ratio``, but less moved by what
    else the machine does. None for what is no throughput."""
    measured: int
    """How many pairs there are."""
    undisturbed: int
    """How many pairs nobody disturbed; only those count, unless there are none."""

    @property
    def kept(self) -> bool:
        """Whether the median is good enough."""
        return self.promise.is_kept(self.ratio.median)


def judge(runs: Sequence[Record], processes: Sequence[Record]) -> list[Verdict]:
    """Judge every promise that something was measured for."""
    return [
        verdict
        for promise in PROMISES
        for connections in (_connections(runs) if promise.era else [None])
        if (verdict := _judge(promise, runs if promise.era else processes, connections))
    ]


def _connections(runs: Sequence[Record]) -> list[int]:
    return sorted({run["connections"] for run in runs})


def _judge(promise: Promise, records: Sequence[Record], connections: int | None) -> Verdict | None:
    """Pair what was measured in the same round."""
    ours = _by_round(records, "mcpserve", promise, connections)
    theirs = _by_round(records, promise.against, promise, connections)
    pairs = [(ours[number], theirs[number]) for number in sorted(ours.keys() & theirs.keys())]
    if not pairs:
        return None
    quiet = [pair for pair in pairs if not any(record.get("disturbed") for record in pair)]
    counted = quiet or pairs
    ratio = _ratio(counted, promise.metric)
    effort = 1 / _ratio(counted, "cpu").median if promise.metric == "rate" else None
    return Verdict(promise, connections, ratio, effort, len(pairs), len(quiet))


def _ratio(pairs: Sequence[tuple[Record, Record]], metric: str) -> Ratio:
    ours, theirs = zip(*pairs, strict=True)
    return stats.paired([value(r, metric) for r in ours], [value(r, metric) for r in theirs])


def _by_round(
    records: Sequence[Record], server: str, promise: Promise, connections: int | None
) -> dict[int, Record]:
    return {
        record["round"]: record
        for record in records
        if record["server"] == server
        and record.get("era") == promise.era
        and record.get("connections") == connections
    }


def value(record: Record, metric: str) -> float:
    """Return a number of a run or of a process; of memory, what the process holds itself."""
    found = record[metric]
    return float(found["rss"] if isinstance(found, Mapping) else found)

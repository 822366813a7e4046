"""What a soak says: is it as good at the end as it was at the beginning? Pure."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.report import table

MEMORY_GROWTH = 0.02
"""Of its median, in ten minutes."""
SLOWER = 1.25
"""The quantile of the last third by that of the first."""
TALKATIVE = 0.05
"""How far log bytes per request of the last third may be from those of the first, relatively."""
FASTER_GROWTH = 1.5
"""By how much the database may grow faster in the last third than in the first."""
THREADS = 2
"""That start when somebody logs in, after each reload anew."""
LEAST = 20
"""Requests of a kind in a third of the time; fewer say nothing."""
ENOUGH = 500
"""Requests in a third of the time of which the 99th percentile says more than their worst ones."""

Point = tuple[float, float]
"""Seconds since the beginning, and a value."""


@dataclass(frozen=True)
class Verdict:
    """One line of the table."""

    what: str
    seen: str
    allowed: str
    flat: bool | None
    """``None``: too little was seen to tell."""


def slope(points: Sequence[Point]) -> float:
    """Return the median slope of all pairs, which outliers do not move (Theil and Sen)."""
    slopes = [
        (later - value) / (then - at)
        for (at, value), (then, later) in itertools.combinations(points, 2)
        if then != at
    ]
    if not slopes:
        raise ValueError("two points at least make a slope")
    return statistics.median(slopes)


def second_half(points: Sequence[Point]) -> list[Point]:
    """Return the points of the second half of the time."""
    middle = (points[0][0] + points[-1][0]) / 2
    return [point for point in points if point[0] >= middle]


def thirds(points: Sequence[Point], seconds: float) -> tuple[list[float], list[float]]:
    """Return the values of the first and of the last third of so many seconds."""
    first = [value for at, value in points if at < seconds / 3]
    last = [value for at, value in points if at >= seconds * 2 / 3]
    return first, last


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that so great a share does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def memory(points: Sequence[Point]) -> Verdict:
    """Judge MiB: does it grow in the second half?"""
    half = second_half(points)
    growth = slope(half) * 600 / statistics.median(value for _, value in half)
    return Verdict(
        "memory",
        f"{points[0][1]:.1f} → {points[-1][1]:.1f} MiB, {growth:+.1%} in 10 min",
        f"below {MEMORY_GROWTH:+.0%}",
        growth < MEMORY_GROWTH,
    )


def same(what: str, before: int, after: int) -> Verdict:
    """Judge what has to be as before when nobody asks for anything."""
    return Verdict(f"{what}, idle", f"{before} → {after}", "equal", before == after)


def threads(before: int, after: int) -> Verdict:
    """Judge how many threads there are when nobody asks for anything."""
    most = before + THREADS
    return Verdict("threads, idle", f"{before} → {after}", f"{most} at most", after <= most)


def latency(kind: str, points: Sequence[Point], seconds: float) -> Verdict:
    """Judge how long requests of a kind took, in seconds."""
    first, last = thirds(points, seconds)
    fewest = min(len(first), len(last))
    if fewest < LEAST:
        return Verdict(kind, f"{fewest} in a third of the time", f"{LEAST} at least", None)
    share = 0.99 if fewest >= ENOUGH else 0.9
    before, after = (1000 * quantile(values, share) for values in (first, last))
    middle = 1000 * statistics.median(value for _, value in points)
    return Verdict(
        f"{kind}, p{share * 100:.0f}",
        f"{before:.1f} → {after:.1f} ms, median {middle:.1f}",
        f"{SLOWER} times",
        after <= SLOWER * before,
    )


def log(points: Sequence[Point], seconds: float) -> Verdict:
    """Judge log bytes per request."""
    before, after = (statistics.median(values) for values in thirds(points, seconds))
    return Verdict(
        "log bytes per request",
        f"{before:.0f} → {after:.0f}",
        f"within {TALKATIVE:.0%}",
        abs(after - before) <= TALKATIVE * before,
    )


def database(points: Sequence[Point], requests: int) -> Verdict:
    """Judge bytes of all tables: they grow with use, but not ever faster."""
    third = (points[-1][0] - points[0][0]) / 3
    early = [point for point in points if point[0] <= points[0][0] + third]
    late = [point for point in points if point[0] >= points[-1][0] - third]
    before, after = (max(0.0, slope(part)) for part in (early, late))
    grown = points[-1][1] - points[0][1]
    return Verdict(
        "tables",
        f"{before / 1024:.1f} → {after / 1024:.1f} KiB/s, {grown / max(1, requests):.0f} bytes"
        " a request",
        f"{FASTER_GROWTH} times",
        after <= FASTER_GROWTH * before or after < 1024,
    )


def failures(found: Mapping[str, int]) -> Verdict:
    """Judge answers that nobody expected."""
    seen = "; ".join(f"{number} × {what}" for what, number in found.items()) or "none"
    return Verdict("unexpected answers", seen, "none", not found)


def shown(verdicts: Sequence[Verdict]) -> str:
    """Return the table in Markdown."""
    words = {True: "yes", False: "**no**", None: "too few"}
    rows = [(each.what, each.seen, each.allowed, words[each.flat]) for each in verdicts]
    return table(("", "first → last", "allowed", "flat"), rows)

"""Ratios of neighbours in time, and what is told of many of them. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

median = statistics.median


@dataclass(frozen=True)
class Ratio:
    """What pairs of measurements say together."""

    median: float
    low: float
    high: float
    pairs: int

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Divide neighbours, ours by theirs; then take median and extremes.

    Not the ratio of two medians: what slowed a machine for a while slowed both neighbours.
    """
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    if not ratios:
        raise ValueError("nothing was measured")
    return Ratio(median(ratios), min(ratios), max(ratios), len(ratios))


def quartiles(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Return between which ratios half of the pairs are."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    if len(ratios) == 1:
        return ratios[0], ratios[0]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return low, high

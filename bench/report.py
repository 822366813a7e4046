"""Tables of what was measured. Pure: the same results give the same text."""

from collections.abc import Iterable, Sequence
from typing import Any

from bench import bar, peers, stats
from bench.bar import Record, Verdict
from bench.wire import ERAS

LABELS = {"mcpserve": "**mcpserve**"} | {peer.name: peer.label for peer in peers.servers(0, "")}
METRICS = {
    "rate": "requests a second",
    "p99": "99th percentile",
    "loaded": "memory after load",
    "start": "start",
}


def report(results: Record) -> str:
    """Return all tables, with what they were measured on."""
    runs, processes = results["runs"], results["processes"]
    parts = [_measured_on(results)]
    if runs:
        parts += [_promises(bar.judge(runs, processes)), _figures(runs, processes)]
    if results["others"]:
        parts.append(_others(results["others"]))
    return "\n\n".join(parts)


def _measured_on(results: Record) -> str:
    runs = results["runs"]
    disturbed = sum(run["disturbed"] for run in runs)
    return (
        f"Measured on {results['date']}: {results['machine']}; Python {results['python']},"
        f" Node.js {results['node']}, PostgreSQL {results['postgres']}."
        f" Rounds: {len({run['round'] for run in runs})};"
        f" {disturbed} of {len(runs)} runs were disturbed."
    )


def _promises(verdicts: Iterable[Verdict]) -> str:
    rows = []
    for verdict in verdicts:
        promise = verdict.promise
        what = METRICS[promise.metric] + (f", {promise.era} era" if promise.era else "")
        rows.append(
            (
                what,
                LABELS[promise.against],
                str(verdict.connections or ""),
                promise.bound,
                str(verdict.ratio),
                f"{verdict.effort:.2f}" if verdict.effort else "",
                f"{verdict.undisturbed} of {verdict.measured}",
                "yes" if verdict.kept else "**no**",
            )
        )
    head = (
        "mcpserve's",
        "by that of",
        "connections",
        "promised",
        "ratio",
        "by CPU",
        "pairs",
        "kept",
    )
    return table(head, rows)


def _figures(runs: Sequence[Record], processes: Sequence[Record]) -> str:
    rows = []
    for name, label in LABELS.items():
        seen = [process for process in processes if process["server"] == name]
        for era in ERAS:
            mine = [run for run in runs if run["server"] == name and run["era"] == era]
            if mine:
                rows.append((label, era, *_of_runs(mine), *_of_processes(seen)))
    head = ("", "era", "requests/s", "µs of CPU", "p50 ms", "p99 ms", "MiB", "start s")
    return table(head, rows)


def _of_runs(runs: Sequence[Record]) -> Iterable[str]:
    """Return each number for few and for many connections."""
    connections = sorted({run["connections"] for run in runs})
    for metric, form in (("rate", ",.0f"), ("cpu", ".0f"), ("p50", ".1f"), ("p99", ".0f")):
        medians = [
            stats.median([run[metric] for run in runs if run["connections"] == count])
            for count in connections
        ]
        yield " / ".join(format(median, form) for median in medians)


def _of_processes(processes: Sequence[Record]) -> Iterable[str]:
    idle, loaded = (
        stats.median([bar.value(process, when) for process in processes])
        for when in ("idle", "loaded")
    )
    yield f"{idle:.0f} / {loaded:.0f}"
    yield f"{stats.median([process['start'] for process in processes]):.2f}"


def _others(others: Record) -> str:
    rows = [(name, *_other(record)) for name, record in others.items()]
    return table(("", "a second", "CPU ms", "p50 ms", "p99 ms", ""), rows)


def _other(record: Record) -> tuple[str, ...]:
    def shown(key: str, form: str, scale: float = 1) -> str:
        return format(record[key] * scale, form) if key in record else ""

    notes = []
    if "bytes" in record:
        notes.append(f"{record['bytes'] / 1024:.0f} KiB")
    if "kib_each" in record:
        notes.append(f"{record['kib_each']:.0f} KiB a stream")
        notes.append(f"calls beside them; without them p99 is {record['p99_alone']:.0f} ms")
    return (
        shown("rate", ",.0f"),
        shown("cpu", ".2f", 1e-3),
        shown("p50", ".1f"),
        shown("p99", ".1f"),
        ", ".join(notes),
    )


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

"""docs/explanation/sizing.md: what stands between its markers follows from the results.

    python -m bench.sizing

Each benchmark does this itself. What was not measured yet is left out.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import stats
from bench.bar import Record
from bench.report import table

FOLDER = Path(__file__).parent / "results"
RESULTS = {name: FOLDER / f"{name}.json" for name in ("performance", "scale", "soak")}
PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "sizing.md"
BEGIN = "<!-- Written by ./dev bench, bench.scale and ./dev soak. -->"
END = "<!-- The end of what they write. -->"
CALLS = {"handshake": "calls, handshake era", "modern": "calls, modern era"}
OTHERS = {"refreshing tokens": "refreshes", "a whole login": "logins (bcrypt, 12 rounds)"}
COMMANDS = {"performance": "./dev bench", "scale": "python -m bench.scale", "soak": "./dev soak"}


def shown(measured: Mapping[str, Record]) -> str:
    """Return the part of the page that is numbers."""
    parts = [of(measured[name]) for name, of in PARTS.items() if name in measured]
    missing = [f"`{command}`" for name, command in COMMANDS.items() if name not in measured]
    if missing:
        parts.append(f"Not measured yet: {', '.join(missing)}.")
    return "\n\n".join(parts)


def of_performance(measured: Record) -> str:
    """Return what a core carries, and what a process weighs."""
    rows = [
        (label, f"{1e6 / cpu:,.0f}", f"{cpu / 1000:.2f}") for label, cpu in costs(measured).items()
    ]
    weights = [each for each in measured["processes"] if each["server"] == "mcpserve"]
    idle, loaded = (
        stats.median([each[when]["pss"] for each in weights]) for when in ("idle", "loaded")
    )
    lines = [
        f"A process takes {idle:.0f} MiB, and {loaded:.0f} MiB after load, without your plugins."
    ]
    for name, record in measured["others"].items():
        if "kib_each" in record:
            lines.append(f"An idle event stream takes {record['kib_each']:.0f} KiB ({name}).")
    head = ("", "a second, on one core", "ms of that core for each")
    return f"{about(measured)}\n\n{table(head, rows)}\n\n{' '.join(lines)}"


def costs(measured: Record) -> dict[str, float]:
    """Return microseconds of the server's core for one thing of each kind."""
    runs = [run for run in measured["runs"] if run["server"] == "mcpserve"]
    found = {
        label: stats.median([run["cpu"] for run in runs if run["era"] == era])
        for era, label in CALLS.items()
        if any(run["era"] == era for run in runs)
    }
    others = measured["others"]
    return found | {label: others[name]["cpu"] for name, label in OTHERS.items() if name in others}


def of_scale(measured: Record) -> str:
    """Return what grants weigh on the disk, and whether their number makes calls slower."""
    grants, sizes = measured["grants"], measured["bytes"]
    rows = [(name, f"{size / grants:,.0f}") for name, size in sizes.items()]
    rows.append(("together", f"{sum(sizes.values()) / grants:,.0f}"))
    calls = ", ".join(
        f"{name} {ratio['p50_ratio']:.2f}" for name, ratio in measured["calls"].items()
    )
    return (
        f"{about(measured)} A database with {grants:,} grants and ten tokens of each:\n\n"
        f"{table(('table, with its indexes', 'bytes for a grant'), rows)}\n\n"
        f"So a million grants of ten tokens take {sum(sizes.values()) / grants / 1000:.1f} GB."
        f" Median times by those with a hundredth of it: {calls}."
        f" Cleaning up deletes {measured['cleanup']['rate']:,.0f} tokens a second."
    )


def of_soak(measured: Record) -> str:
    """Return what a mixed load does to memory and disk."""
    first, last = measured["idle"]
    grown = sum(last["tables"].values()) - sum(first["tables"].values())
    return (
        f"{about(measured)} {measured['minutes']:g} minutes of a mixed load,"
        f" {measured['requests']:,} requests: {first['pss']:.0f} → {last['pss']:.0f} MiB, and"
        f" {grown / measured['requests']:.0f} bytes of tables for a request."
    )


def about(measured: Record) -> str:
    """Say when and on what."""
    return f"Measured on {measured['date']}, {measured['machine']}."


PARTS = {"performance": of_performance, "scale": of_scale, "soak": of_soak}


def filled(text: str, measured: Mapping[str, Record]) -> str:
    """Return the page with these results between its markers."""
    part = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    return part.sub(lambda _: f"{BEGIN}\n\n{shown(measured)}\n\n{END}", text)


def write() -> None:
    """Write the page from the results that there are."""
    measured: dict[str, Any] = {
        name: json.loads(path.read_text()) for name, path in RESULTS.items() if path.exists()
    }
    PAGE.write_text(filled(PAGE.read_text(), measured))


if __name__ == "__main__":
    write()

"""docs/explanation/performance.md: what stands between its markers follows from the results."""

import json
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from bench import machine, plot, report, sizing
from bench.bar import Record
from bench.lab import Lab

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
COMMITTED = RESULTS / "performance.json"
PAGE = ROOT / "docs" / "explanation" / "performance.md"
FIGURE = PAGE.with_suffix(".svg")
FIGURE_SHOWN = f"![Requests a second of each server]({FIGURE.name})"
BEGIN, END = "<!-- Written by ./dev bench. -->", "<!-- The end of what it writes. -->"


def results(
    lab: Lab, runs: list[Any], processes: list[Any], others: dict[str, Any]
) -> dict[str, Any]:
    """Return everything that was measured, and on what."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine.describe(),
        "python": platform.python_version(),
        "node": node.stdout.strip().removeprefix("v"),
        "postgres": lab.postgres.version,
        "runs": [_rounded(run) for run in runs],
        "processes": [_rounded(process) for process in processes],
        "others": _rounded(others),
    }


def write(measured: Record, *, short: bool) -> None:
    """Show the tables and keep the results; a whole run writes the page as well."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(measured, indent=1) + "\n"
    print(report.report(measured))
    if short:
        (RESULTS / "short.json").write_text(text)
        return
    shown, figure = filled(PAGE.read_text(), measured), plot.plot(measured["runs"], report.LABELS)
    COMMITTED.write_text(text)
    PAGE.write_text(shown)
    FIGURE.write_text(figure)
    sizing.write()


def filled(page: str, measured: Record) -> str:
    """Return the page with these results between its markers."""
    part = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    shown = f"{FIGURE_SHOWN}\n\n{report.report(measured)}"
    return part.sub(lambda _: f"{BEGIN}\n\n{shown}\n\n{END}", page)


def _rounded(value: Any) -> Any:
    """Return four digits of every number: more would be noise."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return value

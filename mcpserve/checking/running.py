"""Checking a plugin in a process of its own, with a limit on its time and its output."""

import json
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcpserve.checking import package, rules, sources
from mcpserve.checking.findings import Finding, from_json
from mcpserve.checking.target import Target

MEASURE = """\
import sys, time
import mcpserve.app
sys.path[:0] = sys.argv[2:]
started = time.perf_counter()
__import__(sys.argv[1])
print(time.perf_counter() - started)
"""
"""Says last how long an import takes in a process that has what the server has."""
MEASURED = "mcpserve.app"
MEASUREMENTS = 3
"""Of what may be slow. The probe's own is none: it has more imported than a server."""
NAMED = 3
"""Packages that are named as slow."""
POLL_SECONDS = 0.1
START_SECONDS = 60.0
"""For Python and the server's own modules, before the plugin's time begins."""


@dataclass(frozen=True)
class Ended:
    """What became of the process."""

    lines: Sequence[Mapping[str, Any]]
    """Of its report, see :mod:`~mcpserve.checking.probe`."""
    status: int | None
    """The exit status, ``None`` if its time was over."""
    printed: int
    """Bytes."""

    @property
    def phase(self) -> str:
        """What it did last."""
        phases = [line["phase"] for line in self.lines if "phase" in line]
        return str(phases[-1]) if phases else "it is started"

    @property
    def is_done(self) -> bool:
        """Whether it came to its own end."""
        return any("done" in line for line in self.lines)


def check(
    target: Target,
    config: Mapping[str, Any],
    call: Mapping[str, Any] | None = None,
    *,
    seconds: float,
) -> list[Finding]:
    """Return what is wrong with a plugin, errors first.

    ``seconds`` is the time for loading it, calling it and closing it.
    """
    found = [finding for check in (*package.CHECKS, *sources.CHECKS) for finding in check(target)]
    found += probed(target, config, call, seconds=seconds)
    return sorted(dict.fromkeys(found), key=lambda finding: finding.rule.severity)


def probed(
    target: Target,
    config: Mapping[str, Any],
    call: Mapping[str, Any] | None,
    *,
    seconds: float,
) -> Iterator[Finding]:
    """Load the plugin in another process, and yield what is wrong with it."""
    request = {
        "name": target.name,
        "value": target.value,
        "search": search_path(target),
        "config": dict(config),
        "call": call,
        "readme": target.package.readme if target.package else None,
        "reaches_out": sources.reaches_out(target),
    }
    ended = run(request, seconds=seconds)
    for line in ended.lines:
        if "finding" in line:
            yield from_json(line["finding"], rules.RULES)
        elif line.get("imported", 0) > rules.SLOW_IMPORT_SECONDS / 2:
            yield from slow_import(target, seconds=seconds)
    if ended.status is None:
        detail = f"does not come to an end within {seconds:g} s while {ended.phase}"
        yield Finding(rules.HANGS, detail=detail)
    elif not ended.is_done:
        detail = f"ends the process ({told_status(ended.status)}) while {ended.phase}"
        yield Finding(rules.ENDS, detail=detail)
    if ended.printed:
        detail = f"prints {ended.printed} bytes to standard output or error"
        yield Finding(rules.PRINTS, detail=detail)


def search_path(target: Target) -> list[str]:
    """Return what goes in front of the path of the process: of ``plugins_dir`` it knows nothing."""
    return [*([str(target.folder)] if target.folder else []), *sys.path]


def run(request: Mapping[str, Any], *, seconds: float) -> Ended:
    """Run the probe until its end, or until its time is over."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        report.touch()
        text = json.dumps({**request, "report": str(report)}, default=str)
        command = [sys.executable, "-W", "ignore", "-m", "mcpserve.checking.probe"]
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status, printed = wait(process, text, report, seconds=seconds)
        finally:
            kill(process)
        return Ended(list(read(report)), status, printed)


def wait(
    process: subprocess.Popen[bytes], text: str, report: Path, *, seconds: float
) -> tuple[int | None, int]:
    """Return the exit status and how many bytes it printed.

    The status is ``None`` if the process goes on for these seconds after its first report.
    """
    if process.stdin is None or process.stdout is None:
        raise ValueError("the process needs pipes")
    # A plugin reads nothing of it: the probe takes it all before it imports anything.
    with suppress(BrokenPipeError):
        process.stdin.write(text.encode())
        process.stdin.close()
    printed = 0
    output = process.stdout.fileno()
    deadline = time.monotonic() + START_SECONDS
    started = False
    while time.monotonic() < deadline:
        if not started and report.stat().st_size:
            started, deadline = True, time.monotonic() + seconds
        ready, _, _ = select.select([output], [], [], POLL_SECONDS)
        chunk = os.read(output, 65536) if ready else b""
        printed += len(chunk)
        if not chunk:
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
                break
    return process.poll(), printed


def kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def read(report: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the lines of a report, but for one that was not written to its end."""
    for line in report.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return


def told_status(status: int) -> str:
    """Return an exit status as people read it."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def slow_import(target: Target, *, seconds: float) -> Iterator[Finding]:
    """Measure the import and yield a finding, if it is slow most of the time."""
    measured = [each for _ in range(MEASUREMENTS) if (each := measure(target, seconds=seconds))]
    taken = statistics.median([float(each.stdout.split()[-1]) for each in measured] or [0])
    if taken > rules.SLOW_IMPORT_SECONDS:
        detail = f"takes {taken:.1f} s to import: {slowest(measured[-1].stderr)}"
        yield Finding(rules.SLOW_IMPORT, detail=detail)


def measure(target: Target, *, seconds: float) -> subprocess.CompletedProcess[str] | None:
    """Import the plugin in a new process; ``None`` if that fails."""
    command = [sys.executable, "-X", "importtime", "-c", MEASURE, target.module]
    try:
        return subprocess.run(  # noqa: S603
            [*command, *search_path(target)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=START_SECONDS + seconds,
            check=True,
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        return None


def slowest(importtime: str) -> str:
    """Return the packages that took longest, of what ``-X importtime`` wrote."""
    taken: Counter[str] = Counter()
    for line in importtime.splitlines():
        own, _, module = line.removeprefix("import time:").partition("|")
        name = module.partition("|")[2].strip()
        if name == MEASURED:
            taken.clear()  # what the server has imported anyway
        elif own.strip().isdigit():
            taken[name.partition(".")[0]] += int(own)
    return ", ".join(f"{name} ({own / 1e6:.2f} s)" for name, own in taken.most_common(NAMED))

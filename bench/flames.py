"""Where the time of a call goes, by py-spy: a file for speedscope, and its hottest spots."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bench import subject
from bench.lab import Lab
from bench.wire import ERAS

RATE = 250
"""Samples a second."""
RUNNING, LOOP = "BaseEventLoop._run_once (", "Handle._run ("
PLACE = re.compile(r"^(?P<name>.+) \((?P<file>.+?)(?::(?P<line>\d+))?\)$")
RESULTS = Path(__file__).parent / "results"


def profile(lab: Lab, revision: str | None, *, short: bool) -> None:
    """Profile calls of both eras; print the hottest spots and where the samples are.

    Of ``revision``, see :func:`bench.subject.copy`.
    """
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if spy is None:
        raise SystemExit("bench: py-spy is not here: pip install py-spy")
    seconds = 6 if short else 20
    installed = lab.install("profiled", subject.copy(revision, lab.folder / "tree"))
    RESULTS.mkdir(exist_ok=True)
    for era in ERAS:
        samples = RESULTS / f"{era}.collapsed"
        with lab.started(installed) as running:
            lab.warm_up(installed, running.pid, (era,), seconds=2)
            options = ["-r", str(RATE), "-d", str(seconds), "-f", "raw", "-F", "-o", str(samples)]
            command = [spy, "record", "-p", str(running.pid), *options]
            recording = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            lab.load(installed, running.pid, era, 16, seconds=seconds + 1)
            recording.wait()
        print(f"\n{era} ({samples}, opens in speedscope)")
        print(hottest(samples.read_text()))


def hottest(collapsed: str, count: int = 25) -> str:
    """Return which functions have most samples: of their own, and with what they call."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    packages: Counter[str] = Counter()
    for line in collapsed.splitlines():
        stack, _, number = line.rpartition(" ")
        if RUNNING not in stack:  # A thread beside the loop: most only wait.
            continue
        frames, samples = [_short(frame) for frame in stack.split(";")], int(number)
        # What lies above is the same for all: the loop, and how the process was started.
        step = max((at for at, frame in enumerate(frames) if frame.startswith(LOOP)), default=0)
        own[frames[-1]] += samples
        packages[_package(frames[-1])] += samples
        within.update(dict.fromkeys(frames[step:], samples))
    total = own.total()
    shares = [f"{package} {samples / total:.0%}" for package, samples in packages.most_common(12)]
    lines = [f"{total} samples: {', '.join(shares)}", f"{'self':>6}  {'':<64}{'incl.':>6}"]
    both = zip(own.most_common(count), within.most_common(count), strict=False)
    for (mine, a), (theirs, b) in both:
        lines.append(f"{a / total:>6.1%}  {mine:<64.64}{b / total:>6.1%}  {theirs}")
    return "\n".join(lines)


def _package(short: str) -> str:
    return short.rpartition("(")[2].rstrip(")").partition("/")[0]


def _short(frame: str) -> str:
    """Return function and file, without the folders that all files of a package share."""
    found = PLACE.match(frame)
    if found is None:
        return frame
    file = re.sub(r".*(site-packages|tree|lib/python[\d.]+)/", "", found["file"])
    return f"{found['name']} ({file})"

"""Is a server the same after half an hour of everything? Exits with 1 if it is not.

    ./dev soak [MINUTES]

Logins, refreshes, reuse, revocations, calls of both eras, large results, streams that hang up, bad
tokens and missing pages at a fixed rate; a reload every minute, and halfway the database crashes
and comes back. Writes bench/results/soak.json, and two pages of docs/explanation: soak and sizing.
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import signal
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psycopg2
import yaml

from bench import lab, machine, page, sizing, subject
from bench import soak_verdict as verdict
from bench.lab import Lab
from bench.servers import Running
from bench.soak_load import Grant, Load
from bench.soak_samples import Sample, Watcher
from bench.soak_verdict import Verdict
from bench.subject import Subject

INTERVAL = 10.0
"""Seconds between two samples."""
RELOADS = 60.0
LEAST = 3
SETTLED = 10.0
"""Seconds without load, after which everything has to be as before."""
AWAY = 20.0
"""Seconds from the crash of the database in which answers may be 503, or slow."""
WARM_UP = 0.15
"""Of the time: caches fill and the pool opens."""
PLUGINS = {"bench": {}, "streams": {"concurrency": 100, "timeout": "1h"}, "inside": {}}
PAGE = page.PAGE.with_name("soak.md")
RESULTS = sizing.RESULTS["soak"]
BEGIN = "<!-- Written by ./dev soak. -->"
BACKEND = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
LIMIT 1
"""


@dataclass(frozen=True)
class Soaked:
    """Everything that was seen."""

    idle: tuple[Sample, Sample]
    """Without load: after the warm-up, and at the end."""
    samples: list[Sample]
    load: Load
    seconds: float
    warnings: Counter[str]
    """What the server logged beside what it does anyhow."""


async def soak(opened: Lab, options: argparse.Namespace) -> Soaked:
    """Run a server under the load for so many minutes."""
    installed = configured(opened.install("soak", subject.copy(None, opened.folder / "t"), PLUGINS))
    seconds = options.minutes * 60
    with opened.started(installed) as running:
        log = opened.folder / f"{installed.server.name}.log"
        watcher = Watcher(installed, running.pid, log, time.monotonic())
        warm = Load(installed, grants=deque(Grant("", token) for token in installed.refresh))
        await warm.run(seconds * WARM_UP, rate=options.rate)
        before = await settled(watcher, warm)
        load = Load(installed, grants=warm.grants)
        watcher = replace(watcher, began=load.began)
        samples: list[Sample] = []
        rest = seconds * (1 - WARM_UP)
        async with beside(
            sampling(watcher, load, samples),
            reloading(running),
            crashing(installed, load, rest / 2),
        ):
            await load.run(rest, rate=options.rate)
        idle = before, await settled(watcher, load)
        return Soaked(idle, samples, load, rest, warnings_of(log))


def configured(installed: Subject) -> Subject:
    """Let it write its log, clean up often, and not tire of the failures of one address."""
    path = Path(installed.server.command[-1])
    settings = yaml.safe_load(path.read_text())
    settings["log"] = {"level": "info", "format": "json"}
    settings["cleanup"] = {"interval": "1m"}
    settings["limits"] = {"token": {"failures": 1_000_000}}
    settings["server"]["processes"] = 1
    path.write_text(yaml.safe_dump(settings))
    return installed


async def settled(watcher: Watcher, load: Load) -> Sample:
    """Return a sample once nobody has asked for anything for a while."""
    await asyncio.sleep(SETTLED)
    return await asyncio.to_thread(watcher.sample, load.requests)


def warnings_of(log: Path) -> Counter[str]:
    """Count warnings and errors of a log, by their text."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    # The folder of a database is another one each time.
    return Counter(
        f"{line['level']}: {re.sub(' at /[^ ]+', '', line['message'])}"
        for line in lines
        if line["level"] != "info"
    )


async def sampling(watcher: Watcher, load: Load, samples: list[Sample]) -> None:
    """Sample again and again, but not while the database is away."""
    while True:
        await asyncio.sleep(INTERVAL)
        with suppress(psycopg2.Error):
            samples.append(await asyncio.to_thread(watcher.sample, load.requests))
            print(progress(samples[-1]), flush=True)


async def reloading(running: Running) -> None:
    """Let it read its configuration again, and again."""
    while True:
        await asyncio.sleep(RELOADS)
        os.kill(running.pid, signal.SIGHUP)


async def crashing(installed: Subject, load: Load, after: float) -> None:
    """Kill a process of PostgreSQL, which then starts all of them again."""
    await asyncio.sleep(after)
    with closing(psycopg2.connect(installed.database)) as connection:
        cursor = connection.cursor()
        cursor.execute(BACKEND)
        (pid,) = cursor.fetchone() or (0,)
    now = time.monotonic() - load.began
    load.forgiven = (now, now + AWAY)
    if pid:
        print(f"{now:5.0f} s: the database crashes", flush=True)
        os.kill(pid, signal.SIGKILL)
    await asyncio.Event().wait()


@asynccontextmanager
async def beside(*works: Any) -> AsyncIterator[None]:
    """Run these beside the block; one that fails ends the soak."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def progress(sample: Sample) -> str:
    """Return a line for whoever waits."""
    return (
        f"{sample.at:5.0f} s: {sample.requests} requests, {sample.pss:.1f} MiB,"
        f" {sample.descriptors} descriptors, {sample.tasks} tasks,"
        f" pool {sample.used} used {sample.idle} idle"
    )


def judge(soaked: Soaked) -> list[Verdict]:
    """Return a verdict on everything that was seen."""
    before, after = soaked.idle
    samples, load = soaked.samples, soaked.load
    return [
        verdict.memory([(each.at, each.pss) for each in samples]),
        verdict.same("descriptors", before.descriptors, after.descriptors),
        verdict.same("tasks", before.tasks, after.tasks),
        verdict.threads(before.threads, after.threads),
        verdict.same("connections in use", before.used, after.used),
        *(verdict.latency(kind, load.took[kind], soaked.seconds) for kind in sorted(load.took)),
        verdict.log(log_rates(samples), soaked.seconds),
        verdict.database(
            [(each.at, float(sum(each.tables.values()))) for each in samples], load.requests
        ),
        verdict.failures(load.failures),
    ]


def log_rates(samples: Sequence[Sample]) -> list[verdict.Point]:
    """Return log bytes per request between neighbours."""
    return [
        (late.at, (late.log_bytes - early.log_bytes) / (late.requests - early.requests))
        for early, late in itertools.pairwise(samples)
        if late.requests > early.requests
    ]


def write(soaked: Soaked, verdicts: Sequence[Verdict], options: argparse.Namespace) -> None:
    """Keep the results, and show them on the page."""
    told = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine.describe(),
        "minutes": options.minutes,
        "rate": options.rate,
        "reached": round(soaked.load.begun / soaked.seconds, 1),
        "requests": soaked.load.requests,
        "warnings": soaked.warnings,
        "verdicts": [asdict(each) for each in verdicts],
        "idle": [asdict(each) for each in soaked.idle],
        "samples": [asdict(each) for each in soaked.samples],
    }
    RESULTS.write_text(json.dumps(told, indent=1) + "\n")
    head = (
        f"Measured on {told['date']}: {options.minutes:g} minutes, {options.rate:g} things a second"
        f" ({told['reached']} reached, {soaked.load.requests} requests); {told['machine']}."
    )
    sizing.write()
    PAGE.write_text(filled(PAGE.read_text(), f"{head}\n\n{verdict.shown(verdicts)}"))


def filled(text: str, shown: str) -> str:
    """Return a page with this between its markers."""
    part = re.compile(f"{re.escape(BEGIN)}.*{re.escape(page.END)}", re.DOTALL)
    return part.sub(lambda _: f"{BEGIN}\n\n{shown}\n\n{page.END}", text)


def main() -> None:
    """Soak, judge, tell."""
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=30)
    parser.add_argument("--rate", type=float, default=30, help="things that begin in a second")
    options = parser.parse_args()
    if options.minutes < LEAST:
        parser.error(f"less than {LEAST} minutes show nothing")
    with lab.opened() as opened:
        soaked = asyncio.run(soak(opened, options))
    verdicts = judge(soaked)
    print(verdict.shown(verdicts))
    for line, number in soaked.warnings.most_common(20):
        print(f"{number} × {line}")
    write(soaked, verdicts, options)
    raise SystemExit(any(each.flat is False for each in verdicts))


if __name__ == "__main__":
    main()

"""What Linux tells of cores, processes and their memory."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cores:
    """Which core has the server, and which the load and the database."""

    server: int
    load: int

    @classmethod
    def available(cls) -> "Cores":
        """Take the first two that this process may use; with one only, both share it."""
        first, *others = sorted(os.sched_getaffinity(0))
        return cls(first, others[0] if others else first)

    def leave_the_server_alone(self) -> None:
        """Keep this process, and what it starts from now on, on the core for the load."""
        os.sched_setaffinity(0, {self.load})


def cpu_seconds(pid: int) -> float:
    """Return the time that the living threads of a process were on a core, to the nanosecond."""
    try:
        tasks = list((PROC / str(pid) / "task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except FileNotFoundError:
        return 0.0


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    found = [pid]
    for process in PROC.iterdir():
        if process.name.isdigit() and parent(int(process.name)) == pid:
            found.append(int(process.name))
    return found


def parent(pid: int) -> int:
    """Return the id of the process that started this one; 0 if it is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(text.rpartition(")")[2].split()[1])


def family_cpu_seconds(pid: int) -> float:
    """Return the time of a process and its living children."""
    return sum(cpu_seconds(member) for member in family(pid))


def busy_seconds() -> float:
    """Return the time that all cores were busy since the machine started, to 0.01 s."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, (PROC / "stat").read_text().split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / TICKS


@dataclass(frozen=True)
class Memory:
    """Memory of a process and its children, in MiB."""

    rss: float
    pss: float
    """Shared pages count for their share only."""


def memory(pid: int) -> Memory:
    """Measure it now."""
    rss = pss = 0
    for member in family(pid):
        text = (PROC / str(member) / "smaps_rollup").read_text()
        rss += int(re.findall(r"^Rss: +(\d+) kB", text, re.MULTILINE)[0])
        pss += int(re.findall(r"^Pss: +(\d+) kB", text, re.MULTILINE)[0])
    return Memory(rss / 1024, pss / 1024)


def describe() -> str:
    """Return one line about this machine."""
    info = (PROC / "cpuinfo").read_text()
    model = re.findall(r"^model name\s*: (.+)", info, re.MULTILINE)
    return (
        f"{os.cpu_count()} cores ({model[0] if model else 'unknown'}), Linux {os.uname().release}"
    )

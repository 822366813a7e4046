"""Runs pip, in a process of its own that sees what this one sees, and says what it complains of."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mcpserve.config_report import masked
from mcpserve.errors import UsageError
from mcpserve.text import printable

RUN = (
    "import os, runpy, sys; paths = sys.argv.pop(1).split(os.pathsep); "
    "sys.path += [path for path in paths if path not in sys.path]; "
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)
"""The program of that process; its first argument is where else to look for modules."""

QUIET = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_COLOR": "1",
    "PIP_NO_INPUT": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
    # What an operator sets for other installations, and what a folder is none of.
    "PIP_REQUIRE_VIRTUALENV": "0",
    "PIP_USER": "0",
}
NEEDS = re.compile(r"^ +(\S+ \S+) depends on ([^\s;]+)", re.MULTILINE)
OURS = re.compile(r"The user requested \(constraint\) (\S+)==(\S+)")
OFFLINE = re.compile(r"Retrying \(|Failed to establish a new connection|ConnectTimeout")
OF_SYSTEM = re.compile(r"\[Errno \d+\] ([^'\":]+)")
VAGUE = ("No matching distribution", "ResolutionImpossible")


def pip_command() -> list[str] | None:
    """Return a command that runs pip, without pip's own arguments; None if pip is not here.

    Its first argument is :data:`os.pathsep` between folders to look for modules in, behind those
    that it has anyway.
    """
    if importlib.util.find_spec("pip") is None:
        return None
    # Without the current folder in front of everything.
    return [sys.executable, "-P", "-c", RUN]


def run(arguments: Sequence[str], scratch: Path) -> None:
    """Run pip. What it needs beside itself goes to the scratch folder.

    Raises :class:`~mcpserve.errors.UsageError` with what it complains of in one line.
    """
    paths = os.pathsep.join(sys.path)
    command = pip_command()
    if command is None:
        paths = os.pathsep.join([str(pip_by_uv(scratch)), paths])
        command = [sys.executable, "-P", "-c", RUN]
    ended = called([*command, paths, *arguments], **QUIET)
    if ended.returncode:
        raise UsageError(complaint(ended.stdout))


def pip_by_uv(scratch: Path) -> Path:
    """Return a folder with pip in it, from where uv has it. Raises ``UsageError``."""
    uv = shutil.which("uv")
    if uv is None:
        raise UsageError("pip is needed for that, and not here: install pip (or uv)")
    folder = scratch / "pip"
    if not folder.exists():
        options = ["--quiet", "--python", sys.executable, "--target", str(folder)]
        ended = called([uv, "pip", "install", *options, "pip"])
        if ended.returncode:
            raise UsageError(f"pip is not here, and uv cannot fetch it: {last(ended.stdout)}")
    return folder


def called(command: Sequence[str], **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; what it says is in ``stdout``."""
    return subprocess.run(  # noqa: S603 - pip, or uv where the operator has it
        command,
        check=False,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        errors="replace",
        text=True,
    )


def complaint(output: str) -> str:
    """Return why pip failed, in one line and without the secrets of a URL."""
    ours = OURS.search(output)
    # Of several the last is who asks for what is not there.
    if ours and (needs := NEEDS.findall(output[: ours.start()])):
        who, wanted = needs[-1]
        return f"{who} needs {wanted}, but {ours[1]} {ours[2]} is what mcpserve itself uses"
    errors = re.findall(r"^ *ERROR: (.*)$", output, re.MULTILINE)
    telling = [error for error in errors if not error.startswith((*VAGUE, "Exception:"))]
    text = telling[-1] if telling else last(output)
    # A full disk makes a list of every file.
    if reason := OF_SYSTEM.search(text):
        text = reason[1]
    if OFFLINE.search(output):
        text = f"the package index cannot be reached: {text}"
    return printable(str(masked(f"pip: {text}")))


def last(output: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "it failed without a word"

"""``dist/mcpserve.pex``: one file for several versions of Python."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import single_file
import wheels
from packaging.tags import compatible_tags, cpython_tags

HERE = Path(__file__).parent


def make(found: Path, names: list[str], *, versions: list[str], work: Path, target: Path) -> None:
    """Write the file from the wheels in ``found``."""
    start = work / "start"
    shutil.rmtree(start, ignore_errors=True)
    single_file.add_start(start)
    command = [sys.executable, "-m", "pex", "--no-index", "--no-build", "--no-compile"]
    command += ["--pre-resolved-dists", str(found), "--sources-directory", str(start)]
    command += ["--entry-point", "mcpserve_single:main", "--venv", "prepend", "--include-tools"]
    command += ["--sh-boot", "--output-file", str(target)]
    for version in versions:
        own = version == wheels.HERE
        command += ["--python", sys.executable] if own else ["--complete-platform", told(version)]
    subprocess.run([*command, *names], check=True)
    made = target.read_bytes()
    shebang = b"#!/bin/sh\n"
    if not made.startswith(shebang):
        sys.exit("pex makes another head now: see pex_head.sh")
    target.write_bytes((HERE / "pex_head.sh").read_bytes() + made.removeprefix(shebang))


def told(version: str) -> str:
    """Tell pex about a Python that is not on this machine."""
    number = tuple(map(int, version.split(".")))
    tags = [*cpython_tags(number), *compatible_tags(number, f"cp{number[0]}{number[1]}")]
    environment = wheels.environment_of(version)
    return json.dumps({"marker_environment": environment, "compatible_tags": list(map(str, tags))})

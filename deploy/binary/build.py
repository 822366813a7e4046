"""Builds the single files: ``./dev binary``, see docs/reference/binary.md."""

import argparse
import shutil
import sys
import time
from pathlib import Path

import interpreter
import measure
import pex_file
import single_file
import wheels

VERSIONS = ["3.11", "3.12", "3.13"]
PAGE = wheels.ROOT / "docs" / "reference" / "binary.md"
BEGIN, END = "<!-- inside: written by ./dev binary -->\n", "<!-- end -->\n"


def main() -> None:
    """Build what is asked for."""
    chosen = arguments()
    work, out = chosen.work.resolve(), chosen.out.resolve()
    versions = chosen.python or VERSIONS
    begun = time.monotonic()
    found = work / "wheels"
    shutil.rmtree(found, ignore_errors=True)
    found.mkdir(parents=True)
    own = wheels.own(found)
    wheels.fetch(own, versions if chosen.only != "mcpserve" else [wheels.HERE], found)
    names = wheels.pins(wheels.closure(own, wheels.HERE), own)
    if chosen.only != "mcpserve.pex" and sys.platform == "linux":
        root = single_file.make(found, names, work=work, target=out / "mcpserve")
        print(f"mcpserve needs a C library (glibc) {interpreter.newest_glibc(root)} or newer")
        tell(out / "mcpserve", begun, measured=chosen.measure)
    if chosen.only != "mcpserve":
        target = out / "mcpserve.pex"
        pex_file.make(found, names, versions=versions, work=work, target=target)
        tell(target, begun, measured=chosen.measure)
    if not chosen.only and out == wheels.ROOT / "dist":
        write_page(names)


def arguments() -> argparse.Namespace:
    """Return what is asked for."""
    parser = argparse.ArgumentParser(prog="./dev binary", description=__doc__)
    parser.add_argument("only", nargs="?", choices=["mcpserve", "mcpserve.pex"])
    parser.add_argument(
        "--measure", action="store_true", help="start each, and say how long it takes"
    )
    parser.add_argument("--python", choices=VERSIONS, action="append", help="for mcpserve.pex")
    parser.add_argument("--out", type=Path, default=wheels.ROOT / "dist", metavar="FOLDER")
    parser.add_argument("--work", type=Path, default=wheels.ROOT / "build/binary", metavar="FOLDER")
    return parser.parse_args()


def tell(made: Path, begun: float, *, measured: bool) -> None:
    """Say what was made."""
    size = made.stat().st_size / 1e6
    print(f"{made}: {size:.0f} MB, after {time.monotonic() - begun:.0f} s", flush=True)
    if measured:
        cold, warm = measure.times(made)
        told = " ".join(f"{seconds:.2f}" for seconds in warm)
        print(f"  ready after {cold:.2f} s the first time, then {told}", flush=True)


def write_page(names: list[str]) -> None:
    """Write into the documentation what is inside."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    python = "Python {}.{}.{}".format(*sys.version_info)
    rows = [f"- {python} (in `mcpserve` only)", *(f"- {n.replace('==', ' ')}" for n in names)]
    PAGE.write_text(before + BEGIN + "\n".join(rows) + "\n" + END + after)


if __name__ == "__main__":
    main()

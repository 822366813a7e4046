"""Changing a folder of packages: everything or nothing, whatever ends the process meanwhile.

New files are made in a draft beside the old ones. One rename commits it; from then on whoever
comes next finishes it.
"""

import importlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

if sys.platform != "win32":
    import fcntl

DRAFT = ".draft-"
COMMITTED = ".committed"
FILES = "files"
"""In a draft: what is to be added or replaced."""
OBSOLETE = "obsolete.json"
"""In a draft: what is to be removed."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until nobody else changes the folder, and finish what somebody could not.

    Raises :class:`OSError`.
    """
    # Windows cannot open a folder to lock it.
    with alone(folder) if sys.platform != "win32" else nullcontext():
        finish(folder)
        for draft in folder.glob(f"{DRAFT}*"):
            shutil.rmtree(draft, ignore_errors=True)
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which ends with the process at the latest."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def draft(folder: Path) -> Iterator[Path]:
    """Yield a new folder inside of it, with an empty one for the files; for the lock's holder."""
    path = Path(tempfile.mkdtemp(prefix=DRAFT, dir=folder))
    try:
        (path / FILES).mkdir()
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def commit(folder: Path, path: Path, obsolete: Iterable[str]) -> None:
    """Put the files of a draft into the folder, and remove from it what is obsolete.

    Raises :class:`OSError`: what fails after the rename is finished later.
    """
    gone = set(obsolete) - set(files_in(path / FILES))
    (path / OBSOLETE).write_text(json.dumps(sorted(gone)), "utf-8")
    path.rename(folder / COMMITTED)
    finish(folder)


def is_interrupted(folder: Path) -> bool:
    """Whether something is committed that is not finished."""
    return (folder / COMMITTED).is_dir()


def finish(folder: Path) -> None:
    """Do what is left of a committed draft; as often as it takes."""
    committed = folder / COMMITTED
    if not is_interrupted(folder):
        return
    for name in json.loads((committed / OBSOLETE).read_text("utf-8")):
        remove(folder, name)
    files = committed / FILES
    # The metadata last: a package without it is not found.
    for name in sorted(files_in(files), key=lambda name: ".dist-info/" in name):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (files / name).replace(target)
    # No longer committed by a single step, too.
    done = folder / f"{DRAFT}{os.getpid()}"
    committed.rename(done)
    shutil.rmtree(done, ignore_errors=True)
    importlib.invalidate_caches()


def files_in(folder: Path) -> list[str]:
    """Return the files below a folder, as seen from it."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()]


def remove(folder: Path, name: str) -> None:
    """Remove a file, what Python compiled of it, and the folders that are empty then."""
    path = folder / name
    path.unlink(missing_ok=True)
    cache = path.parent / "__pycache__"
    for compiled in cache.glob(f"{path.stem}.*.pyc") if path.suffix == ".py" else ():
        compiled.unlink(missing_ok=True)
    for parent in (cache, *path.parents):
        if parent == folder:
            break
        try:
            parent.rmdir()
        except OSError:
            if parent != cache:
                break

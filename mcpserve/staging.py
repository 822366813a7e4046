"""Changing a folder of packages: everything or nothing, whatever ends the process meanwhile.

New files are made in a draft beside the old ones. One rename commits it; from then on whoever
comes next finishes it. So whatever could keep that from being done is looked for before.
"""

import errno
import importlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath

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
    require_writable(folder / FILES)
    path = Path(tempfile.mkdtemp(prefix=DRAFT, dir=folder))
    try:
        (path / FILES).mkdir()
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def commit(folder: Path, path: Path, obsolete: Iterable[str]) -> None:
    """Put the files of a draft into the folder, and remove from it those that are obsolete.

    Raises :class:`OSError`, and then nothing changed; unless :func:`is_interrupted`.
    """
    coming = set(files_in(path / FILES))
    gone = {name for name in obsolete if is_file(folder, name)} - coming
    for name in coming:
        if obstacle := in_the_way(folder, name, gone):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder / obstacle))
    for name in coming | gone:
        require_writable(folder / name)
    (path / OBSOLETE).write_text(json.dumps(sorted(gone)), "utf-8")
    path.rename(folder / COMMITTED)
    finish(folder)


def is_interrupted(folder: Path) -> bool:
    """Whether something is committed that is not finished."""
    return (folder / COMMITTED).is_dir()


def finish(folder: Path) -> None:
    """Do what is left of a committed draft; as often as it takes.

    Raises :class:`OSError`, with the name of what is in the way.
    """
    committed = folder / COMMITTED
    if not is_interrupted(folder):
        return
    for name in filter(is_below, obsolete_in(committed)):
        remove(folder, name)
    files = committed / FILES
    # The metadata last: a package without it is not found.
    for name in sorted(files_in(files), key=lambda name: ".dist-info/" in name):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_folder(target) and in_the_way(folder, name) is None:
            shutil.rmtree(target)
        (files / name).replace(target)
    # No longer committed by a single step, too.
    done = folder / f"{DRAFT}{os.getpid()}"
    committed.rename(done)
    shutil.rmtree(done, ignore_errors=True)
    importlib.invalidate_caches()


def obsolete_in(committed: Path) -> list[str]:
    """Return what a draft removes. Raises :class:`OSError` if that cannot be read."""
    path = committed / OBSOLETE
    try:
        names = json.loads(path.read_text("utf-8"))
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise OSError(errno.EIO, "this is damaged", str(path))
    return names


def files_in(folder: Path) -> list[str]:
    """Return the files below a folder, as seen from it."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()]


def is_file(folder: Path, name: str) -> bool:
    """Whether a name, by whomever, is that of a file below the folder; links are files."""
    there = is_below(name) and os.path.lexists(folder / name)
    return there and not is_folder(folder / name)


def is_below(name: str) -> bool:
    """Whether a name, by whomever, is one of something below a folder, there or not."""
    path = PurePosixPath(name)
    leads_out = path.is_absolute() or ".." in path.parts
    return bool(path.parts) and not leads_out and "\0" not in name


def is_folder(path: Path) -> bool:
    """Whether it is a folder itself, not a link to one."""
    return path.is_dir() and not path.is_symlink()


def is_ours(name: str) -> bool:
    """Whether a file of this name would be in the way of what is done here."""
    # Some file systems do not tell small letters from capital ones.
    return PurePosixPath(name).parts[0].casefold().startswith((DRAFT, COMMITTED))


def in_the_way(folder: Path, name: str, gone: Collection[str] = ()) -> str | None:
    """Return what keeps a file from being put there once others are gone.

    That is a file where a folder has to be, or one in a folder that would have to go.
    """
    for parent in PurePosixPath(name).parents:
        is_there = os.path.lexists(folder / parent) and not (folder / parent).is_dir()
        if is_there and str(parent) not in gone:
            return str(parent)
    below = files_in(folder / name) if is_folder(folder / name) else []
    # Bytecode goes with its source.
    left = (f"{name}/{file}" for file in below if not file.endswith(".pyc"))
    return next((file for file in left if file not in gone), None)


def require_writable(path: Path) -> None:
    """Raise :class:`PermissionError` if a file of this name may not be put there or removed."""
    there = next(folder for folder in path.parents if folder.is_dir())
    by_whom = os.access in os.supports_effective_ids
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=by_whom):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))


def remove(folder: Path, name: str) -> None:
    """Remove a file, what Python compiled of it, and the folders that are empty then.

    Of what was removed before, what is left of that.
    """
    path = folder / name
    if is_file(folder, name):
        path.unlink()
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

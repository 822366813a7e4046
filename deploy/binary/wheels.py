"""What goes into the single files: our own packages as wheels, and those that they ask for."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distributions, requires
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.tags import platform_tags
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
REQUIRED = ["mcpserve[embedded,redaction,tracing]", "pip"]
"""Beside the plugins; `mcpserve plugin install` needs pip."""

HERE = "{}.{}".format(*sys.version_info)
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "pytest_mcpserve.py")
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
PIN = re.compile(r"^([\w.-]+)==([\w.+!-]+).*\n(?:    --hash=.*\n)+", re.MULTILINE)


def own(into: Path) -> list[Path]:
    """Build the wheels of the core and of the plugins, from copies: builds leave things behind."""
    copies = into.with_name("sources")
    shutil.rmtree(copies, ignore_errors=True)
    core = copies / "mcpserve"
    core.mkdir(parents=True)
    for name in SOURCES:
        shutil.copy(ROOT / name, core)
    for name in ("mcpserve", "schema"):
        copy(ROOT / name, core / name)
    for plugin in PLUGINS:
        copy(plugin, copies / plugin.name)
    return [into / build(folder, into) for folder in sorted(copies.iterdir())]


def copy(source: Path, target: Path) -> None:
    """Copy a tree without what is not source."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "tests")
    shutil.copytree(source, target, ignore=unwanted)


def build(project: Path, into: Path) -> str:
    """Build a wheel and return its name."""
    command = [sys.executable, "-W", "ignore", "-c", BUILD, str(into)]
    done = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)
    return done.stdout.split()[-1]


def fetch(own: list[Path], pythons: list[str], into: Path) -> None:
    """Get what these wheels ask for on these versions of Python, checked by hashes."""
    wanted = into / "requirements.txt"
    for python in pythons:
        names = closure(own, python)
        text = (ROOT / "requirements" / "dev.txt").read_text()
        pins = [pin[0] for pin in PIN.finditer(text) if canonicalize_name(pin[1]) in names]
        wanted.write_text("".join(pins))
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes"]
        command += ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check"]
        command += ["--dest", str(into), "--requirement", str(wanted), *platform_of(python)]
        subprocess.run(command, check=True)


def pins(names: set[str], own: list[Path]) -> list[str]:
    """Return these packages with their versions, as pip reads them."""
    text = (ROOT / "requirements" / "dev.txt").read_text()
    locked: dict[str, str] = {canonicalize_name(pin[1]): pin[2] for pin in PIN.finditer(text)}
    built: dict[str, str] = {
        canonicalize_name(each.name): each.version for each in map(metadata, own)
    }
    return [f"{name}=={built.get(name) or locked[name]}" for name in sorted(names)]


def closure(own: list[Path], python: str) -> set[str]:
    """Return the names of all that is needed on a version of Python, by what is installed here."""
    ours = {canonicalize_name(each.name): each.requires for each in map(metadata, own)}
    environment = environment_of(python)
    todo = [Requirement(text) for text in (*REQUIRED, *ours)]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for text in ours[name] or [] if name in ours else required(name):
                needed = Requirement(text)
                if not needed.marker or needed.marker.evaluate({**environment, "extra": extra}):
                    todo.append(needed)
    return {name for name, _ in seen}


def environment_of(python: str) -> dict[str, str]:
    """Return what markers are compared with on a version of Python, on this machine."""
    full = {"python_full_version": f"{python}.0", "implementation_version": f"{python}.0"}
    here = {name: str(value) for name, value in default_environment().items()}
    return {**here, "python_version": python, **full}


def required(name: str) -> list[str]:
    """Return what a package asks for; nothing if it is for other versions of Python only."""
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def metadata(wheel: Path) -> Distribution:
    """Return what a wheel says of itself."""
    return next(iter(distributions(path=[str(wheel)])))


def platform_of(python: str) -> list[str]:
    """Return pip's options for another version of Python on this machine; none for its own."""
    if python == HERE:
        return []
    platforms = [word for tag in platform_tags() for word in ("--platform", tag)]
    return ["--python-version", python, "--implementation", "cp", *platforms]

"""Somebody who installs mcpserve into an environment of their own and follows a page by hand."""

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from e2e.process import environment

ROOT = Path(__file__).parent.parent.parent
SOURCES = ("mcpserve", "schema", "pytest_mcpserve.py", "setup.cfg", "pyproject.toml", "README.md")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
BLOCK = re.compile(r"^(?:<!-- ([^\n]+) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    about: str
    """What the comment before it says."""
    language: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    """Return the blocks of a page, in their order."""
    for about, language, text in BLOCK.findall(page):
        yield Block(about, language, text)


@dataclass
class Stranger:
    """A shell in a folder, with an environment in which nothing of this tree can be imported."""

    folder: Path
    shown: str = ""
    """What the last command printed."""
    installed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the environment: what mcpserve depends on is borrowed, and nothing else is."""
        self.venv = self.folder / ".venv"
        venv.create(self.venv, with_pip=False, symlinks=True)
        self.python = self.venv / "bin" / "python"
        (self.site,) = self.venv.glob("lib/python3*/site-packages")
        borrowed = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
        # In this form what is installed there as editable is not importable.
        (self.site / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
        self._add_script("pytest", "import sys, pytest; sys.exit(pytest.main())")
        scripts = Path(sysconfig.get_path("scripts"))
        (self.venv / "bin" / "ruff").symlink_to(scripts / "ruff")

    def install(self, source: Path) -> None:
        """Build a wheel and install it: unpacked, and no installer need be here."""
        wheels = self.folder / f"wheels-{len(self.installed)}"
        wheels.mkdir()
        command = [sys.executable, "-c", BUILD, str(wheels)]
        subprocess.run(command, cwd=source, check=True, capture_output=True)
        (wheel,) = wheels.iterdir()
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.site)
        self.installed.append(wheel.name.partition("-")[0])

    def install_mcpserve(self) -> None:
        """Install this tree, from a copy: building leaves things behind."""
        copy = self.folder / "mcpserve-source"
        copy.mkdir()
        for name in (*SOURCES, "LICENSE"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(
                    source,
                    copy / name,
                    ignore=shutil.ignore_patterns("__pycache__"),
                    symlinks=False,
                )
            else:
                shutil.copy(source, copy / name)
        self.install(copy)
        self._add_script("mcpserve", "import sys; from mcpserve.cli import main; sys.exit(main())")

    def type(self, line: str, **env: str) -> None:
        """Type a command. Fails with what it printed if it fails."""
        if line.startswith("cd "):
            self.folder /= line.removeprefix("cd ")
            return
        # What else is borrowed must not run the tests in place of our own plugin.
        mine = {"PATH": f"{self.venv / 'bin'}:/usr/bin:/bin", "PYTEST_ADDOPTS": "-p no:tornado"}
        ran = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=self.folder,
            env=environment(**env) | mine,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
        self.shown = ran.stdout

    def _add_script(self, name: str, code: str) -> None:
        script = self.venv / "bin" / name
        script.write_text(f"#!{self.python}\n{code}\n")
        script.chmod(0o755)

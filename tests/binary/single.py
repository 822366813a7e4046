"""The single files, built once, and used by somebody who has nothing else."""

import contextlib
import os
import pwd
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml
from e2e.process import PATIENCE, Process, end, until

ROOT = Path(__file__).parents[2]
BASE_PYTHON = Path(sys._base_executable).resolve()
FILES = ("mcpserve", "mcpserve.pex")


@dataclass(frozen=True)
class Machine:
    """A home, a working folder and a single file. The environment is empty but for the home."""

    file: Path
    folder: Path
    port: int

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def config(self) -> Path:
        return self.work / "config.yaml"

    @property
    def command(self) -> list[str]:
        return [str(BASE_PYTHON), str(self.file)] if self.file.suffix else [str(self.file)]

    @property
    def user(self) -> dict[str, object]:
        """Options for a child process that is nobody special, if that may run the file."""
        if os.geteuid() or (self.file.suffix and not is_open(BASE_PYTHON)):
            return {}
        nobody = pwd.getpwnam("nobody")
        return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*self.command, *words],
            check=False,
            cwd=self.work,
            env={"HOME": str(self.home), **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            **self.user,
        )

    @contextmanager
    def serving(self) -> Iterator[Process]:
        """Start the server, and wait until it is ready; end it when the block ends."""
        with (self.work / "stdout").open("wb") as out, (self.work / "stderr").open("wb") as err:
            popen = subprocess.Popen(
                [*self.command, "serve"],
                cwd=self.work,
                env={"HOME": str(self.home), "PORT": str(self.port)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                **self.user,
            )
        url, address = f"http://localhost:{self.port}", f"http://127.0.0.1:{self.port}"
        process = Process(self.config, url, address, popen)
        try:
            with httpx.Client(verify=False, trust_env=False) as http:
                until(lambda: process.is_ready(http))
            yield process
        finally:
            end(popen)

    def configure(self, **sections: object) -> None:
        """Change config.yaml; ``None`` takes an entry out."""
        settings = yaml.safe_load(self.config.read_text())
        for name, values in sections.items():
            section = (settings[name] or {}) | values
            settings[name] = {key: value for key, value in section.items() if value is not None}
        self.config.write_text(yaml.safe_dump(settings))

    def processes(self) -> list[int]:
        """Return what runs of it, whoever its parent is and whatever its environment."""
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and os.fsencode(self.folder) in told(folder):
                    found.append(int(folder.name))
        return found


def told(process: Path) -> bytes:
    """Return what a process was started as, and where it works; a dead one tells nothing."""
    command = (process / "cmdline").read_bytes()
    return command and command + b"\0" + os.fsencode(os.readlink(process / "cwd"))


def is_open(program: Path) -> bool:
    """Tell whether everybody may run a program."""
    return all(folder.stat().st_mode & 1 for folder in (program, *program.parents))


def build(folder: Path) -> None:
    """Build both files, the one for several versions of Python for this one only."""
    version = "{}.{}".format(*sys.version_info)
    command = [sys.executable, ROOT / "deploy" / "binary" / "build.py", "--python", version]
    command += ["--out", folder / "dist", "--work", folder / "work"]
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout


def wheel(folder: Path, name: str, module: str, *, requires: str = "", plugin: str = "") -> Path:
    """Write the wheel of a package that is one module, and perhaps a plugin."""
    path = folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    files = {
        f"{name.replace('-', '_')}.py": module,
        f"{info}/METADATA": metadata + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if plugin:
        files[f"{info}/entry_points.txt"] = f"[mcpserve]\n{plugin} = {name.replace('-', '_')}\n"
    files[f"{info}/RECORD"] = "".join(f"{each},,\n" for each in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in files.items():
            archive.writestr(each, text)
    return path

"""mcpserve as it is measured: a copy of a tree, an ordinary config.yaml, a plugin, a database."""

import compileall
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.postgres import Postgres
from bench.servers import Server
from mcpserve.testing import person

ROOT = Path(__file__).parent.parent
HERE = Path(__file__).parent
SMALL: Mapping[str, Any] = {"bench": {}}
"""The plugins of the comparison: one, with one tool."""


@dataclass(frozen=True)
class Subject:
    """An installation of mcpserve that is ready to start."""

    server: Server
    port: int
    database: str
    """Its URL."""
    access: list[str]
    refresh: list[str]


def prepare(
    name: str,
    tree: Path,
    *,
    postgres: Postgres,
    port: int,
    folder: Path,
    plugins: Mapping[str, Any] = SMALL,
) -> Subject:
    """Make an installation called ``name`` of the package in ``tree``, see :func:`copy`."""
    home = folder / name
    installed = home / "installed"
    install_plugins(installed)
    url = postgres.create(f"bench_{name}")
    config = home / "config.yaml"
    config.write_text(yaml.safe_dump(configuration(port, url, plugins)))
    environment = {"PYTHONPATH": f"{tree}{os.pathsep}{installed}"}
    made = subprocess.run(
        [sys.executable, HERE / "prepare.py", config],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    tokens = json.loads(made.stdout)
    server = Server(
        name=name,
        label="mcpserve",
        command=(sys.executable, "-m", "mcpserve", "serve", "-c", str(config)),
        environment=environment,
        folder=home,
    )
    return Subject(server, port, url, tokens["access"], tokens["refresh"])


def run(installed: Subject, *words: str) -> None:
    """Run a command of an installation. Raises subprocess.CalledProcessError."""
    command, environment = installed.server.command, installed.server.environment
    subprocess.run(
        [*command[: command.index("serve")], *words],
        cwd=installed.server.folder,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
    )


def configuration(port: int, url: str, plugins: Mapping[str, Any]) -> dict[str, object]:
    """Return what an operator would write, without access lines: no peer writes any."""
    client = {"id": person.CLIENT_ID, "redirect_uris": [person.CALLBACK]}
    return {
        "server": {"port": port, "public_url": f"http://127.0.0.1:{port}"},
        "database": {"url": url},
        "log": {"level": "warning"},
        "oauth": {"clients": {"configured": [client]}},
        "plugins": dict(plugins),
    }


def install_plugins(folder: Path) -> None:
    """Put our plugins into a folder as an installer would."""
    shutil.copytree(HERE / "plugins", folder)
    metadata = folder / "mcpserve_bench-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mcpserve-bench\nVersion: 1\n")
    names = {name: f"mcpserve_{name}" for name in ("bench", "streams", "inside")}
    lines = ["[mcpserve]", *(f"{name} = {module}" for name, module in names.items()), ""]
    (metadata / "entry_points.txt").write_text("\n".join(lines))


def copy(revision: str | None, folder: Path) -> Path:
    """Copy mcpserve to a folder that can stand on a path: of a commit, of another tree, or ours.

    A copy, so that nobody's edit changes what is being measured; compiled, as an installer does.
    """
    _copy(revision, folder)
    compileall.compile_dir(folder, quiet=2)
    return folder


def _copy(revision: str | None, folder: Path) -> None:
    folder.mkdir(parents=True)
    source = ROOT if revision is None else Path(revision)
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", "schema")
        shutil.copytree(source / "mcpserve", folder / "mcpserve", ignore=ignored)
        shutil.copytree(source / "schema", folder / "mcpserve" / "schema")
        return
    command = ["git", "-C", str(ROOT), "archive", str(revision), "mcpserve", "schema"]
    archived = subprocess.run(command, capture_output=True, check=False)
    if archived.returncode:
        raise SystemExit(f"bench: {revision}: {archived.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(folder, filter="data")
    (folder / "schema").rename(folder / "mcpserve" / "schema")

"""What mcpserve is compared with: the same tool behind the same query, each in its own words."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from bench.servers import Server

HERE = Path(__file__).parent
BENCH = HERE.parent
LOOKUP = HERE / "lookup.sql"

PYTHON = ("python-sdk", "fastmcp")
NODE = ("typescript-v1", "typescript-v2")


def servers(port: int, database: str) -> list[Server]:
    """Return all peers, ready to listen on a port and to ask a database; install none."""
    listening = {"PORT": str(port), "LOOKUP": str(LOOKUP), "NODE_ENV": "production"}
    asking = listening | {"DATABASE_URL": database}
    tornado = (sys.executable, str(HERE / "tornado_server.py"))
    return [
        Server(
            "typescript-v1",
            "TypeScript SDK v1, Express, pg",
            ("node", str(HERE / "typescript_v1" / "server.js")),
            asking,
            eras=("handshake",),
        ),
        Server(
            "typescript-v2",
            "TypeScript SDK v2, Express, pg",
            ("node", str(HERE / "typescript_v2" / "server.js")),
            asking,
            eras=("modern",),
        ),
        Server(
            "python-sdk",
            "official Python SDK, uvicorn, asyncpg",
            (str(_python("python-sdk")), str(HERE / "python_sdk.py")),
            asking,
        ),
        Server(
            "fastmcp",
            "FastMCP, uvicorn, asyncpg",
            (str(_python("fastmcp")), str(HERE / "fastmcp_server.py")),
            asking,
        ),
        # These two are of the very Tornado that mcpserve uses.
        Server("tornado-aiopg", "raw Tornado, aiopg (the limit)", tornado, asking),
        Server(
            "tornado",
            "raw Tornado, no database (the far limit)",
            tornado,
            listening,
            checks_tokens=False,
        ),
    ]


def install(name: str) -> None:
    """Install a peer from pip or npm, unless it is there as it is asked for."""
    if name in PYTHON:
        _install_python(name, BENCH / f"requirements-{name}.txt")
    elif name in NODE:
        _install_node(HERE / name.replace("-", "_"))


def _python(name: str) -> Path:
    return BENCH / ".venvs" / name / "bin" / "python"


def _install_python(name: str, requirements: Path) -> None:
    folder = BENCH / ".venvs" / name
    stamp = folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == requirements.read_text():
        return
    print(f"installing {name} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    base = getattr(sys, "_base_executable", sys.executable)
    _run(base, "-m", "venv", folder)
    _run(_python(name), "-m", "pip", "install", "-q", "--no-deps", "-r", requirements)
    stamp.write_text(requirements.read_text())


def _install_node(folder: Path) -> None:
    wanted = hashlib.sha256((folder / "package.json").read_bytes()).hexdigest()
    stamp = folder / "node_modules" / ".installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing {folder.name} ...", flush=True)
    options = ("--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
    _run("npm", "install", *options, cwd=folder)
    stamp.write_text(wanted)


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a command. Raises SystemExit with its own words."""
    result = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"bench: {command[0]} failed: {result.stdout}{result.stderr}")

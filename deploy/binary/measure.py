"""How long the files take to start: from the command to the first 200 of ``/readyz``."""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 120
WARM = 5


def times(file: Path) -> tuple[float, list[float]]:
    """Return the seconds of a very first start, and of some that follow."""
    command = [sys.executable, str(file)] if file.suffix else [str(file)]
    with tempfile.TemporaryDirectory(prefix="mcpserve-start-") as name:
        os.chmod(name, 0o711)  # for root, whose database runs as another user
        cold, *warm = (start(command, Path(name)) for _ in range(1 + WARM))
    return cold, warm


def start(command: list[str], folder: Path) -> float:
    """Start the server here, wait for it, and end it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    env = {"HOME": str(folder), "CACHE_DIRECTORY": str(folder), "PORT": str(port)}
    env["PEX_ROOT"] = str(folder / "pex")
    begun = time.monotonic()
    with started([*command, "serve"], cwd=folder, env=env) as process:
        while not is_ready(port):
            if process.poll() is not None or time.monotonic() - begun > PATIENCE:
                sys.exit(f"{command[-1]} does not start, exit code {process.poll()}")
            time.sleep(0.01)
        return time.monotonic() - begun


@contextlib.contextmanager
def started(
    command: list[str], *, cwd: Path, env: dict[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process inside of a ``with`` block."""
    process = subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def is_ready(port: int) -> bool:
    """Tell whether the server serves."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    return False

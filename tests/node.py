"""Packages of npm: clients and a test suite that are not ours."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

# The conformance runner needs Node 22, which this package brings as a binary.
SYSTEM = {"Windows": "win"}.get(platform.system(), platform.system().lower())
MACHINE = {"arm64": "arm64", "aarch64": "arm64"}.get(platform.machine(), "x64")
NODE_22 = f"node-{SYSTEM}-{MACHINE}"
PACKAGES = {
    "oauth4webapi": "3.8.8",
    "openid-client": "6.9.0",
    "@modelcontextprotocol/sdk": "1.32.2",
    "@modelcontextprotocol/client": "2.4.0",
    "mcp-remote": "0.15.1",
    "@modelcontextprotocol/inspector": "2.12.0",
    "@modelcontextprotocol/conformance": "0.2.0-alpha.12",
    NODE_22: "22.23.3",
}


def install(folder: Path) -> None:
    """Install every package; skip the test where there is no npm."""
    program = shutil.which("npm")
    if program is None:
        pytest.skip("there is no npm here")
    quiet = "--no-save --no-package-lock --no-audit --no-fund --ignore-scripts --prefer-offline"
    wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
    command = [program, "install", *quiet.split(), "--prefix", folder, *wanted]
    installed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert installed.returncode == 0, installed.stderr

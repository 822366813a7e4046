"""A plugin by somebody else: its own project, built as a wheel, installed, configured, called."""

import asyncio
import signal
import subprocess
import sys
import time
import zipfile

import pytest
from e2e.process import add_user, configure, environment, started
from mcp_client import McpClient, events

PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "greeter-for-mcpserve"
version = "1.2.3"
dependencies = ["mcpserve"]

[project.entry-points.mcpserve]
greeter = "greeter"

[tool.setuptools]
py-modules = ["greeter"]
"""

MODULE = '''
"""Greets."""

import pathlib
import time

from mcpserve import ToolContext, hookimpl, tool
from pydantic import BaseModel


class Config(BaseModel, extra="forbid"):
    greeting: str
    closed: pathlib.Path


@hookimpl
def mcpserve_config():
    return Config


@hookimpl
def mcpserve_tools(config, exit_stack):
    exit_stack.callback(config.closed.touch)

    async def greet(name: str, ctx: ToolContext) -> str:
        """Greet somebody."""
        await ctx.progress(1, 1)
        return f"{config.greeting}, {name}!"

    @tool
    def sleep() -> str:
        """Hold a thread."""
        config.closed.with_name("asleep").touch()
        time.sleep(30)
        return ""

    return [greet, sleep]
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder in which the wheel of the plugin is installed."""
    project, wheels, site = (tmp_path_factory.mktemp(name) for name in ("src", "dist", "site"))
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "greeter.py").write_text(MODULE)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    command = [sys.executable, "-c", build, str(wheels)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (wheel,) = wheels.iterdir()
    # All that installing a wheel of plain Python is, and no installer need be here.
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


@pytest.fixture
def config(dsn, tmp_path):
    """A configuration that names the plugin, and a person who may log in."""
    greeter = {"config": {"greeting": "Hei", "closed": str(tmp_path / "closed")}}
    path = configure(
        tmp_path, dsn=dsn, plugins={"greeter": greeter}, server={"shutdown_grace": "0.2s"}
    )
    add_user(path)
    return path


async def test_a_plugin_from_a_wheel_is_called_with_a_real_token(config, site, tmp_path):
    with started(config, PYTHONPATH=str(site)) as process:
        client = await McpClient.authorized(process)
        for modern in (True, False):
            chosen = client.in_era(modern)
            listed = (await chosen.post(chosen.message("tools/list"))).json()["result"]["tools"]
            assert [tool["name"] for tool in listed] == ["calculator", "greet", "sleep"]
            progress, answer = events(await chosen.call("greet", 1, name="Kari"))
            assert progress["params"] == {"progressToken": 1, "progress": 1, "total": 1}
            assert answer["result"]["structuredContent"] == {"result": "Hei, Kari!"}
        assert not (tmp_path / "closed").exists()
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert (tmp_path / "closed").exists()


async def test_a_thread_that_never_ends_does_not_keep_the_server_alive(config, site, tmp_path):
    with started(config, PYTHONPATH=str(site)) as process:
        client = await McpClient.authorized(process)
        call = asyncio.create_task(client.call("sleep"))
        async with asyncio.timeout(10):
            while not (tmp_path / "asleep").exists():
                await asyncio.sleep(0.02)
        begun = time.monotonic()
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert time.monotonic() - begun < 15
        await asyncio.wait([call])
        call.exception()
    assert (tmp_path / "closed").exists()


def mcpserve(path, *words, **env):
    """Run a command that ends by itself."""
    command = [sys.executable, "-m", "mcpserve", "-c", str(path), *words]
    return subprocess.run(
        command, check=False, env=environment(**env), capture_output=True, text=True, timeout=30
    )


def test_a_plugin_that_is_not_installed_is_told_before_the_server_starts(config, site):
    missing = mcpserve(config, "check")
    assert missing.returncode == 2
    assert "plugins.greeter: no installed package provides it" in missing.stderr
    listed = mcpserve(config, "plugin", "list", PYTHONPATH=str(site))
    assert "package greeter-for-mcpserve 1.2.3" in listed.stdout

"""The two single files: built, started with nothing around them, extended, killed."""

import asyncio
import fcntl
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import postgres
import pytest
from binary.single import FILES, ROOT, Machine, build, wheel
from e2e.process import free_port, until
from serving import CLIENTS, PASSWORD, USER, Flow

from mcpserve.version import __version__

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux only")

GREETER = '''
"""Greets."""

import imaplib  # which nothing in the file needs

from greeting_words import HELLO
from mcpserve import hookimpl


@hookimpl
def mcpserve_tools():
    def greet(name: str) -> str:
        """Greet somebody."""
        return f"{HELLO}, {name}!"

    return [greet]
'''
OUTSIDE = re.compile(r"/(ld-linux\S*|lib(c|m|dl|pthread|rt|util|resolv|nss_\w+))[-.\d]*\.so[.\d]*$")
"""What a process may use of the machine it runs on: the C library."""


@pytest.fixture(scope="module")
def built():
    """The folder in which both files were made."""
    with tempfile.TemporaryDirectory(prefix="mcpserve-binary-", dir=postgres.memory()) as name:
        folder = Path(name)
        folder.chmod(0o755)
        build(folder)
        yield folder


def machine(built, file, name):
    """Return a new machine."""
    made = Machine(built / "dist" / file, built / name, free_port())
    for folder in (made.folder, made.home, made.work):
        folder.mkdir()
        if user := made.user:
            os.chown(folder, user["user"], user["group"])
    return made


async def tools(flow, token):
    answer = (await flow.call_mcp(token, "tools/list")).json()
    return {tool["name"] for tool in answer["result"]["tools"]}


async def called(flow, token, name, /, **arguments):
    answer = await flow.call_mcp(token, "tools/call", {"name": name, "arguments": arguments})
    return answer.json()["result"]["content"][0]["text"]


async def first_user(server):
    """Follow the link that the first start shows."""
    link = until(lambda: re.search(r"http://\S+/setup\?token=\S+", server.output))[0]
    async with server.browser() as browser:
        await browser.open(link)
        await browser.submit(username=USER, password=PASSWORD, password_again=PASSWORD)


@pytest.mark.parametrize("file", FILES)
async def test_a_file_serves_takes_a_plugin_and_leaves_nothing_when_it_is_killed(built, file):
    here = machine(built, file, f"serves-{file}")
    wheels = here.work
    wheel(wheels, "greeting-words", 'HELLO = "Hei"\n')
    needs = "greeting-words"
    greeter = wheel(wheels, "greeter", GREETER, requires=needs, plugin="greeter")

    with here.serving() as server:
        await first_user(server)
        first, *others = server.output.splitlines()
        assert first == f"mcpserve {__version__} · {server.url}"
        facts = dict(line.strip().split("   ", 1) for line in others)
        assert facts.keys() == {"MCP endpoint", "database", "tools", "first user"}
        assert facts["database"].strip().endswith("in ./.mcpserve")
        assert facts["tools"].strip().startswith("calculator · get_weather · search_web")

        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
        installed = await asyncio.to_thread(
            here.run, "plugin", "install", f"./{greeter.name}", **offline
        )
        assert installed.returncode == 0, installed.stderr
        here.configure(
            plugins={"greeter": {"isolation": "process"}},
            oauth={"clients": {"configured": CLIENTS}},
            login={"bcrypt_rounds": 4},
        )
        os.kill(server.popen.pid, signal.SIGHUP)
        await asyncio.to_thread(until, lambda: "reloaded" in server.log)
        flow = Flow(server)
        token = (await flow.tokens())["access_token"]
        assert await tools(flow, token) >= {"greet", "calculator", "get_weather", "search_web"}
        assert await called(flow, token, "greet", name="Kari") == "Hei, Kari!"
        assert await called(flow, token, "calculator", expression="1 + 1") == "2"
        # The server, its database, and the worker of the plugin.
        assert len(here.processes()) >= 3
        server.popen.kill()
        server.popen.wait()
        await asyncio.to_thread(gone, here, seconds=5)

    with here.serving() as server:
        flow = Flow(server)
        assert await called(flow, token, "greet", name="Ola") == "Hei, Ola!"
        here.configure(plugins={"greeter": None})
        removed = await asyncio.to_thread(here.run, "plugin", "remove", "greeter")
        assert removed.returncode == 0, removed.stderr
        os.kill(server.popen.pid, signal.SIGTERM)
        assert await asyncio.to_thread(server.wait) == 0
    gone(here, seconds=1)
    assert "greeter" not in here.run("plugin", "list").stdout


def gone(here, *, seconds):
    """Fail unless nothing runs of it within this time."""
    deadline = time.monotonic() + seconds
    while left := here.processes():
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_nothing_of_the_python_that_built_it_is_used(built):
    here = machine(built, "mcpserve", "alone")
    with here.serving() as server:
        maps = Path(f"/proc/{server.popen.pid}/maps").read_text()
    libraries = set(re.findall(r"/\S+\.so\S*$", maps, re.MULTILINE))
    assert {each for each in libraries if each.startswith(str(here.home))}
    strange = {each for each in libraries if not each.startswith(str(here.home))}
    assert {each for each in strange if not OUTSIDE.search(each)} == set()


def test_two_first_starts_at_once_unpack_one_copy_that_all_share(built):
    here = machine(built, "mcpserve", "twice")
    options = {"cwd": here.work, "env": {"HOME": str(here.home)}, "text": True, **here.user}
    started = [
        subprocess.Popen([*here.command, "--version"], stdout=subprocess.PIPE, **options)
        for _ in range(2)
    ]
    for each in started:
        assert each.communicate(timeout=60)[0] == f"mcpserve, version {__version__}\n"
    assert len(list((here.home / ".cache" / "mcpserve").iterdir())) == 1


def test_what_another_version_unpacked_goes_unless_it_runs(built):
    here = machine(built, "mcpserve", "upgraded")
    cache = here.home / ".cache" / "mcpserve"
    unused, unfinished, running, new = (
        cache / name for name in ("0" * 16, f"{'0' * 16}.17", "1" * 16, "2" * 16)
    )
    for folder in (here.home / ".cache", cache, unused, unfinished, running, new):
        folder.mkdir()
        if user := here.user:
            os.chown(folder, user["user"], user["group"])
    (unused / "file").touch()
    for folder in (unused, unfinished, running):
        os.utime(folder, (0, 0))
    lock = os.open(running, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_SH)
    try:
        assert here.run("--version").returncode == 0
    finally:
        os.close(lock)
    assert [path for path in (unused, unfinished, running, new) if path.exists()] == [running, new]


def test_a_folder_that_belongs_to_another_is_not_trusted(built, tmp_path):
    here = machine(built, "mcpserve", "foreign")
    if not here.user:
        pytest.skip("needs root")
    (here.home / ".cache").mkdir()
    (here.home / ".cache" / "mcpserve").mkdir(mode=0o777)
    refused = here.run("--version", TMPDIR="/nonexistent")
    assert refused.returncode == 1
    assert "cannot unpack itself" in refused.stderr


def test_the_page_names_everything_that_is_inside(built):
    page = (ROOT / "docs" / "reference" / "binary.md").read_text()
    for path in (built / "work" / "wheels").glob("*.whl"):
        name = path.name.partition("-")[0].replace("_", "-")
        assert re.search(rf"\b{re.escape(name)} ", page, re.IGNORECASE), name

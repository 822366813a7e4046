"""What a start imports, and that one broken off while the database is made leaves nothing."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import mcp_types
import pytest
from e2e.process import (
    PATIENCE,
    Process,
    configure,
    end,
    environment,
    open_folder,
    started,
    until,
)

import mcpserve

TELL = """
import atexit, json, sys
atexit.register(lambda: open({path!r}, "w").write(json.dumps(list(sys.modules))))
"""
"""A sitecustomize.py: tells what was imported when the process ends."""

SDK = {"mcp", "mcp_types"}
SERVER = {"tornado", "mcpserve.app", "mcpserve.web", "mcpserve.plugins"}
NEVER = {
    *("mcpserve.testing", "mcpserve.checking", "mcpserve.worker", "mcpserve.scaffold"),
    *("mcpserve.telemetry", "mcpserve.installing", "opentelemetry.sdk", "re2"),
    *("pip", "setuptools", "httpx", "pytest", "rich", "typer", "trafilatura", "babel"),
}
"""What no command here wants; the last few are of tests and of plugins that are not on."""


@pytest.fixture
def folder():
    with open_folder() as path:
        yield path


@pytest.fixture
def told(tmp_path):
    """Return an environment whose processes tell what they imported, and what the last one told."""
    path = tmp_path / "modules"
    (tmp_path / "sitecustomize.py").write_text(TELL.format(path=str(path)))
    return first_of_all(tmp_path), lambda: set(json.loads(path.read_text()))


def first_of_all(folder):
    """Return the environment in which Python looks for modules in the folder first."""
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def run(path, *words, **env):
    return subprocess.run(
        [sys.executable, "-m", "mcpserve", *words],
        check=False,
        cwd=path.parent,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_the_version_needs_nothing_that_reads_a_configuration(told, tmp_path):
    env, modules = told
    assert run(tmp_path / "-", "--version", **env).returncode == 0
    assert modules() & {*NEVER, *SDK, *SERVER, "pydantic", "yaml", "psycopg2", "asyncio"} == set()


def test_a_command_about_clients_and_users_needs_no_server(told, dsn, tmp_path):
    env, modules = told
    path = configure(tmp_path, dsn=dsn)
    for words in (["client", "list"], ["user", "list"], ["key", "list"]):
        done = run(path, *words, "-c", str(path), **env)
        assert done.returncode == 0, done.stderr
        assert modules() & {*NEVER, *SDK, *SERVER} == set(), words


def test_a_wrong_configuration_is_told_before_the_server_is_imported(told, tmp_path):
    env, modules = told
    path = configure(tmp_path, server={"prot": 1})
    refused = run(path, "serve", "-c", str(path), **env)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: server.prot: ")
    assert modules() & {*NEVER, *SDK, *SERVER} == set()
    assert not (tmp_path / ".mcpserve").exists()


def test_what_a_supervisor_of_several_processes_needs_is_no_server(told):
    env, modules = told
    needed = "import mcpserve.cli.serving, mcpserve.serving"
    subprocess.run([sys.executable, "-c", needed], check=True, env=environment(**env))
    assert modules() & {*NEVER, *SDK, "mcpserve.app", "mcpserve.web"} == set()


def test_a_check_of_the_configuration_imports_nothing_that_it_does_not_check(told, dsn, tmp_path):
    env, modules = told
    path = configure(tmp_path, dsn=dsn)
    checked = run(path, "check", "-c", str(path), **env)
    assert checked.returncode == 0, checked.stderr
    assert modules() & NEVER == set()


def test_a_server_imports_nothing_that_it_does_not_serve_with(told, dsn, tmp_path):
    env, modules = told
    with started(configure(tmp_path, dsn=dsn), **env) as server:
        server.popen.terminate()
        assert server.wait() == 0
    assert modules() & NEVER == set()
    assert modules() >= {*SDK, *SERVER}


def test_every_name_for_authors_is_there_and_listed():
    assert set(mcpserve.__all__) <= set(dir(mcpserve))
    for name in mcpserve.__all__:
        found = getattr(mcpserve, name)
        assert found is getattr(sys.modules[mcpserve.HOMES.get(name, "mcp_types")], name, found)
    assert mcpserve.TextContent is mcp_types.TextContent
    with pytest.raises(AttributeError, match="module 'mcpserve' has no attribute 'Tol'"):
        _ = mcpserve.Tol


WIRE = """
from mcpserve import wire_models
wire_models.load()
import mcp_types, mcp_types.methods as methods, mcpserve, pydantic
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase

class Own(pydantic.BaseModel):
    number: int

class Derived(mcp_types.TextContent):
    number: int

types = [getattr(mcp_types, name) for name in mcp_types.__all__]
models = [each for each in types if isinstance(each, type) and issubclass(each, pydantic.BaseModel)]
assert len(models) > 100
assert not any(each.model_config.get("defer_build") for each in (*models, ArgModelBase))
for each in (Own, Derived, ArgModelBase, mcpserve.CallToolResult, mcpserve.ResourceLink):
    assert each.__pydantic_complete__, each
assert pydantic.BaseModel.model_config == {}
rows = {row for row in methods.CLIENT_REQUESTS.values() if hasattr(row, "__pydantic_complete__")}
assert len(rows) > 10 and not any(row.__pydantic_complete__ for row in rows)
call = {"name": "add", "arguments": {}}
for version in ("2025-06-18", "2025-11-25"):
    methods.validate_client_request("tools/call", version, call)
try:
    methods.validate_client_request("tools/call", "2025-06-18", {"name": 1})
except pydantic.ValidationError:
    print("refused")
"""


def test_only_the_models_of_the_wire_wait_until_they_are_wanted(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WIRE], check=False, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


# broken off


@contextmanager
def making_its_database(folder, **env):
    """Start a server, and go on as soon as initdb runs."""
    path = configure(folder)
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        popen = subprocess.Popen(
            [sys.executable, "-m", "mcpserve", "serve", "-c", str(path)],
            cwd=folder,
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        until(lambda: any(folder.glob(".mcpserve/postgres.new-*/PG_VERSION")))
        yield Process.of(path, popen)
    finally:
        end(popen)


def processes_in(folder):
    """Return the programs that run and have the folder in their command line or are in it."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and int(process.name) != os.getpid():
                told = (process / "cmdline").read_bytes()
                if told and os.fsencode(folder) in told + os.readlink(process / "cwd").encode():
                    found.append(told)
    return found


linux = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")


@linux
def test_kill_9_while_the_database_is_made_leaves_nobody_behind(folder):
    with making_its_database(folder) as server:
        server.popen.kill()
        server.popen.wait()
        until(lambda: not processes_in(folder))
        assert not (folder / ".mcpserve" / "postgres").exists()
    with started(server.config):
        assert not list(folder.glob(".mcpserve/postgres.new-*"))


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_database_is_made_ends_the_start(folder, number):
    with making_its_database(folder) as server:
        server.signal(number)
        assert server.wait() != 0
        until(lambda: not processes_in(folder))
    assert not (folder / ".mcpserve" / "postgres").exists()


@linux
def test_a_server_that_cannot_be_imported_stops_the_database_that_was_started(folder, tmp_path):
    (tmp_path / "tornado").mkdir()
    (tmp_path / "tornado" / "__init__.py").write_text("raise ImportError('half an upgrade')\n")
    path = configure(folder)
    failed = run(path, "serve", "-c", str(path), **first_of_all(tmp_path))
    assert failed.returncode == 1
    assert "half an upgrade" in failed.stderr
    assert processes_in(folder) == []
    # Whoever stops it says so here; killed with its owner it could not.
    assert (folder / ".mcpserve" / "postgres.lock").read_bytes() == b""
    assert (folder / ".mcpserve" / "postgres" / "PG_VERSION").exists()

"""Reloading real processes: by a signal, by a command, and by neither while something is wrong."""

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest
import yaml
from e2e.process import (
    ATTACH,
    PATIENCE,
    add_user,
    configure,
    environment,
    invoke,
    open_folder,
    started,
    until,
)
from serving import Flow

BOTH = {"calculator": {}, "get_weather": {}}


def change(path, **sections):
    """Change sections of a configuration that a server has read."""
    settings = yaml.safe_load(path.read_text("utf-8"))
    path.write_text(yaml.safe_dump({**settings, **sections}), "utf-8")


async def tools(server, token):
    listed = (await Flow(server).call_mcp(token, "tools/list")).json()
    return [tool["name"] for tool in listed["result"]["tools"]]


async def run(path, *words, **env):
    return await asyncio.to_thread(invoke, path, *words, **env)


async def logged(server, text):
    return await asyncio.to_thread(until, lambda: text in server.log)


async def test_a_hang_up_signal_reloads_what_is_right_and_only_that(dsn, tmp_path):
    path = configure(tmp_path, dsn=dsn)
    with started(path) as server:
        await asyncio.to_thread(add_user, path)
        token = (await Flow(server).tokens())["access_token"]
        change(path, plugins=BOTH, log={"level": "info", "format": "text"})
        server.signal(signal.SIGHUP)
        await logged(server, "reloaded, generation 2: + tool get_weather")
        assert await tools(server, token) == ["calculator", "get_weather"]

        change(path, plugins={"calculator": {"timout": 1}, "nothing": {}})
        server.signal(signal.SIGHUP)
        await logged(server, "not reloaded, all stays as it was: plugins.calculator.timout: ")
        path.write_text("plugins: [", "utf-8")
        server.signal(signal.SIGHUP)
        await asyncio.to_thread(until, lambda: server.log.count("not reloaded") >= 2)
        assert await tools(server, token) == ["calculator", "get_weather"]
        # The log follows, too.
        assert server.log.splitlines()[-1][0].isdigit()
    assert server.popen.returncode == 0


async def test_one_command_reloads_every_process_and_tells_which_refuses(dsn, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    one, two = (configure(folder, dsn=dsn) for folder in folders)
    with started(one) as first, started(two) as second:
        both = (first, second)
        await asyncio.to_thread(add_user, one)
        tokens = {server: (await Flow(server).tokens())["access_token"] for server in both}
        change(one, plugins=BOTH)
        change(two, plugins=BOTH)
        done = await run(one, "reload")
        assert done.exit_code == 0
        lines = sorted(done.stdout.splitlines())
        names = [f":{server.popen.pid}  reloaded, generation 2; + tool" for server in both]
        assert len(lines) == 2
        assert all(any(name in line for line in lines) for name in names)
        for server in both:
            assert await tools(server, tokens[server]) == ["calculator", "get_weather"]

        change(two, plugins={"nothing": {}})
        refused = await run(one, "reload")
        assert refused.exit_code == 1
        assert f":{second.popen.pid}  refused: plugins.nothing: " in refused.stdout
        assert f":{first.popen.pid}  reloaded, generation 3" in refused.stdout
        assert refused.stderr == "error: 1 server of 2 did not reload\n"
        assert await tools(second, tokens[second]) == ["calculator", "get_weather"]


async def test_without_a_server_the_commands_say_so(dsn, tmp_path):
    path = configure(tmp_path, dsn=dsn)
    refused = await run(path, "reload")
    assert (refused.exit_code, refused.stderr) == (
        1,
        "error: no server runs with this database\n",
    )
    planned = await run(path, "plan")
    assert planned.exit_code == 0
    assert planned.stdout.splitlines() == [
        "no server runs with this database; a start would serve:",
        "  tool calculator",
    ]


async def test_commands_reach_a_server_with_the_embedded_database(tmp_path):
    with open_folder() as folder:
        path = configure(folder)
        with started(path) as server:
            done = await run(path, "reload")
            assert (done.exit_code, f":{server.popen.pid}  reloaded" in done.stdout) == (0, True)
            assert "generation 2" in (await run(path, "plan")).stdout


async def test_a_plan_tells_what_would_change_and_changes_nothing(dsn, tmp_path):
    old = {"calculator": {"timeout": "5s"}, "get_weather": {"scopes": ["weather"]}}
    old["search_web"] = {"config": {"wikipedia": {"contact": "a@example.org"}}}
    path = configure(tmp_path, dsn=dsn, plugins=old, mcp={"name": "before"})
    with started(path) as server:
        await asyncio.to_thread(add_user, path)
        asked = "mcp.tools.call weather"
        await Flow(server).tokens(scope=asked)
        await Flow(server).tokens(scope="mcp.tools.call")
        same = await run(path, "plan")
        assert "  nothing would change" in same.stdout.splitlines()

        port = yaml.safe_load(path.read_text("utf-8"))["server"]["port"]
        change(
            path,
            plugins={
                "calculator": {"timeout": "9s", "scopes": ["sums"]},
                "search_web": {"config": {"wikipedia": {"contact": "b@example.org"}}},
            },
            mcp={"name": "after"},
            oauth={"keys": ["a secret that nobody must ever see here"]},
            server={"port": port, "processes": 1, "shutdown_grace": "1s"},
            tracing={"sample": 0.5},
        )
        before = server.log
        planned = await run(path, "plan", "--json")
        assert planned.exit_code == 0, planned.stderr
        [told] = json.loads(planned.stdout)
        assert told["server"].endswith(f":{server.popen.pid}")
        assert told["config"] == str(path)
        assert (told["added"], told["removed"]) == ([], ["tool get_weather", "resource forecast"])
        assert told["changed"] == {
            "tool calculator": [
                "scopes mcp.tools.call → mcp.tools.call sums",
                "timeout 5 s → 9 s",
            ]
        }
        assert told["settings"]["mcp.name"] == '"before" → "after"'
        # Whoever may connect to the database can ask, and nobody knows which of these are secret.
        assert told["settings"]["plugins.search_web.config.wikipedia.contact"] == "changed"
        assert told["settings"]["oauth.keys"].startswith("not set → ")
        assert told["at_start"] == ["tracing.sample"]
        assert told["refresh"] is True
        wide, narrow = sorted(told["grants"], key=lambda loss: -len(loss["loses"]))
        assert wide["loses"] == ["resource forecast", "tool calculator", "tool get_weather"]
        assert (wide["scopes"], narrow["scopes"]) == (["weather"], [])
        assert narrow["loses"] == ["tool calculator"]
        grants = await run(path, "grant", "list")
        assert all(loss["ids"][0] in grants.stdout for loss in (wide, narrow))

        shown = (await run(path, "plan")).stdout
        for line in (
            "  - tool get_weather",
            '  mcp.name: "before" → "after"',
            "  at the next start: tracing.sample",
            "  public-client: 1 live grant would lose tool calculator",
        ):
            assert line in shown.splitlines()
        assert "must ever see" not in shown + planned.stdout + server.log
        assert "reloaded" not in server.log[len(before) :]

        change(path, plugins={"nothing": {}})
        wrong = await run(path, "plan")
        assert (wrong.exit_code, "plugins.nothing: " in wrong.stderr) == (2, True)


async def test_a_stop_in_the_middle_of_a_reload_is_a_clean_stop(dsn, tmp_path):
    path = configure(tmp_path, dsn=dsn, plugins={"calculator": {"isolation": "process"}})
    with started(path) as server:
        children = f"/proc/{server.popen.pid}/task/{server.popen.pid}/children"

        def workers():
            with open(children) as file:
                return file.read().split()

        [before] = workers()
        server.signal(signal.SIGHUP)
        both = await asyncio.to_thread(until, lambda: len(workers()) == 2 and workers())
        assert before in both
        os.kill(server.popen.pid, signal.SIGTERM)
        assert await asyncio.to_thread(server.wait) == 0
        assert "Traceback" not in server.log
        for worker in both:
            with pytest.raises(ProcessLookupError):
                os.kill(int(worker), 0)


async def test_the_workers_of_a_set_end_with_it(dsn, tmp_path):
    path = configure(tmp_path, dsn=dsn, plugins={"calculator": {"isolation": "process"}})
    with started(path) as server:
        children = f"/proc/{server.popen.pid}/task/{server.popen.pid}/children"

        def workers():
            with open(children) as file:
                return file.read().split()

        before = workers()
        assert (await run(path, "reload")).exit_code == 0
        await asyncio.to_thread(
            until, lambda: len(workers()) == 1 and not set(before) & set(workers())
        )


def test_a_server_whose_terminal_is_closed_ends_as_ever(dsn, tmp_path):
    path = configure(tmp_path, dsn=dsn)
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "mcpserve", "-c", str(path), "serve"]
    popen = subprocess.Popen(
        [sys.executable, "-c", ATTACH, *command],
        cwd=tmp_path,
        env=environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        shown = b""
        while b"first user" not in shown:
            shown += os.read(ours, 10_000)
        os.close(ours)
        assert popen.wait(PATIENCE) == 0
    finally:
        popen.kill()
        popen.wait()

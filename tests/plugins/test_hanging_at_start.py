"""What an operator reads of a plugin that hangs, exits or raises what is no Exception at the start.

In processes of their own: what hangs in a thread stays there.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.process import configure, environment

GALLERY = Path(__file__).parent / "broken"
LIMIT = "0.3s"

UNHEARD = {
    "raises_on_import": "import failed: NoLicence: ask for one",
    "interrupting_hook": "mcpserve_tools: KeyboardInterrupt: enough",
}
HANGING = {
    "hangs_on_import": f"import took longer than 0.3 s, it is at {GALLERY}/hangs_on_import.py:7 "
    f"(connect) in {GALLERY}/hangs_on_import.py:10 (<module>)",
    "hanging_hook": "mcpserve_tools took longer than 0.3 s, it is at "
    f"{GALLERY}/hanging_hook.py:10 (mcpserve_tools)",
    "hangs_at_start": "mcpserve_tools took longer than 0.3 s, it is at "
    f"{GALLERY}/hangs_at_start.py:10 (mcpserve_tools)",
}
ENDING = {
    "ends_the_process": "isolation: its process cannot be used: it ended with exit code 3 while it "
    "loaded the plugin",
}
APART = ENDING | {"hangs_on_import": HANGING["hangs_on_import"]}


def run(command, path, gallery):
    """Run a command to its end, and return it."""
    search = os.pathsep.join([*gallery, os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "mcpserve", command, "-c", path],
        env=environment(PYTHONPATH=search),
        cwd=os.path.dirname(path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("isolation", "expected"),
    [("none", UNHEARD | HANGING), ("process", APART)],
)
def test_check_names_each_in_one_line(gallery, tmp_path, isolation, expected):
    settings = {"load_timeout": LIMIT, "isolation": isolation}
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"plugins": dict.fromkeys(expected, settings)}))
    ended = run("check", path, gallery)
    assert ended.returncode == 2
    told = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert told == [f"error: plugins.{name}: {text}" for name, text in expected.items()]


def test_a_server_does_not_start_and_says_why(gallery, tmp_path, dsn):
    path = configure(tmp_path, dsn=dsn, plugins={"hangs_on_import": {"load_timeout": LIMIT}})
    ended = run("serve", path, gallery)
    assert ended.returncode == 2
    assert f"error: plugins.hangs_on_import: {HANGING['hangs_on_import']}\n" in ended.stderr


PROGRAM = """
import sys
from contextlib import AsyncExitStack
from mcpserve import loop, plugins
from mcpserve.settings import PluginSettings

settings = PluginSettings(on_error="skip")
print("begun", flush=True)
loop.run(plugins.load({sys.argv[1]: settings}, AsyncExitStack()))
"""


@pytest.mark.parametrize("name", ["hangs_on_import", "hangs_at_start"])
def test_ctrl_c_ends_a_start_that_hangs_and_is_not_the_plugins_failure(gallery, name):
    search = os.pathsep.join([*gallery, os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, name],
        env=environment(PYTHONPATH=search),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        running.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(1)
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=10)
    assert running.returncode == -signal.SIGINT
    assert "started without" not in told

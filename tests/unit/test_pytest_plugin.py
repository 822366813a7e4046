"""``pytest_mcpserve`` in projects of others: what it offers, and that it disturbs nobody."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

# Only what the tests of a stranger have: the plugins of our own suite stay out.
ALONE = ["-p", "pytest_mcpserve", "-p", "no:cacheprovider", "-c", "pytest.ini", "--rootdir=."]


def run(folder, test, *words, ini=""):
    """Run pytest on a module in a folder of its own; return what it wrote, and how it ended."""
    (folder / "test_it.py").write_text(test)
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}")
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", *ALONE, *words],
        cwd=folder,
        env={
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(ROOT),
            "PATH": "/usr/bin:/bin",
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ran.stdout, ran.returncode


def test_a_project_that_uses_nothing_of_it_does_not_import_mcpserve(tmp_path):
    test = """
import sys

def test_nothing():
    assert "pytest_mcpserve" in sys.modules
    assert not {"mcpserve", "mcp", "tornado", "httpx", "pydantic"} & set(sys.modules)
"""
    shown, status = run(tmp_path, test)
    assert status == 0, shown


ASYNC = """
import asyncio
import pytest

@pytest.fixture
def answer():
    return 42

@pytest.mark.parametrize("number", [1, 2])
async def test_async(number, answer):
    await asyncio.sleep(0)
    assert number < answer

async def test_it_fails():
    await asyncio.sleep(0)
    assert False, "seen"
"""


def test_async_tests_run_if_the_project_says_so(tmp_path):
    shown, status = run(tmp_path, ASYNC, ini="mcpserve_async = true")
    assert status == 1
    assert "2 passed" in shown
    assert "1 failed" in shown
    assert "seen" in shown


def test_async_tests_of_other_projects_are_left_alone(tmp_path):
    shown, status = run(tmp_path, ASYNC)
    assert status == 1
    assert "3 failed" in shown
    assert "async def functions are not natively supported" in shown


RECORDED = """
import httpx
import pytest

@pytest.mark.parametrize("city", ["a/b"])
def test_recorded(recorded_http, city):
    assert httpx.get("http://api.example/a?mine=hunter2").json() == {"b": 1}

def test_loaded(load_plugin):
    import mcpserve.testing
    assert load_plugin is mcpserve.testing.load_plugin
"""


def test_recordings_lie_beside_the_test_and_hide_what_the_project_says(tmp_path):
    ini = "mcpserve_hide = mine other"
    shown, status = run(tmp_path, RECORDED, ini=ini)
    assert status == 1
    assert "GET http://api.example/a?mine=*** is not in" in shown
    assert "pytest --record-http" in shown

    file = tmp_path / "recordings" / "test_it" / "test_recorded[a_b].json"
    file.parent.mkdir(parents=True)
    exchange = {
        "method": "GET",
        "url": "http://api.example/a?mine=***",
        "status": 200,
        "headers": {},
        "text": '{"b": 1}',
    }
    file.write_text(json.dumps({"exchanges": [exchange]}))
    shown, status = run(tmp_path, RECORDED, ini=ini)
    assert status == 0, shown


@pytest.mark.parametrize("option", ["--record-http", "mcpserve_async", "mcpserve_hide"])
def test_the_help_tells_of_it(tmp_path, option):
    shown, _ = run(tmp_path, "", "--help")
    assert option in shown

"""What `plugin check` sees in the source of a plugin."""

import ast

import pytest

from mcpserve.checking import rules, sources, target


def found(source):
    """Return what blocks the loop in this source: the rule, and what is called."""
    tree = ast.parse(source)
    return [
        (finding.rule, finding.told.partition("()")[0])
        for finding in sources.blocking_calls(tree, "plugin.py")
    ]


@pytest.mark.parametrize(
    ("imports", "call", "told"),
    [
        ("import time", "time.sleep(1)", "time.sleep"),
        ("import time as t", "t.sleep(1)", "time.sleep"),
        ("from time import sleep", "sleep(1)", "time.sleep"),
        ("from time import sleep as wait", "wait(1)", "time.sleep"),
        ("import requests", "x = requests.get(url).json()", "requests.get"),
        ("import requests", "requests.Session().get(url)", "requests.Session"),
        ("import urllib.request", "urllib.request.urlopen(url)", "urllib.request.urlopen"),
        ("from urllib import request", "request.urlopen(url)", "urllib.request.urlopen"),
        ("import httpx", "httpx.get(url)", "httpx.get"),
        ("import subprocess", "if subprocess.run(['ls']): pass", "subprocess.run"),
        ("import sqlite3", "with sqlite3.connect('x') as db: pass", "sqlite3.connect"),
        ("import socket", "s = socket.create_connection(a)", "socket.create_connection"),
        ("import time", "await later(time.sleep(1))", "time.sleep"),
        ("", "return input()", "input"),
    ],
)
def test_a_call_that_blocks_is_found_under_any_name(imports, call, told):
    assert found(f"{imports}\nasync def tool(url):\n    {call}\n") == [(rules.BLOCKS, told)]


@pytest.mark.parametrize("call", ["open('x')", "path.read_text()", "path.write_bytes(b'')"])
def test_work_with_files_is_a_warning(call):
    assert [rule for rule, _ in found(f"async def tool(path):\n    x = {call}\n")] == [rules.FILES]


@pytest.mark.parametrize(
    "source",
    [
        "import time\ndef tool():\n    time.sleep(1)",
        "import time, asyncio\nasync def tool():\n    await asyncio.to_thread(time.sleep, 1)",
        "import time\nasync def tool():\n    def work():\n        time.sleep(1)\n    return work",
        "import time\nasync def tool():\n    return lambda: time.sleep(1)",
        "import asyncio\nasync def tool():\n    await asyncio.sleep(1)",
        "import httpx\nasync def tool():\n    with httpx.AsyncClient() as c:\n        c.get(1)",
        "async def tool(path):\n    return await path.read_text()",
        "async def tool(time):\n    time.sleep(1)",
        "async def tool(requests):\n    requests.get(1)",
        "import time\ndef mcpserve_tools():\n    time.sleep(1)",
    ],
)
def test_what_does_not_block_is_left_alone(source):
    assert found(source) == []


def test_the_observer_of_calls_runs_on_the_loop_although_it_is_plain():
    source = "import time\ndef mcpserve_tool_called(call):\n    time.sleep(1)"
    assert found(source) == [(rules.BLOCKS, "time.sleep")]


def test_a_finding_names_the_file_the_line_and_the_function(tmp_path):
    package = tmp_path / "mcpserve_notes"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "store.py").write_text("import time\nasync def save():\n    time.sleep(1)\n")
    (made,) = target.find(str(package), [])
    (finding,) = sources.check(made)
    assert finding.text == "mcpserve_notes/store.py:3, save: time.sleep() blocks the event loop"


def test_a_file_that_is_no_python_is_named(tmp_path):
    path = tmp_path / "notes.py"
    path.write_text("def broken(:")
    (made,) = target.find(str(path), [])
    (finding,) = sources.check(made)
    assert finding.rule is rules.UNREADABLE
    assert finding.text.startswith("notes.py: cannot be read as Python: invalid syntax")


@pytest.mark.parametrize(
    ("source", "reaches"),
    [
        ("import json, pydantic\nfrom mcpserve import tool", False),
        ("import httpx", True),
        ("from urllib.request import urlopen", True),
        ("def tool():\n    import socket", True),
        ("import stripe", True),
        ("import notes.store", False),
        ("def broken(:", True),
    ],
)
def test_whether_a_plugin_could_reach_the_world_is_told_by_its_imports(tmp_path, source, reaches):
    path = tmp_path / "notes.py"
    path.write_text(source)
    (made,) = target.find(str(path), [])
    assert sources.reaches_out(made) is reaches

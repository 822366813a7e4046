"""The tutorial, followed to the letter by somebody who has nothing yet."""

import re
import signal
import sys
from pathlib import Path

import pytest
from e2e.process import free_port, open_folder, started
from e2e.stranger import Stranger, blocks
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from serving import PASSWORD, USER

from mcpserve.testing.person import CALLBACK, CLIENT_ID, Person

PAGE = Path(__file__).parent.parent.parent / "docs" / "tutorial" / "first-plugin.md"
SEED = {"AUTO_SEED_CLIENT_ID": CLIENT_ID, "AUTO_SEED_REDIRECT_URIS": CALLBACK}
HOOK = re.compile(r"^@hookimpl\ndef mcpserve_tools.*\Z", re.MULTILINE | re.DOTALL)


@pytest.fixture
def stranger(monkeypatch):
    """Somebody in an empty folder."""
    # Or each command would compile everything again.
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    with open_folder() as folder:
        yield Stranger(folder)


def follow(stranger):
    """Do what the page says up to the start of the server; return what the server should show."""
    for block in blocks(PAGE.read_text("utf-8")):
        match block.language, block.about:
            case "sh", _:
                for line in block.text.splitlines():
                    type_or_stand_in(stranger, line)
            case "python", "replaces mcpserve_tools":
                module = stranger.folder / "mcpserve_reading_time" / "__init__.py"
                module.write_text(HOOK.sub(lambda _, new=block.text: new, module.read_text()))
                stranger.install(stranger.folder)
            case "python", "appended to tests/test_reading_time.py":
                with (stranger.folder / "tests" / "test_reading_time.py").open("a") as test:
                    test.write("\n\n" + block.text)
            case "python", path:
                assert block.text in (stranger.folder / path).read_text()
            case "yaml", path:
                (stranger.folder / path).write_text(block.text)
            case "json", _:
                assert stranger.shown == block.text
            case _, _ if block.text.startswith("mcpserve "):
                return block.text
    raise AssertionError("the page does not say what the server shows")


def type_or_stand_in(stranger, line):
    """Type a line, unless it needs a package index or is of the shell alone."""
    match line:
        case "python3 -m venv .venv" | ". .venv/bin/activate":
            pass
        case "pip install 'mcpserve[testing]'":
            stranger.install_mcpserve()
        case "pip install -e '.[test]'":
            stranger.install(stranger.folder)
        case "mcpserve serve":
            pass  # Below, where it ends again.
        case _:
            stranger.type(line)


async def test_the_tutorial_leads_from_nothing_to_an_answer(stranger, monkeypatch):
    promised = follow(stranger)
    assert stranger.installed == ["mcpserve", "mcpserve_reading_time", "mcpserve_reading_time"]
    stranger.type("python -c 'from importlib.util import *; print(find_spec(\"mcpserve\").origin)'")
    assert Path(stranger.shown.strip()).is_relative_to(stranger.site)

    monkeypatch.setattr(sys, "executable", str(stranger.python))
    port = str(free_port())
    with started(stranger.folder / "config.yaml", PORT=port, **SEED) as process:
        tools = re.search(r"^  tools .*$", promised, re.MULTILINE)[0]
        assert tools in process.output
        link = re.search(r"http\S+/setup\?token=\S+", process.output)[0]
        async with process.browser() as browser:
            await browser.open(link.removeprefix(process.url))
            await browser.submit(username=USER, password=PASSWORD, password_again=PASSWORD)
        person = Person(USER, PASSWORD)
        token = await person.allow(process.url, process.resource, ["mcp.tools.call"])
        headers = {"Authorization": f"Bearer {token}"}
        async with create_mcp_http_client(headers=headers) as http:
            transport = streamable_http_client(process.resource, http_client=http)
            async with Client(transport) as client:
                kept = await client.call_tool("keep_text", {"name": "a", "text": "word " * 500})
                assert kept.structured_content == {"result": "1 kept"}
                read = await client.call_tool("reading_time", {"name": "a"})
        # 250 words a minute, which only config.yaml says.
        assert read.structured_content == {"words": 500, "minutes": 2.0}
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert "Traceback" not in process.log

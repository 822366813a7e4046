"""A plugin in a process of its own: the same for its author, and harmless for everybody else."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from exchanges import CALLER
from isolated import install
from mcp_types import ClientCapabilities, ElicitResult

from mcpserve import ToolContext, ToolError, User, plugins
from mcpserve.bound import NotTried
from mcpserve.errors import PluginError
from mcpserve.isolation import host
from mcpserve.principal import Principal
from mcpserve.questions import InputRequired, Interview
from mcpserve.registry import UnknownResource
from mcpserve.settings import PluginSettings

GUEST = Principal("client", "user", CALLER.scopes | {"more"})


@asynccontextmanager
async def apart(tmp_path, monkeypatch, **settings):
    """Load the plugin in a worker."""
    install(tmp_path, monkeypatch)
    chosen = {"apart": PluginSettings.model_validate({"isolation": "process"} | settings)}
    async with AsyncExitStack() as exit_stack:
        loaded = await plugins.load(chosen, exit_stack)
        yield loaded.registry


async def call(registry, name, context=None, /, **arguments):
    """Call a tool and return its result."""
    async with asyncio.timeout(20):
        return await registry.tools.call(name, arguments, context or ToolContext(GUEST))


async def text(registry, name, **arguments):
    """Call a tool and return the text of its result."""
    return (await call(registry, name, **arguments)).content[0].text


async def well(registry):
    """Return the process of the worker, once there is one that answers."""
    async with asyncio.timeout(20):
        while True:
            result = await call(registry, "process")
            if not result.is_error:
                return result.structured_content["result"]
            await asyncio.sleep(0.05)


async def test_tools_resources_and_prompts_are_those_of_the_author(tmp_path, monkeypatch):
    async with apart(tmp_path, monkeypatch, config={"greeting": "good day"}) as registry:
        greet = registry.tools.get("greet")
        assert greet.scopes == {"mcp.tools.call", "more"}
        assert greet.offer.definition.title == "Greet"
        assert greet.offer.hints.read_only_hint
        assert list(greet.offer.arguments) == ["name"]

        told = []

        async def send_progress(*progress):
            told.append(progress)

        async def send_log(*log):
            told.append(log)

        async def find_user(principal):
            return User(principal.subject, name="alice")

        context = ToolContext(GUEST, send_progress, send_log, find_user=find_user, locale="pt-BR")
        result = await call(registry, "greet", context, name="Bob")
        assert result.structured_content == {
            "text": "good day Bob",
            "user": "alice",
            "client": "client",
            "locale": "pt-BR",
        }
        assert told == [
            ("info", {"message": "greeting", "name": "Bob"}),
            (1.0, 2.0, "half"),
        ]
        assert await text(registry, "greet", nobody="x") == (
            "greet: name: Field required; nobody: no such argument (arguments: name)"
        )
        assert await text(registry, "refuse") == "not today"
        assert await text(registry, "crash") == "Error executing tool crash"

        (note,) = registry.resources
        read = await registry.resources.read("notes://one", context)
        assert (read.contents[0].uri, read.contents[0].text) == ("notes://one", "# one")
        with pytest.raises(UnknownResource, match="no such note"):
            await registry.resources.read("notes://none", context)
        assert await note.complete("name", "o", {}) == ["one", "other"]
        with pytest.raises(ToolError):
            await note.complete("nothing", "o", {})
        prompt = await registry.prompts.render("review", {"code": "x"}, context)
        assert prompt.messages[0].content.text == "Review x"


async def test_a_question_is_asked_and_its_answer_arrives(tmp_path, monkeypatch):
    capabilities = ClientCapabilities.model_validate({"elicitation": {"form": {}}})
    async with apart(tmp_path, monkeypatch) as registry:
        interview = Interview(capabilities)
        with pytest.raises(InputRequired):
            await call(registry, "ask", ToolContext(GUEST, interview=interview))
        answer = ElicitResult(action="accept", content={"count": 3})
        again = Interview(
            capabilities,
            earlier=interview.transcript,
            responses=dict.fromkeys(interview.open, answer),
        )
        result = await call(registry, "ask", ToolContext(GUEST, interview=again))
        assert result.content[0].text == "accept 3"
        cannot = await call(registry, "ask")
        assert "cannot be asked" in cannot.content[0].text


async def test_a_worker_that_ends_is_started_again(tmp_path, monkeypatch, caplog):
    async with apart(tmp_path, monkeypatch) as registry:
        waiting = asyncio.create_task(call(registry, "wait"))
        before = await well(registry)
        assert (await text(registry, "leave")).startswith("It crashed while it worked")
        assert (await waiting).is_error
        between = await well(registry)
        os.kill(between, signal.SIGKILL)
        await asyncio.sleep(0.05)
        after = await well(registry)
        assert len({before, between, after}) == 3
        monkeypatch.setattr(host, "FIRST_PAUSE", 30)
        await text(registry, "leave")
        (note,) = registry.resources
        with pytest.raises(NotTried, match="started again"):
            await note.complete("name", "o", {})
    assert "its process ended with 3" in caplog.text


async def test_what_a_worker_started_ends_with_it_and_does_not_hide_its_end(tmp_path, monkeypatch):
    held = tmp_path / "held"
    os.mkfifo(held)
    reader = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    async with apart(tmp_path, monkeypatch) as registry:
        before = await well(registry)
        crashed = await text(registry, "leave_others", path=str(held))
        assert crashed.startswith("It crashed while it worked")
        assert await well(registry) != before
        async with asyncio.timeout(5):
            while is_held(reader):
                await asyncio.sleep(0.01)
    os.close(reader)


def is_held(reader):
    """Whether a process has the other end of a pipe."""
    try:
        return os.read(reader, 1) != b""
    except BlockingIOError:
        return True


async def test_a_number_that_no_json_reader_takes_harms_no_worker(tmp_path, monkeypatch):
    async with apart(tmp_path, monkeypatch) as registry:
        before = await well(registry)
        assert (await call(registry, "number", digits=400)).structured_content == {
            "result": 10**400
        }
        assert await text(registry, "number", digits=5000) == "The answer cannot be sent."
        assert await well(registry) == before


async def test_a_worker_whose_loop_is_blocked_is_killed(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(host, "STUCK_TIMEOUT", 0.3)
    async with apart(tmp_path, monkeypatch, tools={"block": {"timeout": "0.2s"}}) as registry:
        before = await well(registry)
        assert await text(registry, "block") == "block did not answer within 0.2 s"
        await asyncio.sleep(0.4)
        assert await well(registry) != before
    assert "does not stop a call" in caplog.text


async def test_a_cancelled_call_ends_in_the_worker_which_lives_on(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "STUCK_TIMEOUT", 0.3)
    async with apart(tmp_path, monkeypatch, tools={"wait": {"timeout": "0.1s"}}) as registry:
        before = await well(registry)
        assert await text(registry, "wait") == "wait did not answer within 0.1 s"
        await asyncio.sleep(0.5)
        assert await well(registry) == before


async def test_a_worker_full_of_threads_that_do_not_end_is_replaced(tmp_path, monkeypatch):
    settings = {"concurrency": 2, "tools": {"stuck": {"timeout": "0.1s"}}}
    async with apart(tmp_path, monkeypatch, **settings) as registry:
        before = await well(registry)
        for _ in range(3):
            await text(registry, "stuck")
        assert await well(registry) != before


async def test_a_worker_learns_no_secret_and_returns_nothing_too_large(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("MCPSERVE_OAUTH__KEYS", "secret")
    async with apart(tmp_path, monkeypatch, results={"max_size": "10KiB"}) as registry:
        environment = (await call(registry, "environment")).structured_content
        assert "PATH" in environment
        assert not [value for value in environment.values() if "secret" in value]
        assert "Ask for less" in await text(registry, "large", size=1_000_000)
        assert not (await call(registry, "large", size=1000)).is_error


@pytest.mark.parametrize("kind", ["progress", "log"])
async def test_a_message_too_large_for_a_client_is_dropped_in_the_worker(
    tmp_path, monkeypatch, capfd, kind
):
    told = []

    async def send(*message):
        told.append(message)

    async with apart(tmp_path, monkeypatch) as registry:
        before = await well(registry)
        context = ToolContext(GUEST, send, send)
        result = await call(registry, "tell", context, kind=kind, size=20_000_000)
        assert result.content[0].text == "told"
        assert told == []
        await call(registry, "tell", context, kind=kind, size=1000)
        assert len(told) == 1
        assert await well(registry) == before
    assert capfd.readouterr().err.count("floods its client") == 1


async def test_an_error_a_completion_and_a_question_that_are_too_large_are_refused(
    tmp_path, monkeypatch
):
    async with apart(tmp_path, monkeypatch) as registry:
        before = await well(registry)
        refused = await call(registry, "tell", kind="error", size=20_000_000)
        assert refused.is_error
        assert "Ask for less" in refused.content[0].text
        (note,) = registry.resources
        with pytest.raises(ToolError, match="Ask for less"):
            await note.complete("name", "many", {})
        capabilities = ClientCapabilities.model_validate({"elicitation": {"form": {}}})
        context = ToolContext(GUEST, interview=Interview(capabilities))
        unasked = await call(registry, "tell", context, kind="question", size=20_000_000)
        assert unasked.content[0].text == "The answer cannot be sent."
        assert await well(registry) == before


async def test_a_worker_that_cancels_all_its_tasks_says_what_failed(tmp_path, monkeypatch):
    async with apart(tmp_path, monkeypatch) as registry:
        result = await call(registry, "cancel")
        assert result.is_error
        assert result.content[0].text == "Error executing tool cancel"
        assert await well(registry)


async def test_a_worker_ends_with_its_plugin_and_cleans_up(tmp_path, monkeypatch, capfd):
    async with apart(tmp_path, monkeypatch) as registry:
        process = await well(registry)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    told = capfd.readouterr().err
    assert "closed" in told
    assert "seen process ok" in told


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"config": {"greeting": []}}, "plugins.apart: config.greeting: must be text"),
        ({"tools": {"none": {}}}, "plugins.apart: tools.none: no such tool"),
    ],
)
async def test_what_is_wrong_is_told_as_without_isolation(tmp_path, monkeypatch, settings, problem):
    with pytest.raises(PluginError, match=problem):
        async with apart(tmp_path, monkeypatch, **settings):
            pass


OWNER = """
import asyncio, sys
from contextlib import AsyncExitStack
from mcpserve import Principal, ToolContext, plugins
from mcpserve.settings import PluginSettings

async def main():
    settings = {"apart": PluginSettings(isolation="process")}
    registry = (await plugins.load(settings, AsyncExitStack())).registry
    context = ToolContext(Principal("client", "user", registry.scopes))
    result = await registry.tools.call("process", {}, context)
    print(result.structured_content["result"], flush=True)
    for name in sys.argv[1:]:
        await registry.tools.call(name, {}, context)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "calls", [["start", "block"], ["freeze"]], ids=["with all that it started", "in compiled code"]
)
def test_a_worker_ends_with_a_server_that_was_killed_even_while_it_is_blocked(
    tmp_path, monkeypatch, calls
):
    install(tmp_path, monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = [sys.executable, "-c", OWNER, *calls]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as owner:
        assert int(owner.stdout.readline()) > 0
        assert b"blocked\n" in iter(owner.stderr.readline, b"")
        owner.kill()
        # The worker, and what it started, hold the other end, too.
        owner.communicate(timeout=10)

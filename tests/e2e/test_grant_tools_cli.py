"""``mcpserve grant tools``: an operator sees and changes what a client may use."""

import asyncio

import postgres
import pytest
from e2e.process import configure, invoke
from serving import Flow, serving

SETTINGS = {
    "plugins": {
        "calculator": {"tools": {"calculator": {"aliases": ["sum"]}}},
        "get_weather": {"scopes": ["weather"]},
    }
}


@pytest.fixture
def config(dsn, tmp_path):
    return configure(tmp_path, dsn=dsn, **SETTINGS)


async def run(config, *words):
    """Run it; return the exit code, the table without its head, and the problem."""
    result = await asyncio.to_thread(invoke, config, "grant", "tools", *words)
    rows = [tuple(line.split(maxsplit=2)) for line in result.stdout.splitlines()[1:]]
    return result.exit_code, rows, result.stderr.strip()


def line(name, state, plugin=None):
    return (name, plugin or name, state)


async def test_tools_are_shown_withheld_and_allowed_again(dsn, config):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        token = (await flow.tokens())["access_token"]
        ((grant_id,),) = postgres.query(dsn, "SELECT id FROM mcp_sessions")
        weather = line("get_weather", "not in its scopes")
        assert await run(config, grant_id[:6]) == (0, [line("calculator", "allowed"), weather], "")
        withheld = [line("calculator", "withheld"), weather]
        # By its old name, and it is withheld under both.
        assert await run(config, grant_id, "--withhold", "sum") == (0, withheld, "")
        answer = (await flow.call_tool(token)).json()["result"]
        assert (answer["isError"], "not allowed" in answer["content"][0]["text"]) == (True, True)
        assert await run(config, grant_id) == (0, withheld, "")
        both = ("--allow", "calculator", "--withhold", "get_weather")
        assert await run(config, grant_id, *both) == (
            0,
            [line("calculator", "allowed"), line("get_weather", "not in its scopes, withheld")],
            "",
        )
        assert (await flow.call_tool(token)).json()["result"]["content"][0]["text"] == "2"
        story = await asyncio.to_thread(invoke, config, "grant", "explain", grant_id)
        assert "allowed are all but calculator, sum." in story.stdout
        assert "allowed are all but get_weather." in story.stdout


async def test_what_is_wrong_is_one_clear_line_and_changes_nothing(dsn, config):
    async with serving(dsn, SETTINGS) as server:
        await Flow(server).tokens()
    ((grant_id,),) = postgres.query(dsn, "SELECT id FROM mcp_sessions")
    known = "enabled tools: calculator, get_weather"
    for words, problem in (
        (("--withhold", "x"), f"error: there is no tool 'x'; {known}"),
        (("--allow", "x", "--withhold", "sum"), f"error: there is no tool 'x'; {known}"),
    ):
        assert await run(config, grant_id, *words) == (1, [], problem)
    code, _, problem = await run(config, grant_id, "--withhold", "sum", "--allow", "calculator")
    assert (code, "both withheld and allowed" in problem) == (2, True)
    rows = postgres.query(dsn, "SELECT withheld_tools FROM mcp_sessions")
    assert rows == [([],)]


async def test_a_withheld_tool_that_is_gone_is_shown_and_can_be_allowed(dsn, config):
    async with serving(dsn, SETTINGS) as server:
        await Flow(server).tokens()
        await server.db.execute("UPDATE mcp_sessions SET withheld_tools = '{gone}'")
    ((grant_id,),) = postgres.query(dsn, "SELECT id FROM mcp_sessions")
    _, rows, _ = await run(config, grant_id)
    assert rows[-1] == line("gone", "withheld", "-")
    _, rows, _ = await run(config, grant_id, "--allow", "gone")
    assert [name for name, _, _ in rows] == ["calculator", "get_weather"]


async def test_a_grant_that_ended_cannot_be_changed(dsn, config):
    async with serving(dsn, SETTINGS) as server:
        flow = Flow(server)
        await flow.post("/revoke", token=(await flow.tokens())["refresh_token"])
    ((grant_id,),) = postgres.query(dsn, "SELECT id FROM mcp_sessions")
    code, _, problem = await run(config, grant_id, "--withhold", "calculator")
    assert (code, problem) == (
        1,
        f"error: there is no active grant '{grant_id}', see: mcpserve grant list",
    )

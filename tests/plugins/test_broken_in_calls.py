"""What becomes of a call that goes wrong: what the client gets, and what the log says."""

import pytest
from probing import probed

from mcpserve.bound import Outcome
from mcpserve.checking import rules
from mcpserve.testing import load_plugin

SECRET = "a-key-of-the-operator"

BROKEN = {
    "hangs": (Outcome.TIMEOUT, "hangs did not answer within 0.2 s", ""),
    "blocks_its_thread": (
        Outcome.TIMEOUT,
        "blocks_its_thread did not answer within 0.2 s",
        "",
    ),
    "crashes": (Outcome.CRASH, "Error executing tool crashes", "KeyError: 'city'"),
    "refuses": (Outcome.ERROR, "no such city, try adding the country", ""),
    "exits": (Outcome.CRASH, "Error executing tool exits", "SystemExit: bye"),
    "exits_in_a_thread": (
        Outcome.CRASH,
        "Error executing tool exits_in_a_thread",
        "SystemExit: bye",
    ),
    "raises_what_is_no_exception": (
        Outcome.CRASH,
        "Error executing tool raises_what_is_no_exception",
        "Unheard: boo",
    ),
    "cancels_itself": (
        Outcome.CRASH,
        "Error executing tool cancels_itself",
        "CancelledError",
    ),
    "returns_something_else": (
        Outcome.CRASH,
        "Error executing tool returns_something_else",
        "Input should be a valid integer",
    ),
}
"""Of each tool that fails: how, what the client reads, and what the log has."""

FOUND = {
    "crashes": [rules.CALL_FAILED],
    "refuses": [rules.CALL_ERROR],
    "blocks_the_loop": [rules.CALL_BLOCKS],
    "answers_too_much": [rules.LARGE],
    "reports_too_often": [rules.PROGRESS],
    "tells": [rules.SECRET_TOLD],
    "logs": [rules.SECRET_LOGGED],
    "tells_in_an_error": [rules.CALL_ERROR, rules.SECRET_TOLD],
}
"""Of each tool: what a sample call of it finds."""


@pytest.fixture
def calls(gallery):
    """The plugin with these tools."""
    import calls

    return calls


@pytest.mark.parametrize("tool", BROKEN)
async def test_a_failing_call_is_an_answer_to_the_client_and_a_line_in_the_log(calls, tool, caplog):
    outcome, text, logged = BROKEN[tool]
    async with load_plugin(calls, timeout=0.2) as loaded:
        result = await loaded.call(tool)
        assert result.is_error
        assert [block.text for block in result.content] == [text]
        assert [call.outcome for call in loaded.calls] == [outcome]
        assert logged in caplog.text
        assert (f"tool {tool} of plugin calls failed" in caplog.text) == (outcome is Outcome.CRASH)
        others = await loaded.call("answers_too_much")
    assert not others.is_error, "the others go on"


async def sampled(tool):
    """Return what is found in a call of a tool of the gallery."""
    call = {"tool": tool, "arguments": []}
    found, told = await probed("calls", config={"api_key": SECRET}, call=call)
    assert SECRET not in told
    return [finding for finding in found if finding.rule.code.startswith("P6")]


@pytest.mark.parametrize("tool", FOUND)
async def test_a_sample_call_finds_what_is_wrong_with_it(calls, tool):
    assert [finding.rule for finding in await sampled(tool)] == FOUND[tool]


async def test_a_sample_call_that_crashes_is_told_with_what_the_log_has(calls):
    (finding,) = await sampled("crashes")
    assert finding.text == "tool crashes: Error executing tool crashes (KeyError: 'city')"


async def test_a_sample_call_whose_result_does_not_fit_is_told_without_a_page_of_pydantic(calls):
    (finding,) = await sampled("returns_something_else")
    assert "(result: Input should be a valid integer" in finding.text
    assert "pydantic" not in finding.text


async def test_a_sample_call_of_a_tool_that_is_not_there_is_told(calls):
    (finding,) = await sampled("forecasts")
    told = "tool forecasts: cannot be called: Unknown tool: forecasts (tools: "
    assert finding.text.startswith(told)

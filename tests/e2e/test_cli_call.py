"""``mcpserve call``: arguments by name, plugins that nothing lists, progress while it runs."""

import json

import pytest
from e2e.process import at_terminal, configure, invoke

STEPS = '''
from mcpserve import ToolContext, ToolError, hookimpl

@hookimpl
def mcpserve_tools():
    async def steps(ctx: ToolContext, total: int | None = 4, say: str = "step") -> str:
        """Take steps."""
        for step in range(1, 5):
            await ctx.progress(step, total, f"{say} {step}")
        return "there"

    def language(ctx: ToolContext) -> str:
        """Tell the language."""
        return ctx.locale or "unknown"

    def half(refused: bool = False) -> str:
        """Return half of a surrogate pair."""
        if refused:
            raise ToolError("a\\ud800b")
        return "a\\ud800b"

    return [steps, language, half]
'''


@pytest.fixture
def config(tmp_path):
    """A configuration that lists the calculator only."""
    return configure(tmp_path)


@pytest.fixture
def site(tmp_path):
    """A folder in which a plugin is installed that no configuration lists."""
    (tmp_path / "sample_steps.py").write_text(STEPS)
    info = tmp_path / "sample_steps-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sample-steps\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mcpserve]\nsteps = sample_steps\n")
    return str(tmp_path)


def test_arguments_are_given_by_name(config):
    result = invoke(config, "call", "calculator", "--arg", "expression=0.1 + 0.2")
    assert json.loads(result.stdout)["value"] == 0.3
    # Text stays text, though it looks like a number.
    result = invoke(config, "call", "calculator", "-a", "expression=7")
    assert json.loads(result.stdout)["value"] == 7


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--arg", "expresion=1"], "--arg expresion: no such argument; calculator has: expression"),
        (["{}", "--arg", "expression=1"], "give the arguments either as JSON or by --arg"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_a_reason(config, words, told):
    result = invoke(config, "call", "calculator", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_a_missing_argument_is_named(config):
    result = invoke(config, "call", "calculator")
    assert result.exit_code == 1
    assert "expression: Field required" in result.stderr


def test_a_plugin_that_nothing_lists_is_loaded_only_by_name(config, site, monkeypatch):
    monkeypatch.syspath_prepend(site)
    refused = invoke(config, "call", "steps")
    assert refused.exit_code == 1
    assert "there is no tool 'steps'; enabled tools: calculator; --plugin NAME" in refused.stderr
    result = invoke(config, "call", "--plugin", "steps", "steps")
    assert json.loads(result.stdout) == {"result": "there"}
    # No other plugin is loaded then, not even one that is listed.
    other = invoke(config, "call", "--plugin", "steps", "calculator", "--arg", "expression=1")
    assert "enabled tools: steps" in other.stderr
    missing = invoke(config, "call", "--plugin", "nothing", "steps")
    assert missing.exit_code == 2
    assert "plugins.nothing: no installed package provides it" in missing.stderr


def test_half_of_a_surrogate_pair_is_printed_as_clients_get_it(config, site, monkeypatch):
    monkeypatch.syspath_prepend(site)
    result = invoke(config, "call", "--plugin", "steps", "half")
    assert json.loads(result.stdout) == {"result": "a\ufffdb"}
    refused = invoke(config, "call", "--plugin", "steps", "half", "--arg", "refused=true")
    assert refused.stderr.endswith("a\ufffdb\n")


def test_the_locale_of_a_client_can_be_given(config, site, monkeypatch):
    monkeypatch.syspath_prepend(site)
    told = ("call", "--plugin", "steps", "language")
    assert json.loads(invoke(config, *told).stdout) == {"result": "unknown"}
    result = invoke(config, *told, "--locale", "pt-br")
    assert json.loads(result.stdout) == {"result": "pt-BR"}
    refused = invoke(config, *told, "--locale", "pt_BR.UTF-8")
    assert refused.exit_code == 2
    assert "this is no language tag: write it like en-US or de" in refused.stderr


def test_a_listed_plugin_keeps_its_settings_when_it_is_named(tmp_path):
    config = configure(tmp_path, plugins={"get_weather": {"config": {"units": "wrong"}}})
    result = invoke(config, "call", "--plugin", "get_weather", "get_weather", "-a", "place=Oslo")
    assert result.exit_code == 2
    assert "plugins.get_weather: config.units" in result.stderr


def test_progress_is_a_line_each_where_nobody_looks(config, site, monkeypatch):
    monkeypatch.syspath_prepend(site)
    result = invoke(config, "call", "--plugin", "steps", "steps", "-a", "say=\x07go")
    assert json.loads(result.stdout) == {"result": "there"}
    lines = result.stderr.splitlines()
    assert [line.split()[:2] for line in lines] == [["…", f"{step}/4"] for step in range(1, 5)]
    assert "\x07" not in result.stderr


@pytest.mark.parametrize(
    ("total", "last"), [("4", "█" * 24 + " 100% step 4"), ("null", "… 4 step 4")]
)
def test_progress_is_one_line_at_a_terminal_and_leaves_nothing(config, site, total, last):
    words = ["call", "--plugin", "steps", "steps", "--arg", f"total={total}"]
    with at_terminal(config, *words, PYTHONPATH=site) as terminal:
        shown = terminal.read_to_the_end()
    before, _, after = shown.rpartition("\r\x1b[K")
    assert last in before
    assert "\n" not in before
    assert json.loads(after) == {"result": "there"}

"""What the command line says of itself, and that secrets are never arguments."""

import re
import shlex

import click
import pytest
from e2e.process import PATIENCE, at_terminal, configure, invoke
from serving import PASSWORD

from mcpserve.cli import main

COMMANDS = """
    call, check, cleanup, client add, client disable, client enable, client list, client show,
    db check, db init, grant explain, grant list, grant revoke, grant tools,
    key add, key list, key retire, plan, plugin check, plugin install, plugin list, plugin new,
    plugin remove, reload, schema, serve, tools approve, tools diff, tools lock,
    user add, user disable, user email, user enable, user list, user password
"""


def commands(group=main, path=()):
    """Yield every command that does something, with the words that lead to it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        elif not command.hidden:
            yield " ".join((*path, name)), command


ALL = dict(commands())


def understood(line):
    """Parse a command line as running it would. Raises click's errors."""
    words = shlex.split(line)
    words = words[words.index("mcpserve") + 1 :]
    command = main
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words.pop(0))
    # With its parent: a command remembers the first help option that it made.
    root = click.Context(main, **main.context_settings)
    command.make_context(command.name, words, parent=root)


def test_every_command_is_there():
    assert list(ALL) == re.split(r",\s+", COMMANDS.strip())


@pytest.mark.parametrize("name", ALL)
def test_help_tells_what_a_command_does_with_examples(tmp_path, name):
    result = invoke(configure(tmp_path), *name.split(), "--help")
    assert result.exit_code == 0
    # What writes a new plugin has no use for a configuration.
    assert ("-c, --config FILE" in result.stdout) == (name != "plugin new")
    examples = result.stdout.partition("\nExamples:\n")[2]
    assert f"mcpserve {name}" in examples


@pytest.mark.parametrize("name", ["", *ALL])
def test_every_example_is_understood(tmp_path, monkeypatch, name):
    # A file that an example names must be there.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "robot.jwks.json").touch()
    command = ALL.get(name, main)
    text = re.sub(r"\\\n +", "", command.epilog)
    lines = [line for line in text.splitlines() if re.search(r"\bmcpserve\b.* ", line)]
    examples = [line.split("|")[-1].split(" > ")[0] for line in lines if line[0] != "#"]
    assert examples
    for example in examples:
        understood(re.sub(r"  +.*", "", example))


@pytest.mark.proves("AD-02")
def test_no_option_or_argument_takes_a_secret():
    words = ("password", "secret", "token", "key")
    for name, command in ALL.items():
        for parameter in command.params:
            takes_text = not getattr(parameter, "is_flag", False)
            asks = any(word in parameter.name for word in words)
            assert not (takes_text and asks), f"{name}: {parameter.name}"


@pytest.mark.proves("AD-02")
def test_a_terminal_is_asked_twice_and_shows_nothing_of_the_password(dsn, tmp_path):
    path = configure(tmp_path, dsn=dsn)
    with at_terminal(path, "user", "add", "alice") as terminal:
        for question in ("Password: ", "Again: "):
            terminal.read_until(question)
            terminal.type(f"{PASSWORD}\n")
        assert "added alice" in terminal.read_to_the_end()
        assert PASSWORD not in terminal.shown
        assert terminal.popen.wait(PATIENCE) == 0


def test_without_a_terminal_nobody_is_asked(dsn, tmp_path):
    result = invoke(configure(tmp_path, dsn=dsn), "user", "add", "alice", stdin=PASSWORD)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--password-stdin" in result.stderr

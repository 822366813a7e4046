"""The command line: one function per command, no logic in them.

Exit codes: 0 done, 1 failed, 2 the configuration or the command line is wrong.
"""

from pathlib import Path

import click

from mcpserve import importing
from mcpserve.cli.groups import Group
from mcpserve.version import __version__

COMMANDS = {
    "call": "calling.call",
    "check": "checking.check",
    "cleanup": "database.cleanup",
    "client": "client.client_group",
    "db": "database.db_group",
    "grant": "grant.grant_group",
    "key": "key.key_group",
    "plan": "reloading.plan",
    "plugin": "plugin.plugin_group",
    "reload": "reloading.reload",
    "schema": "tools.schema",
    "serve": "serving.serve",
    "tools": "pinning.tools_group",
    "user": "user.user_group",
}
"""Where each command is, below here."""


class Program(Group):
    """Imports a command when it is wanted: a server needs no more than its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name, if there is one."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(".")
        command: click.Command = getattr(importing.load(f"mcpserve.cli.{module}"), name)
        return command


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""mcpserve serve                start the server
mcpserve user add alice       add a person who may log in
mcpserve check --show         is everything in order, and what is configured
mcpserve plan                 what a changed configuration would do to a running server
mcpserve plugin list          which tools there are
mcpserve call calculator --arg expression='0.1 + 0.2'
mcpserve plugin new mine      begin a plugin of your own""",
)
@click.version_option(__version__, prog_name="mcpserve")
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The configuration (may also stand behind the command).",
)
def main(path: Path | None) -> None:
    """Your own tools in ChatGPT, Claude or any MCP client, with login and consent."""

"""The command line: one function per command, no logic in them.

Exit codes: 0 done, 1 failed, 2 the configuration or the command line is wrong.
"""

from pathlib import Path

import click

from mcpserve.cli import (
    calling,
    client,
    database,
    grant,
    installing,
    key,
    pinning,
    plugin_check,
    reloading,
    serving,
    tools,
    user,
)
from mcpserve.cli.common import Group
from mcpserve.version import __version__


@click.group(
    cls=Group,
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


for command in (
    serving.serve,
    serving.check,
    reloading.plan,
    reloading.reload,
    database.db_group,
    database.cleanup,
    client.client_group,
    user.user_group,
    grant.grant_group,
    key.key_group,
    tools.plugin_group,
    pinning.tools_group,
    calling.call,
    tools.schema,
):
    main.add_command(command)
tools.plugin_group.add_command(plugin_check.plugin_check)
tools.plugin_group.add_command(installing.plugin_install)
tools.plugin_group.add_command(installing.plugin_remove)
main.add_command(installing.bundled_pip)

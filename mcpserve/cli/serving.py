"""``serve``."""

from types import ModuleType

import click

from mcpserve import importing, log, loop, plugins_dir, wire_models
from mcpserve.cli.common import configured, database_server
from mcpserve.cli.groups import Command
from mcpserve.config import Loaded
from mcpserve.processes import becoming, member


@click.command(
    cls=Command,
    epilog="""mcpserve serve
PORT=8080 mcpserve serve
DATABASE_URL=postgresql://mcpserve@db.example.org/mcpserve mcpserve serve""",
)
@configured
def serve(loaded: Loaded) -> None:
    """Start the server and keep it running until Ctrl-C or SIGTERM.

    SIGHUP lets it read its configuration again, see `mcpserve reload`.
    """
    settings = loaded.settings
    # Other commands can do with half of a package.
    plugins_dir.finish(settings.plugins_folder)
    one_of_several = member.joined()
    if not one_of_several and (count := becoming.count(settings)) > 1:
        sockets = importing.load("mcpserve.serving").open_sockets(settings.server)
        becoming.become_supervisor(settings, sockets, count=count)
    log.configure(settings.log)
    if one_of_several:
        log.add_pid()
    with database_server(settings, one_of_several, meanwhile=running) as server:
        running().run(loaded, server, one_of_several)
    loop.leave()


def running() -> ModuleType:
    """Import the server, which takes longer than all that was done before."""
    wire_models.load()
    return importing.load("mcpserve.cli.running")

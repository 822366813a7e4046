"""``plugin new``."""

import shlex
from pathlib import Path

import click

from mcpserve import discovery
from mcpserve.cli.common import told_errors
from mcpserve.cli.groups import Command
from mcpserve.errors import UsageError
from mcpserve.scaffold import NewPlugin


@click.command(
    "new",
    cls=Command,
    epilog="""mcpserve plugin new reading-time
mcpserve plugin new reading-time --into ~/src""",
)
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The folder in which the package gets a folder of its own; by default this one.",
)
@told_errors
def plugin_new(name: str, into: Path) -> None:
    """Write the package of a new plugin: a tool that works, its tests, what else belongs to it."""
    plugin = NewPlugin.named(name)
    for other in discovery.installed():
        if other.name == plugin.name:
            raise UsageError(
                f"the installed package {other.distribution} already provides a plugin "
                f"{plugin.name}: choose another name"
            )
    folder = plugin.write(into)
    click.echo(f"wrote {folder}\n\nNext:")
    for step in next_steps(plugin, folder):
        click.echo(f"  {step}")


def next_steps(plugin: NewPlugin, folder: Path) -> list[str]:
    """Return the commands that install, test and try the plugin."""
    return [
        f"cd {shlex.quote(str(folder))}",
        "pip install -e '.[test]'",
        "pytest",
        f"mcpserve call --plugin {plugin.name} {plugin.name} --arg text='How long does this take?'",
        f"then list it in config.yaml, as  plugins: {{{plugin.name}: {{}}}}  and: mcpserve serve",
    ]

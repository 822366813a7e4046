"""``plugin install`` and ``plugin remove``: packages in ``plugins_dir``."""

import click

from mcpserve import installing, plugins_dir, uninstalling
from mcpserve.cli.common import configured
from mcpserve.cli.groups import Command
from mcpserve.config import Loaded
from mcpserve.discovery import plugins_of
from mcpserve.settings import Settings
from mcpserve.text import printable


@click.command(
    "install",
    cls=Command,
    epilog="""mcpserve plugin install mcpserve-weather
mcpserve plugin install 'mcpserve-weather==2.1'
mcpserve plugin install ./mcpserve_weather-2.1-py3-none-any.whl
PIP_NO_INDEX=1 PIP_FIND_LINKS=./wheels mcpserve plugin install mcpserve-weather""",
)
@click.argument("wanted", nargs=-1, required=True, metavar="NAME|WHEEL|PATH...")
@click.option("--upgrade", is_flag=True, help="Take a newer version if there is one.")
@configured
def plugin_install(loaded: Loaded, *, wanted: tuple[str, ...], upgrade: bool) -> None:
    """Install the packages of plugins into `plugins_dir`, with what they need.

    What mcpserve is installed with stays as it is. Settings of pip hold: PIP_INDEX_URL and so on.
    A wheel or a project replaces another build of the same version.
    Nothing is switched on: what a package offers, and how, is told at the end.
    """
    folder = loaded.settings.plugins_folder
    outcome = installing.install(folder, wanted, upgrade=upgrade)
    for present in outcome.present:
        click.echo(printable(f"{present} is installed already"))
    changed = {"installed": outcome.installed, "replaced": outcome.replaced}
    if not any(changed.values()):
        return
    for verb, packages in changed.items():
        if names := ", ".join(f"{package.name} {package.version}" for package in packages):
            click.echo(printable(f"{verb} {names} in {folder}"))
    for package in (*outcome.installed, *outcome.replaced):
        for plugin in plugins_of(package):
            if missing := plugins_dir.missing_module(plugin, package):
                text = f"plugin {plugin.name} cannot be loaded: there is no module {missing}"
                click.echo(printable(text), err=True)
            else:
                click.echo(printable(switch(plugin.name, loaded.settings)))
    click.echo("then: mcpserve check, and for servers that run: mcpserve reload")
    for warning in plugins_dir.warnings(folder):
        click.echo(printable(warning), err=True)


def switch(name: str, settings: Settings) -> str:
    """Say how a plugin is switched on."""
    if name in settings.plugins:
        return f"plugin {name} is in the configuration already"
    return f"plugin {name}: to switch it on, in config.yaml:  plugins: {{{name}: {{}}}}"


@click.command("remove", cls=Command, epilog="mcpserve plugin remove mcpserve-weather")
@click.argument("name")
@configured
def plugin_remove(loaded: Loaded, *, name: str) -> None:
    """Remove a package from `plugins_dir`, by its name or that of its plugin.

    What only this package needed goes as well. config.yaml must not name the plugin any more.
    """
    folder = loaded.settings.plugins_folder
    gone = uninstalling.uninstall(folder, name, loaded.settings.plugins)
    click.echo(printable(f"removed {', '.join(gone)} from {folder}"))

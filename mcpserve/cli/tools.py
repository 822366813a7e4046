"""``plugin list`` and ``schema``: what is there to be used and configured."""

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack

import click

from mcpserve import config_report, discovery
from mcpserve.cli.common import configured
from mcpserve.cli.groups import Command, Group
from mcpserve.cli.listing import (
    KeyReport,
    OfferReport,
    PackageReport,
    PluginReport,
    Report,
    State,
    loadable,
    report,
)
from mcpserve.config import Loaded
from mcpserve.plugins import LoadedPlugins
from mcpserve.text import printable

COLOURS = {State.ON: "green", State.BROKEN: "red", State.SKIPPED: "yellow"}


@click.group("plugin", cls=Group)
def plugin_group() -> None:
    """Plugins: where tools, resources and prompts come from."""


@plugin_group.command(
    "list",
    epilog="""mcpserve plugin list
mcpserve plugin list --json""",
)
@click.option(
    "--json", "as_json", is_flag=True, help="For machines, see docs/reference/plugin-list.md."
)
@configured
def plugin_list(loaded: Loaded, *, as_json: bool) -> None:
    """List configured and installed plugins: what they offer, and why one is off.

    Looks at the configuration, not at a running server; one that is off is not imported. What is
    broken is told and is no failure: `mcpserve check` fails.
    """
    found = asyncio.run(report(loaded.settings, discovery.installed()))
    path = str(loaded.path.absolute()) if loaded.path else None
    if as_json:
        click.echo(json.dumps({"config": path, **dataclasses.asdict(found)}, indent=2, default=str))
        return
    click.echo(f"{path or 'no config.yaml'}; how a running server differs from it: mcpserve plan")
    for line in text(found):
        click.echo(line)


def text(found: Report) -> Iterator[str]:
    """Return a report as people read it."""
    yield from map(printable, found.problems)
    for plugin in found.plugins:
        yield ""
        state = click.style(plugin.state, fg=COLOURS.get(plugin.state))
        yield f"{printable(plugin.name)}: {state}" + (
            f", {printable(plugin.reason)}" if plugin.reason else ""
        )
        yield from (f"  {printable(line)}" for line in about(plugin))


def about(plugin: PluginReport) -> Iterator[str]:
    """Return what there is to say of a plugin."""
    if plugin.fix:
        yield f"to switch it on:  {plugin.fix}"
    for package in plugin.packages:
        yield from about_package(package)
    if plugin.settings:
        yield "; ".join(f"{key}: {value}" for key, value in plugin.settings.items())
    yield from map(about_offer, plugin.offers)
    yield from map(about_key, plugin.config)


def about_package(package: PackageReport) -> Iterator[str]:
    """Return where a plugin comes from."""
    yield f"package {package.name} {package.version}, {package.origin}"
    yield from package.unmet


def about_offer(offer: OfferReport) -> str:
    """Return a tool, resource or prompt with all that decides about its use, in one line."""
    if offer.state is State.UNAPPROVED and offer.reason:
        return offer.reason
    if offer.state is not State.ON:
        return f"{offer.kind} {offer.name} is {offer.state}: {offer.reason}"
    said = [
        f"timeout {offer.timeout:g} s",
        f"scopes {' '.join(offer.scopes)}" if offer.scopes else "open to everybody",
    ]
    if offer.kind == "tool":
        said.append(
            "read-only"
            if offer.read_only
            else "may change and destroy"
            if offer.destructive
            else "may change, destroys nothing"
        )
    if offer.aliases:
        said.append(f"also called {' '.join(offer.aliases)}")
    named = [f"{offer.kind} {offer.name}", offer.uri, f"“{offer.title}”" if offer.title else None]
    return f"{'  '.join(filter(None, named))}  {', '.join(said)}"


def about_key(each: KeyReport) -> str:
    """Return one of a plugin's own settings in one line."""
    said = f"config.{each.key}  {each.type}{', secret' if each.secret else ''}"
    if each.required:
        return f"{said}, required"
    return said if each.default is None else f"{said}, default {json.dumps(each.default)}"


@click.command(
    cls=Command,
    epilog="""mcpserve schema > config.schema.json
and as the first line of config.yaml:
# yaml-language-server: $schema=config.schema.json""",
)
@configured
def schema(loaded: Loaded) -> None:
    """Print the JSON Schema of config.yaml, the configured plugins' settings included.

    Of a plugin that is installed and not listed there is the name: it is not imported.
    """

    async def load() -> LoadedPlugins:
        async with AsyncExitStack() as exit_stack:
            return await loadable(loaded.settings, exit_stack)

    plugins = asyncio.run(load())
    without = dict(plugins.skipped)
    for name in plugins.names:
        if name not in plugins.config_schemas:
            without[name] = f"plugins.{name}: its config has no JSON Schema"
    for reason in without.values():
        click.echo(f"warning: left out the settings of {printable(reason)}", err=True)
    names = {each.name for each in discovery.installed()} | without.keys()
    document = config_report.json_schema(plugins.config_schemas, sorted(names))
    click.echo(json.dumps(document, indent=2))

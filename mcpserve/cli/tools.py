"""``plugin list`` and ``schema``: what is there to be used and configured."""

import asyncio
import json
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

import click

from mcpserve import config_report, discovery, pinning, plugins
from mcpserve.bound import Bound
from mcpserve.cli.common import Command, Group, configured
from mcpserve.cli.scaffolding import plugin_new
from mcpserve.config import Loaded
from mcpserve.errors import ConfigError
from mcpserve.settings import Settings
from mcpserve.tools import Tool


@click.group("plugin", cls=Group)
def plugin_group() -> None:
    """Plugins: where tools, resources and prompts come from."""


plugin_group.add_command(plugin_new)


@plugin_group.command("list", epilog="mcpserve plugin list")
@configured
def plugin_list(loaded: Loaded) -> None:
    """List configured and installed plugins, with what they offer."""
    settings = loaded.settings
    available = discovery.installed()
    names = [*settings.plugins, *sorted({p.name for p in available} - settings.plugins.keys())]
    asyncio.run(_list_plugins(settings, names, available))


async def _list_plugins(
    settings: Settings, names: Iterable[str], available: list[discovery.Installed]
) -> None:
    async with AsyncExitStack() as exit_stack:
        for name in names:
            packages = [f"{p.distribution} {p.version}" for p in available if p.name == name]
            click.echo(f"{name}  ({', '.join(packages) or 'not installed'})")
            if name not in settings.plugins:
                click.echo(
                    f"  off: not listed in config.yaml; to switch it on:  plugins: {{{name}: {{}}}}"
                )
                continue
            try:
                one = settings.model_copy(update={"plugins": {name: settings.plugins[name]}})
                loaded = await pinning.load(one, exit_stack)
            except ConfigError as error:
                click.echo(f"  broken: {error}")
                continue
            for reason in loaded.skipped.values():
                click.echo(f"  skipped: {reason}")
            for unapproved in loaded.unapproved:
                click.echo(f"  {unapproved}")
            registry = loaded.registry
            for bound in (*registry.tools, *registry.resources, *registry.prompts):
                scopes = " ".join(sorted(bound.scopes))
                needs = "open to everybody" if bound.is_open else f"scopes {scopes}"
                click.echo(f"  {called(bound)}  timeout {bound.timeout:g} s, {needs}")
            for key in loaded.models[name].model_fields if name in loaded.models else ():
                click.echo(f"  config.{key}")


def called(bound: Bound[Any]) -> str:
    """Return what the operator calls it, and where it is if that is something else."""
    offer = bound.offer
    kind = "" if isinstance(offer, Tool) else f"{offer.kind} "
    return f"{kind}{offer.name}" + (f"  {offer.key}" if offer.key != offer.name else "")


@click.command(
    cls=Command,
    epilog="""mcpserve schema > config.schema.json
and as the first line of config.yaml:
# yaml-language-server: $schema=config.schema.json""",
)
@configured
def schema(loaded: Loaded) -> None:
    """Print the JSON Schema of config.yaml, the configured plugins' settings included."""

    async def models() -> Any:
        async with AsyncExitStack() as exit_stack:
            return (await plugins.load(loaded.settings.plugins, exit_stack)).models

    click.echo(json.dumps(config_report.json_schema(asyncio.run(models())), indent=2))

"""``plugin list``, ``call`` and ``schema``: everything about plugins that needs no database."""

import asyncio
import json
import sys
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

import click
from mcp_types import TextContent

from mcpserve import config_report, discovery, log, plugins
from mcpserve.bound import Bound
from mcpserve.cli.common import Command, Group, configured
from mcpserve.config import Loaded
from mcpserve.errors import ConfigError, UsageError
from mcpserve.principal import Principal, User
from mcpserve.registry import UnknownTool
from mcpserve.settings import Settings
from mcpserve.tools import Tool, ToolContext


@click.group("plugin", cls=Group)
def plugin_group() -> None:
    """Plugins: where tools, resources and prompts come from."""


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
                loaded = await plugins.load({name: settings.plugins[name]}, exit_stack)
            except ConfigError as error:
                click.echo(f"  broken: {error}")
                continue
            for reason in loaded.skipped.values():
                click.echo(f"  skipped: {reason}")
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
    epilog="""mcpserve call get_weather '{"place": "Oslo"}'
echo '{"place": "Oslo"}' | mcpserve call get_weather -""",
)
@click.argument("tool")
@click.argument("arguments", default="{}", metavar="[JSON]")
@configured
def call(loaded: Loaded, *, tool: str, arguments: str) -> None:
    """Run one tool as a client would, without server, database or token."""
    text = sys.stdin.buffer.read() if arguments == "-" else arguments
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"the arguments are not JSON: {error}") from error
    if not isinstance(values, dict):
        raise click.UsageError('the arguments must be a JSON object, like {"place": "Oslo"}')
    log.configure(loaded.settings.log)
    failed = asyncio.run(_call(loaded.settings, tool, values))
    sys.exit(1 if failed else 0)


async def _call(settings: Settings, tool: str, arguments: dict[str, Any]) -> bool:
    async def show(progress: float, total: float | None = None, message: str | None = None) -> None:
        of = f"/{total:g}" if total else ""
        click.echo(f"… {progress:g}{of} {message or ''}".rstrip(), err=True)

    async def find_user(principal: Principal) -> User:
        return User(principal.subject, name=principal.subject)

    async with AsyncExitStack() as exit_stack:
        loaded = await plugins.load(settings.plugins, exit_stack)
        principal = Principal("cli", "operator", loaded.registry.scopes)
        try:
            context = ToolContext(principal, show, find_user=find_user)
            result = await loaded.registry.tools.call(tool, arguments, context)
        except UnknownTool:
            known = ", ".join(bound.offer.name for bound in loaded.registry.tools) or "none"
            raise UsageError(f"there is no tool {tool!r}; enabled tools: {known}") from None
    if result.structured_content is not None:
        click.echo(json.dumps(result.structured_content, indent=2, ensure_ascii=False))
        return bool(result.is_error)
    for block in result.content:
        shown = block.text if isinstance(block, TextContent) else block.model_dump_json()
        click.echo(shown, err=bool(result.is_error))
    return bool(result.is_error)


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

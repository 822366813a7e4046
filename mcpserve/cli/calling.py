"""``call``: one tool, as a client would use it, without server, database or token."""

import asyncio
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import click
from mcp_types import CallToolResult, TextContent

from mcpserve import language_tags, log, plugins
from mcpserve.arguments import arguments as parsed_arguments
from mcpserve.cli.common import configured
from mcpserve.cli.groups import Command
from mcpserve.config import Loaded
from mcpserve.errors import UsageError
from mcpserve.principal import Principal, User
from mcpserve.registry import ToolRegistry, UnknownTool
from mcpserve.settings import PluginSettings
from mcpserve.surrogates import whole
from mcpserve.text import printable
from mcpserve.tools import Tool, ToolContext

BAR = 24
"""Characters of a bar of progress."""


def read_locale(context: click.Context, option: click.Parameter, text: str | None) -> str | None:
    """Return the language tag in its usual case. Raises :class:`click.BadParameter`."""
    tag = language_tags.normal(text) if text is not None else None
    if text is not None and tag is None:
        raise click.BadParameter("this is no language tag: write it like en-US or de")
    return tag


@click.command(
    cls=Command,
    epilog="""mcpserve call get_weather --arg place=Oslo --arg days=3
mcpserve call get_weather '{"place": "Oslo", "days": 3}'
echo '{"place": "Oslo"}' | mcpserve call get_weather -
mcpserve call --plugin reading_time reading_time --arg text='One two three'""",
)
@click.argument("tool")
@click.argument("arguments", required=False, metavar="[JSON]")
@click.option(
    "--arg",
    "-a",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="An argument; text stays text, anything else is read as YAML or JSON. May be repeated.",
)
@click.option(
    "--plugin",
    metavar="NAME",
    help="Load this installed plugin and no other, whether or not the configuration lists it.",
)
@click.option(
    "--locale",
    metavar="TAG",
    callback=read_locale,
    help="Language and region of the person, such as en-US; a client may tell it.",
)
@configured
def call(
    loaded: Loaded,
    *,
    tool: str,
    arguments: str | None,
    given: tuple[str, ...],
    plugin: str | None,
    locale: str | None,
) -> None:
    """Run one tool as a client would, without server, database or token."""
    if arguments is not None and given:
        raise click.UsageError("give the arguments either as JSON or by --arg")
    values = read_json(arguments) if arguments is not None else given
    chosen = loaded.settings.plugins
    if plugin is not None:
        chosen = {plugin: chosen.get(plugin, PluginSettings())}
    log.configure(loaded.settings.log)
    result = asyncio.run(called(chosen, tool, values, locale=locale))
    show(whole(result))
    sys.exit(1 if result.is_error else 0)


def read_json(text: str) -> dict[str, Any]:
    """Return the arguments that a text holds, or standard input for ``-``."""
    try:
        values = json.loads(sys.stdin.buffer.read() if text == "-" else text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"the arguments are not JSON: {error}") from error
    if not isinstance(values, dict):
        raise click.UsageError('the arguments must be a JSON object, like {"place": "Oslo"}')
    return values


async def called(
    chosen: Mapping[str, PluginSettings],
    name: str,
    given: Mapping[str, Any] | Sequence[str],
    *,
    locale: str | None = None,
) -> CallToolResult:
    """Load the plugins and call a tool with arguments, or with what ``--arg`` said of them."""
    progress = ProgressLine(rewrites=sys.stderr.isatty())

    async def find_user(principal: Principal) -> User:
        return User(principal.subject, name=principal.subject)

    async with AsyncExitStack() as exit_stack:
        loaded = await plugins.load(chosen, exit_stack)
        tools = loaded.registry.tools
        tool = find_tool(tools, name)
        try:
            values = given if isinstance(given, Mapping) else parsed_arguments(given, tool)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        principal = Principal("cli", "operator", loaded.registry.scopes)
        context = ToolContext(principal, progress.show, find_user=find_user, locale=locale)
        try:
            return await tools.call(name, values, context)
        finally:
            progress.clear()


def find_tool(tools: ToolRegistry, name: str) -> Tool:
    """Return a tool. Raises :class:`~mcpserve.errors.UsageError` with those that there are."""
    try:
        return tools.get(name).offer
    except UnknownTool:
        known = ", ".join(bound.offer.name for bound in tools) or "none"
        advice = "; --plugin NAME loads a plugin that the configuration does not list"
        raise UsageError(f"there is no tool {name!r}; enabled tools: {known}{advice}") from None


@dataclass
class ProgressLine:
    """Progress on standard error: one line that changes at a terminal, else a line for each."""

    rewrites: bool
    shown: bool = False

    async def show(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Show how far the tool is."""
        told = printable(message or "")
        if not self.rewrites:
            of = f"/{total:g}" if total else ""
            click.echo(f"… {progress:g}{of} {told}".rstrip(), err=True)
            return
        line = f"{bar(progress, total)} {told}" if total else f"… {progress:g} {told}"
        width = shutil.get_terminal_size().columns
        click.echo(f"\r\x1b[K{line.rstrip()[: width - 1]}", nl=False, err=True)
        self.shown = True

    def clear(self) -> None:
        """Leave the terminal as it was."""
        if self.shown:
            click.echo("\r\x1b[K", nl=False, err=True)


def bar(progress: float, total: float) -> str:
    """Return a bar of fixed width, with the percentage."""
    share = min(max(progress / total, 0), 1)
    return f"{'█' * round(share * BAR):░<{BAR}} {share:4.0%}"


def show(result: CallToolResult) -> None:
    """Print a result: its structured content if it has any, else every block of content."""
    if result.structured_content is not None:
        click.echo(json.dumps(result.structured_content, indent=2, ensure_ascii=False))
        return
    for block in result.content:
        shown = block.text if isinstance(block, TextContent) else block.model_dump_json()
        click.echo(shown, err=bool(result.is_error))

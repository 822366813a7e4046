"""``tools``: pin the tools as they are, see what became of them, take it over."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import click

from mcpserve import pinning, plugins
from mcpserve.cli.common import configured, counted
from mcpserve.cli.groups import Group
from mcpserve.config import Loaded
from mcpserve.errors import UsageError
from mcpserve.pinning import Difference, Pin
from mcpserve.reloading import REFRESH
from mcpserve.settings import Settings
from mcpserve.text import printable

RELOAD = "servers that run take it over with: mcpserve reload"


@click.group("tools", cls=Group)
def tools_group() -> None:
    """Tools pinned in tools.lock: one that changes is left out until you approve it."""


@dataclass(frozen=True)
class Present:
    """The tools as they are now, and the plugins that could not be loaded."""

    pins: Mapping[str, Pin]
    skipped: Mapping[str, str]


def present(settings: Settings) -> Present:
    """Load the plugins and look at their tools. Raises as a start does."""

    async def work() -> Present:
        async with AsyncExitStack() as exit_stack:
            loaded = await plugins.load(settings.plugins, exit_stack)
            return Present(pinning.pins(loaded), loaded.skipped)

    return asyncio.run(work())


def compared(settings: Settings) -> tuple[Present, dict[str, list[Difference]]]:
    """Return the tools, and what differs. What cannot be loaded is not gone."""
    locked = pinning.read(pinning.lock_path(settings))
    now = present(settings)
    known = {name: pin for name, pin in locked.items() if pin.plugin not in now.skipped}
    return now, pinning.compare(known, now.pins)


@tools_group.command("lock", epilog="mcpserve tools lock")
@configured
def lock(loaded: Loaded) -> None:
    """Pin every tool as it is now, in the file that `tools_lock` names.

    Overwrites the file: of one that you keep, see `mcpserve tools diff` first.
    """
    path = pinning.lock_path(loaded.settings)
    now = present(loaded.settings)
    if now.skipped:
        raise UsageError("\n".join(now.skipped.values()))
    with pinning.alone(path):
        pinning.write(path, now.pins)
    click.echo(f"pinned {counted(len(now.pins), 'tool')} in {printable(str(path))}")
    for name, pin in sorted(now.pins.items()):
        if not pin.files:
            click.echo(f"  {name}: without its code, because its package is editable or unknown")


@tools_group.command("diff", epilog="mcpserve tools diff")
@configured
def diff(loaded: Loaded) -> None:
    """Show what is not as it was pinned. Exit code 1 if something is not."""
    now, different = compared(loaded.settings)
    for reason in now.skipped.values():
        click.echo(f"skipped: {printable(reason)}")
    if not different:
        click.echo("all tools are as they were pinned")
        return
    for line in told(different, now.pins):
        click.echo(printable(line))
    if pinning.has_to_be_refreshed(different):
        click.echo(f"once they are approved, {REFRESH}")
    names = " ".join(different)
    raise UsageError(f"{counted(len(different), 'tool')}: mcpserve tools approve {names}")


def told(different: Mapping[str, Iterable[Difference]], now: Mapping[str, Pin]) -> Iterable[str]:
    """Say what differs, tool by tool."""
    for name, what in different.items():
        yield f"tool {name}: {', '.join(each.what for each in what)}"
        if [each.what for each in what] == ["not pinned"]:
            yield from (f"    {line}" for line in now[name].description)
        for each in what:
            yield from (f"    {each.what}: {line}" for line in each.lines)


@tools_group.command(
    "approve",
    epilog="""mcpserve tools approve get_weather
mcpserve tools approve --all""",
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Every tool that `tools diff` shows.")
@configured
def approve(loaded: Loaded, *, names: tuple[str, ...], everything: bool) -> None:
    """Pin tools anew as they are now, and keep the pins of the others."""
    if everything == bool(names):
        raise click.UsageError("name the tools, or give --all")
    now, different = compared(loaded.settings)
    if same := [name for name in names if name not in different]:
        raise UsageError(f"no difference to approve: {' '.join(same)}")
    chosen = {name: different[name] for name in names or different}
    pinning.approve(pinning.lock_path(loaded.settings), chosen, now.pins)
    for name, what in chosen.items():
        click.echo(f"approved {name}: {', '.join(each.what for each in what)}")
    if chosen:
        click.echo(RELOAD)
    if pinning.has_to_be_refreshed(chosen):
        click.echo(REFRESH)

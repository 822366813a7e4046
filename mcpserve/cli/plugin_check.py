"""``plugin check``."""

import sys
from collections.abc import Sequence

import click

from mcpserve import discovery
from mcpserve.arguments import named
from mcpserve.checking import running, target
from mcpserve.checking.findings import Finding, Severity
from mcpserve.cli.common import configured, counted
from mcpserve.cli.groups import Command
from mcpserve.config import Loaded
from mcpserve.text import printable

COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


@click.command(
    "check",
    cls=Command,
    epilog="""mcpserve plugin check calculator
mcpserve plugin check ./mcpserve-notes --strict
mcpserve plugin check get_weather --call get_weather --arg place=Oslo""",
)
@click.argument("plugin", metavar="NAME-OR-PATH")
@click.option("--strict", is_flag=True, help="Fail on warnings, too.")
@click.option("--call", "tool", metavar="TOOL", help="Call this tool, too, and look at the answer.")
@click.option(
    "--arg",
    "arguments",
    metavar="NAME=VALUE",
    multiple=True,
    help="An argument of the call; text stays text, anything else is read as YAML or JSON. "
    "May be repeated.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=30,
    show_default=True,
    help="Seconds for loading, calling and closing it.",
)
@configured
def plugin_check(
    loaded: Loaded,
    *,
    plugin: str,
    strict: bool,
    tool: str | None,
    arguments: Sequence[str],
    timeout: float,
) -> None:
    """Look for what is wrong with a plugin: an installed one by name, or one at a path.

    Its config is that of config.yaml, if it is listed there. Runs it in a process of its own.
    Exit code 1 if there is an error. docs/reference/plugin-checks.md explains every code.
    """
    call = {"tool": tool, "arguments": arguments} if tool else None
    if arguments and not tool:
        raise click.UsageError("--arg needs --call")
    try:
        for each in arguments:
            named(each)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    failed = False
    for found in target.find(plugin, discovery.installed()):
        settings = loaded.settings.plugins.get(found.name)
        config = settings.config if settings else {}
        findings = running.check(found, config, call, seconds=timeout)
        show(found.name, findings)
        failed |= fails(findings, strict=strict)
    sys.exit(1 if failed else 0)


def fails(findings: Sequence[Finding], *, strict: bool) -> bool:
    """Whether the command fails for this."""
    return any(strict or finding.rule.severity is Severity.ERROR for finding in findings)


def show(name: str, findings: Sequence[Finding]) -> None:
    """Print what was found, each with what to do about it."""
    for finding in findings:
        rule = finding.rule
        severity = click.style(rule.severity, fg=COLOURS[rule.severity])
        click.echo(f"{rule.code} {severity}  {name}: {printable(finding.text)}")
        click.echo(f"     {rule.fix.replace('NAME', name)}")
    counts = [
        counted(count, severity)
        for severity in Severity
        if (count := sum(finding.rule.severity is severity for finding in findings))
    ]
    click.echo(f"{name}: {', '.join(counts) or 'nothing to complain about'}")

"""What ``docs/reference/mcp-compliance.md`` says of a run of the conformance suite.

``./dev conformance`` runs it and writes the page; a test compares the page with its own run.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "reference" / "mcp-compliance.md"

HEAD = """\
<!-- Generated from a run by ./dev conformance. Change tests/conformance. -->
# What is proven of the MCP server

What became of the scenarios of `@modelcontextprotocol/conformance` {version}, run against a started
server with [a plugin](../../tests/conformance/fixtures.py) that has what they look for.
What a revision requires is fixed by the suite. What it runs beside that and does not score is an
optional extension, newer than the revision, or not passed by the suite's own servers either. Of
what it scores, [what may fail](../../tests/conformance/expected-failures.toml) is written down.
"""
TABLE = "| Scenario | Result |\n|---|---|"


VERDICTS = {
    "passed": "passed",
    "failed": "failed",
    "untested": "not failed: nothing in it could be tested here",
}


class Result(NamedTuple):
    """What became of one scenario."""

    scenario: str
    verdict: str
    """One of :data:`VERDICTS`."""
    not_scored: str = ""
    """Why it does not count, in the suite's word."""


def score(results: Iterable[Result]) -> str:
    """Return how many of the scenarios that count have passed, as the suite counts.

    It holds nothing against a server that it could not test.
    """
    scored = [result.verdict != "failed" for result in results if not result.not_scored]
    return f"{sum(scored)}/{len(scored)}"


def page(
    version: str,
    results: Mapping[str, Sequence[Result]],
    reasons: Mapping[str, Mapping[str, str]],
) -> str:
    """Return the page; the results and the reasons of failures are by revision."""
    parts = [HEAD.format(version=version)]
    for revision, found in results.items():
        rows = [row(result, reasons[revision].get(result.scenario, "")) for result in found]
        parts.append("\n".join([f"## {revision}: {score(found)}\n", TABLE, *rows, ""]))
    return "\n".join(parts)


def row(result: Result, reason: str) -> str:
    """Return the row of a scenario."""
    verdict = VERDICTS[result.verdict] + (f". {reason}" if reason else "")
    aside = f" (not scored: {result.not_scored})" if result.not_scored else ""
    return f"| {result.scenario}{aside} | {verdict} |"

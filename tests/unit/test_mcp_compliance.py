"""What the page about the conformance suite says of a run."""

import node
import pytest

from docs import generate_mcp_compliance as compliance

RESULTS = {
    "2025-11-25": [
        compliance.Result("ping", "passed"),
        compliance.Result("sampling", "failed"),
        compliance.Result("streams", "untested"),
        compliance.Result("tasks", "failed", "extension"),
    ]
}
REASONS = {"2025-11-25": {"sampling": "It takes a session."}}


def test_the_page_is_about_the_version_that_is_installed():
    version = node.PACKAGES["@modelcontextprotocol/conformance"]
    head = compliance.TARGET.read_text(encoding="utf-8").partition("\n## ")[0]
    assert head == compliance.HEAD.format(version=version)


@pytest.mark.parametrize(
    "line",
    [
        "## 2025-11-25: 2/3",
        "| ping | passed |",
        "| sampling | failed. It takes a session. |",
        "| streams | not failed: nothing in it could be tested here |",
        "| tasks (not scored: extension) | failed |",
    ],
)
def test_a_scenario_is_told_with_what_became_of_it(line):
    assert line in compliance.page("1.0", RESULTS, REASONS).splitlines()

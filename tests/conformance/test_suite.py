"""The official conformance suite, with every scenario that it has for a server."""

import pytest
from conformance import suite
from conformance.conftest import VERSION

from docs import generate_mcp_compliance as compliance


@pytest.mark.parametrize("revision", suite.REVISIONS)
def test_those_scenarios_fail_that_are_expected_to_and_no_others(results, revision):
    failed = {
        result.scenario
        for result in results[revision]
        if result.verdict == "failed" and not result.not_scored
    }
    assert failed == set(suite.expected_failures()[revision])


@pytest.mark.parametrize(("revision", "score"), [("2026-07-28", "37/37"), ("2025-11-25", "24/30")])
def test_as_many_scenarios_pass_as_are_claimed(results, revision, score):
    assert compliance.score(results[revision]) == score


def test_the_page_says_what_this_run_has_found(results):
    page = compliance.TARGET.read_text(encoding="utf-8")
    expected = compliance.page(VERSION, results, suite.expected_failures())
    assert page == expected, "run ./dev conformance"

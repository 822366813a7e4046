"""Checking a plugin that hangs, crashes or leaves something behind: a finding, not the end."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mcpserve.checking import rules, running, target

GALLERY = Path(__file__).parent / "broken"
SECONDS = {"hangs_at_start": 0.5}

FOUND = {
    "hangs_at_start": (rules.HANGS, "does not come to an end within 0.5 s while it is loaded"),
    "ends_the_process": (rules.ENDS, "ends the process (exit status 3) while it is loaded"),
    "leaks_a_task": (rules.TASKS, "leaves a task behind when it is closed: poll"),
    "leaks_a_thread": (rules.THREADS, "leaves a thread behind when it is closed: poller"),
    "prints_a_lot": (rules.PRINTS, "prints 1000000 bytes to standard output or error"),
    "slow_import": (rules.SLOW_IMPORT, "s to import: slow_import (0."),
}


@pytest.fixture(scope="module")
def findings():
    """Check all of them, two at a time; return what is found in each."""

    def check(name):
        (found,) = target.find(str(GALLERY / f"{name}.py"), [])
        return running.check(found, {}, seconds=SECONDS.get(name, 30))

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(FOUND, pool.map(check, FOUND), strict=True))


@pytest.mark.parametrize("name", FOUND)
def test_what_no_test_in_one_process_survives_is_found(findings, name):
    rule, told = FOUND[name]
    (found,) = [finding for finding in findings[name] if finding.rule is rule]
    assert told in found.told


@pytest.mark.parametrize("name", FOUND)
def test_it_is_not_blamed_for_the_failures_of_others(findings, name):
    expected = {FOUND[name][0], rules.NO_PACKAGE, rules.NOTHING}
    assert {finding.rule for finding in findings[name]} <= expected
